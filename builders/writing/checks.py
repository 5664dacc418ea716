"""The forms of a language model's answers, whose texts are cleaned as they are read, and the checks that all tasks share."""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated
from unicodedata import normalize

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from builders.writing.requests import RejectedError
from synthctx_data.example import Document, Span
from synthctx_data.matching import comparable, comparables, holds, mentions

_PASSAGE_WORDS = 40, 250
_ANSWER_WORDS = 8
_NUMBER_WITH_UNIT = re.compile(r"(\d[\d,.]*\d) [^\d]+$")
_COUNTING = ("how many", "how much", "what number")
_ANSWER_CHARACTERS = 4  # of a normalised answer: a shorter one stands in other documents by chance


def clean(text: str) -> str:
    """The text in composed characters (NFC), without unprintable ones, and with one space for every run of whitespace."""
    visible = (
        text if text.isprintable() else "".join(c if c.isprintable() else " " if c.isspace() else "" for c in text)
    )
    return " ".join(normalize("NFC", visible).split())


Text = Annotated[str, Field(max_length=5000), AfterValidator(clean)]
Line = Annotated[str, Field(max_length=500), AfterValidator(clean)]


class Form(BaseModel):
    """The form of an answer. Fields that were not asked for are ignored."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)


class Written(Form):
    """A written document."""

    title: Line
    passage: Text

    @property
    def document(self) -> Document:
        return Document(self.title, self.passage)

    @property
    def normal(self) -> str:
        """Title and passage, normalised as answers are."""
        return comparable(f"{self.title} {self.passage}")


class WrittenDocuments(Form):
    """Several written documents."""

    documents: tuple[Written, ...] = Field(max_length=64)


def check_documents(documents: Sequence[Written], names: Sequence[str]) -> None:
    """Raises: RejectedError if documents and names differ in number, or if one lacks its title or name, or its length is wrong."""
    if len(documents) != len(names):
        raise RejectedError("other count", f"expected {len(names)} documents, got {len(documents)}")
    for document, name in zip(documents, names, strict=True):
        words = len(document.passage.split())
        least, most = _PASSAGE_WORDS
        if not least <= words <= most:
            raise RejectedError("other length", f"a passage has {words} words; write {least} to {most}")
        if not document.title:
            raise RejectedError("no title", "a title is empty")
        if name not in document.passage:
            raise RejectedError("no subject", f"the passage titled {document.title!r} does not name {name!r}")


def check_question(question: str, subject: str, hidden: Iterable[str]) -> None:
    """Raises: RejectedError for a question without its subject or a question mark, or with one of the hidden texts."""
    if subject not in question or not question.endswith("?"):
        raise RejectedError(
            "other question", f"the question must contain {subject!r} and end with a question mark: {question!r}"
        )
    for text in hidden:
        if holds(comparable(question), comparables([text])):
            raise RejectedError("gives it away", f"the question contains {text!r}")


def find_answer(answer: str, document: Written, subject: str) -> Span:
    """The span of the answer, word for word, in characters of the passage.

    Raises: RejectedError if it is not there or there twice, if it is too short or long, or if the subject contains it.
    """
    normal = comparable(answer)
    if len(normal) < _ANSWER_CHARACTERS or len(answer.split()) > _ANSWER_WORDS:
        raise RejectedError(
            "other answer", f"the answer must have one to six words, and not be a short one: {answer!r}"
        )
    found = re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", document.passage)
    if not found:
        raise RejectedError(
            "not in passage",
            f"the answer {answer!r} does not stand in the passage titled {document.title!r} word for word",
        )
    if mentions(comparable(subject), (normal,)):
        raise RejectedError("other answer", f"the answer {answer!r} is the name that the question holds")
    if holds(comparable(f"{document.passage[: found.start()]} {document.passage[found.end() :]}"), (normal,)):
        raise RejectedError(
            "said twice", f"the answer {answer!r} stands in the passage more than once, or in other words of it"
        )
    return Span(*found.span())


def accepted(question: str, answer: str) -> tuple[str, ...]:
    """The answers that are right where `answer` is: of a question for a number, the number without its unit too."""
    number = _NUMBER_WITH_UNIT.match(answer)
    return (answer, number[1]) if number and question.lower().startswith(_COUNTING) else (answer,)


def check_without(documents: Iterable[Written], texts: Sequence[str]) -> None:
    """Raises: RejectedError if a document contains one of the texts."""
    unwanted = [(text, comparables([text])) for text in texts]
    for document in documents:
        for text, normal in unwanted:
            if holds(document.normal, normal):
                raise RejectedError("holds the answer", f"the document titled {document.title!r} contains {text!r}")
