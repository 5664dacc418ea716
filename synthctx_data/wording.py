"""How near the words of a question are to those of the documents that answer it."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from synthctx_data.matching import comparable
from synthctx_data.rules import question_names


@cache
def _common() -> frozenset[str]:
    """The commonest words, which say nothing about what is asked."""
    from bm25s.stopwords import STOPWORDS_EN_PLUS

    return frozenset(STOPWORDS_EN_PLUS)


def shared_words(row: Mapping[str, Any]) -> float | None:
    """The share, in [0, 1], of a question's words that the documents of its needles hold; None if it has no words to share.

    Names do not count, nor the commonest words.
    """
    prompt, documents = row["prompt"][0]["content"], row["documents"]
    names = {word for name in question_names(row["question"]) for word in comparable(name).split()}
    words = {*comparable(row["question"]).split()} - names - _common()
    holding = (documents[needle["document"]] for needle in row["needles"])
    known = {word for one in holding for word in comparable(prompt[one["start"] : one["end"]]).split()}
    return len(words & known) / len(words) if words else None
