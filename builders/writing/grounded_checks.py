"""Checks of grounded questions: they must be about their passage, be understood alone, and have an answer that stands there."""

import re
from collections.abc import Sequence

from builders.writing.requests import RejectedError
from synthctx_data.example import Document, Span
from synthctx_data.matching import comparable, comparables, find_text, holds, mentions
from synthctx_data.metrics import answer_f1
from synthctx_data.rules import question_names

_NAME_LETTERS = 4  # of a word that counts as a name by itself
_RIGHT = 0.6  # the F1 of a reply from which on it counts as the answer
_DAYS = (
    "January|February|March|April|May|June|July|August|September|October|November|December|"
    "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
)
CALENDAR = re.compile(f"{_DAYS}|Christmas|Easter")
TITLE = re.compile(
    r"(?:The|An?|Mrs?|Miss|Messrs|Dr|Sir|Rev|Lady|Lord|Captain|Professor|Dear|To)\.?"
)  # which a name may lack elsewhere
_SELF = re.compile(
    r"\b(?:(?:this|the|that|above|given|following) (?:passage|text|excerpt|paragraph|section|snippet)|"
    r"according to the (?:document|report|author|article)|in the (?:document|article))\b",
    re.IGNORECASE,
)
_BORNE = {
    "number": re.compile(r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|hundred|thousand)\b"),
    "date": re.compile(rf"\b(?:1\d{{3}}|20\d{{2}}|{_DAYS})\b"),
    "name": re.compile(r"(?<![.!?:] )(?<!^)\b[A-Z][a-z]+"),
    "comparison": re.compile(r"\b(?:than|more|less|fewer|most|least|first|last|larger|higher|lower|earlier|later)\b"),
    "list": re.compile(r"\w, [^.,;]{2,40}(?:,|) and \w"),
}


def bears(kind: str, text: str) -> bool:
    """True if a text can bear a question of a kind, as far as can be seen from it."""
    return kind not in _BORNE or _BORNE[kind].search(text) is not None


def is_right(reply: str, answers: Sequence[str]) -> bool:
    """True if a reply gives one of the answers: with other words around it, or with most of its words."""
    normal = comparable(reply)
    return mentions(normal, comparables(answers)) or answer_f1(reply, answers) >= _RIGHT


def check_grounded_question(question: str, document: Document, answer: str) -> None:
    """Raises: RejectedError for a question that speaks of the passage, names nothing in it, or holds the answer."""
    check_asked(question, answer)
    check_names(question, [document])


def check_names(text: str, documents: Sequence[Document]) -> None:
    """Raises: RejectedError if a text names nothing that stands in one of the documents."""
    found = comparables(names_in(text))
    if not any(mentions(comparable(f"{document.title} {document.text}"), found) for document in documents):
        raise RejectedError("names nothing", f"it names nothing that stands in the passage: {text!r}")


def check_once(answer: str, support: Span, document: Document) -> None:
    """Raises: RejectedError if an answer stands in a document outside of its support, too."""
    outside = f"{document.title} {document.text[: support.start]} {document.text[support.end :]}"
    if mentions(comparable(outside), comparables([answer])):
        raise RejectedError("stands twice", f"the answer {answer!r} stands in the passage outside of the support too")


def names_in(text: str) -> list[str]:
    """The names in a question or statement, and the longer words of each. Months, days and titles alone are none."""
    runs = [run for run in question_names(text) if not all(map(_names_nothing, run.split()))]
    return [
        *runs,
        *(word for run in runs for word in run.split() if len(word) >= _NAME_LETTERS and not _names_nothing(word)),
    ]


def _names_nothing(word: str) -> bool:
    return bool(CALENDAR.fullmatch(word) or TITLE.fullmatch(word))


def check_asked(question: str, answer: str) -> None:
    """Raises: RejectedError for a question that is none, speaks of the passage, or holds the answer."""
    if not question.endswith("?") or len(question.split()) < 4:
        raise RejectedError("other question", f"the question must be one whole question: {question!r}")
    if found := _SELF.search(question):
        raise RejectedError(
            "speaks of the passage", f"the question says {found.group()!r}, and must speak of no passage"
        )
    if holds(comparable(question), comparables([answer])):
        raise RejectedError("gives it away", f"the question contains the answer {answer!r}")


def find_words(words: str, document: Document) -> Span:
    """The span of some words, in characters of the document's text. Raises: RejectedError if they are not there."""
    found = find_text(words, document.text)
    if found is None:
        raise RejectedError("not in passage", f"this does not stand in its passage letter by letter: {words!r}")
    return found


def find_support(support: str, answer: str, document: Document) -> tuple[Span, Span]:
    """The spans of the support and of the answer in it, in characters of the document's text.

    Raises: RejectedError if one is not there word for word.
    """
    found = find_words(support, document)
    inside = find_text(answer, document.text[found.start : found.end])
    if inside is None or not comparable(answer):
        raise RejectedError("not in passage", f"the answer does not stand in the support letter by letter: {answer!r}")
    return found, inside.shift(found.start)
