"""The sample: answers to the first requests of every task, written for this repository, so that all variants build without a network."""

from functools import cache
from pathlib import Path

from synthctx_data.answers import Answer, exported

ROOT = Path(__file__).resolve().parent
MODEL = "sample"
MAX_TOKENS = 4096
SIZES = {"mdqa_synth": (28, 4), "musique_synth": (14, 2), "summhay_synth": (7, 1)}  # train, validation


@cache
def load_sample() -> dict[str, Answer]:
    """The answers of the sample by the key of their request."""
    return {answer.key: answer for file in sorted(ROOT.glob("*.jsonl")) for answer in exported(file)}


def refusal(task: str, unit: str) -> str:
    """Why something is not in the sample, and what to do."""
    train, validation = SIZES[task]
    return (
        f"{unit}: without --model, documents come from a sample that is built in and has no answer for it; it is enough for "
        f"--train {train} --validation {validation} of {task} at up to {MAX_TOKENS} tokens, with the other options at their defaults. "
        "For more, name a --model, and its endpoint by OPENAI_BASE_URL (or --endpoint) and OPENAI_API_KEY (or --api-key-file)"
    )
