"""Statements of one insight: each must be in words of its own."""

from collections.abc import Sequence
from itertools import combinations

from builders.writing.requests import RejectedError
from synthctx_data.matching import comparable

_ALIKE = 0.8  # two statements that share more of all their words are taken for the same wording


def check_wordings(wordings: Sequence[str]) -> None:
    """Raises: RejectedError if two of these are in nearly the same words."""
    for one, other in combinations([set(comparable(wording).split()) for wording in wordings], 2):
        if len(one & other) > _ALIKE * len(one | other):
            raise RejectedError(
                "same words", "two statements, or a statement and the insight, are in the same words; vary them"
            )
