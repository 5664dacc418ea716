"""How near the words of a question are to those of the documents that answer it."""

from collections.abc import Iterable
from functools import cache

from synthctx_data.matching import comparable
from synthctx_data.rules import question_names


@cache
def _common() -> frozenset[str]:
    """The commonest words, which say nothing about what is asked."""
    from bm25s.stopwords import STOPWORDS_EN_PLUS

    return frozenset(STOPWORDS_EN_PLUS)


def shared_words(question: str, documents: Iterable[str]) -> float | None:
    """The share, in [0, 1], of a question's words that the documents of its needles hold; None if it has no words to share.

    Names do not count, nor the commonest words.
    """
    names = {word for name in question_names(question) for word in comparable(name).split()}
    words = {*comparable(question).split()} - names - _common()
    known = {word for document in documents for word in comparable(document).split()}
    return len(words & known) / len(words) if words else None
