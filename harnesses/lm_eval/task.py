"""The functions of the task of lm-evaluation-harness: lm_eval run --include_path harnesses/lm_eval --tasks synthctx ..."""

from collections.abc import Iterable, Sequence
from typing import Any

from harnesses.rows import question, rows_of, scores


def load(data: str | None = None, split: str = "validation", **_: Any) -> dict[str, Any]:
    """The rows, as the split `validation`. The harness passes what --metadata has."""
    return {"validation": rows_of(data, split, """--metadata '{"data": "PLACE:VARIANT"}'""")}


def ask(row: dict[str, Any]) -> str:
    """What a model is asked."""
    return question(row)


def answer(row: dict[str, Any]) -> str:
    """The right answer."""
    return str(row["completion"][0]["content"])


def strip(responses: Iterable[Sequence[str]], docs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The responses without whitespace around them."""
    return [[text.strip() for text in each] for each in responses]


def score_row(row: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """The scores of the response to a row."""
    return scores(row, results[0])
