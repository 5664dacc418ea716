"""The rows of a data set, and their scores, as all harnesses use them."""

from collections.abc import Mapping
from typing import Any

from synthctx_data.dataset import load_rows, parse_variant_address
from synthctx_data.errors import UsageError
from synthctx_data.row_checks import cites
from training.answer_scores import score
from training.answer_text import bare_answer

SHORT, CITATIONS = ("f1", "em", "subspan_em"), ("f1", "precision", "recall", "em")


def rows_of(data: str | None, split: str, how: str) -> Any:
    """The rows of PLACE:VARIANT as a datasets.Dataset. `how` says how this harness is told, for messages.

    Raises: UsageError if there is no such data set, or if none is named.
    """
    if not data:
        raise UsageError(
            f"expected a data set, as PLACE:VARIANT, such as synthctx/mdqa_synth:real_haystack; give {how}"
        )
    rows = load_rows(parse_variant_address(data, ""), split)
    if not len(rows):
        raise UsageError(f"expected rows in the split {split} of {data}, and there are none")
    return rows


def question(row: Mapping[str, Any]) -> str:
    """What a model is asked: the text of the user's message."""
    return str(row["prompt"][0]["content"])


def scores(row: Mapping[str, Any], written: str) -> dict[str, float]:
    """The scores of what a model wrote, without its thoughts. Each row of a data set has the same ones."""
    return score(row, bare_answer(written))


def names_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the scores of a row."""
    return CITATIONS if cites(row) else SHORT
