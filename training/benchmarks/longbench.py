"""The English questions of LongBench (Bai et al. 2024), whose answers are scored by the F1 of their words.

Source: github.com/THUDM/LongBench, LongBench/metrics.py, eval.py and config
"""

from collections.abc import Mapping
from typing import Any

from synthctx_data.metrics import answer_f1, normalize_answer
from training.benchmarks.entries import Entry

METRIC = "f1"
_ANSWER_TOKENS = {
    "narrativeqa": 128,
    "qasper": 128,
    "multifieldqa_en": 64,
    "hotpotqa": 32,
    "2wikimqa": 32,
    "musique": 32,
    "triviaqa": 32,
}
_OURS = """\
{context}

Answer the question below from the text above. Give the answer alone, in a few words. If the text does not answer it, write "unanswerable".

{input}"""


def row(entry: Entry) -> dict[str, Any]:
    """The row of an entry of one of the English question sets."""
    task = entry.text("dataset").removesuffix("_e")
    if task not in _ANSWER_TOKENS:
        entry.refuse("dataset", f"one of {', '.join(_ANSWER_TOKENS)}")
    asked = entry.prompt(task, _OURS, context=entry.text("context"), input=entry.text("input"))
    return entry.row(task, asked, entry.texts("answers"), _ANSWER_TOKENS[task])


def score(row: Mapping[str, Any], prediction: str) -> float:
    """The F1 of the normalised words, the best over the answers; 0 for an answer without words. Of TriviaQA, the first line counts."""
    said = prediction.lstrip("\n").split("\n")[0] if row["task"] == "triviaqa" else prediction
    return answer_f1(said, row["answers"]) if normalize_answer(said) else 0.0
