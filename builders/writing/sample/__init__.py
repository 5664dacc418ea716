"""The sample: answers to the first requests of every task, so that all variants build without a network.

A language model wrote them for this repository; they passed the checks that all answers pass. It wrote the documents too that the
grounded variants ask about: the records of a town that does not exist.
"""

from functools import cache
from pathlib import Path

from builders.writing.store import Answer, exported

SAMPLE_FOLDER = Path(__file__).resolve().parent
SAMPLE_MODEL = "sample"
MAX_TOKENS = 4096
SAMPLE_CORPUS = SAMPLE_FOLDER / "sallowhithe"
SIZES = {  # of train and validation
    ("mdqa_synth", "llm"): (28, 4),
    ("musique_synth", "llm"): (14, 2),
    ("summhay_synth", "llm"): (7, 1),
    ("mdqa_synth", "grounded"): (20, 4),
    ("musique_synth", "grounded"): (11, 1),
    ("summhay_synth", "grounded"): (7, 1),
}


@cache
def load_sample() -> dict[str, Answer]:
    """The answers of the sample by the key of their request."""
    return {answer.key: answer for file in sorted(SAMPLE_FOLDER.glob("*.jsonl")) for answer in exported(file)}


def refusal(task: str, expression: str, unit: str) -> str:
    """The message that a unit is not in the sample, with what to do about it."""
    train, validation = SIZES[task, expression]
    return (
        f"without --model, answers come from a sample that is built in, which is enough for --train {train} --validation {validation} "
        f"--max-tokens {MAX_TOKENS} of the {expression} variants of {task}, with the other options at their defaults, and has no {unit}. "
        "For more, name a --model, and its endpoint by OPENAI_BASE_URL (or --endpoint) and OPENAI_API_KEY (or --api-key-file)"
    )
