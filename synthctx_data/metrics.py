"""How answers are compared: the normalisation of SQuAD, and what it means that a text mentions an answer."""

import re
import string
from collections.abc import Iterable

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))


def normalize_answer(text: str) -> str:
    """`text` in lower case, without ASCII punctuation, articles and repeated whitespace.

    Source: the SQuAD v1.1 evaluation script (Rajpurkar et al. 2016); Lost in the Middle scores with the same.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def normalize_answers(answers: Iterable[str]) -> tuple[str, ...]:
    """The distinct normalised answers, in order, without those of which nothing is left ("The", "A")."""
    return tuple(dict.fromkeys(filter(None, map(normalize_answer, answers))))


def holds(normal_text: str, normal_answers: Iterable[str]) -> bool:
    """Whether one of the normalised answers stands in a normalised text, inside of words too ("10" is in "1066").

    This is what keeps a document out of a haystack. A single letter or digit counts as a whole word only: it is in every text.
    """
    return any(
        answer in normal_text and (not (answer.isascii() and len(answer) == 1) or mentions(normal_text, (answer,)))
        for answer in normal_answers
    )


def mentions(normal_text: str, normal_answers: Iterable[str]) -> bool:
    """Whether a normalised text holds one of the normalised answers as whole words ("10" is not in "1066")."""
    return any(answer in normal_text and f" {answer} " in f" {normal_text} " for answer in normal_answers)
