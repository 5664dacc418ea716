"""The nouns: what a document, a needle and an example are."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

SPLITS = ("train", "validation")


class Span(NamedTuple):
    """A half-open range of characters."""

    start: int
    end: int

    def shift(self, by: int) -> "Span":
        """The same span in a text that begins `by` characters earlier."""
        return Span(self.start + by, self.end + by)


@dataclass(frozen=True, slots=True)
class Document:
    """A passage with its title, both without whitespace at their ends; all but the text may be empty."""

    title: str
    text: str
    source: str = ""
    license: str = ""


@dataclass(slots=True, eq=False)
class Page:
    """A document as it stands in a prompt, below its number.

    `body` is the text of the prompt, `tokens` what it adds to one; the document's own text stands at `text` in the body, and
    is the last of it that is not layout.
    """

    document: Document
    body: str
    text: Span
    tokens: int
    normal: str | None = None  # the normalised body, once somebody has asked for it


@dataclass(frozen=True, slots=True)
class Needle:
    """A page that the answer needs; `span` and `answer` are characters of the page's body."""

    page: Page
    span: Span
    answer: Span

    @property
    def text(self) -> str:
        """The answer as it stands there."""
        return self.page.body[self.answer.start : self.answer.end]


class Step(NamedTuple):
    """A hop as a question of its own; a real one names the answers of earlier hops as "#1", "#2" and so on."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Concept:
    """What an example asks, before any haystack: a question, its answers, and its needles in hop order.

    `completion` is the answer that a model is trained to write; `answers` are all that are right. A concept that *cites* is
    answered by the numbers of its needles' documents instead, which are not known before these have their places. `steps`
    has one for every hop of a question of several, and `writer` is the language model that wrote its needles, if one did.
    """

    question: str
    completion: str
    answers: tuple[str, ...]
    needles: tuple[Needle, ...]
    steps: tuple[Step, ...] = ()
    cites: bool = False
    writer: str = ""


def cite(documents: Iterable[int]) -> str:
    """The answer that cites the documents of these indices: "[3][17][22]"."""
    return "".join(f"[{index + 1}]" for index in sorted(documents))


@dataclass(frozen=True, slots=True)
class PlacedNeedle:
    """Where a needle stands: the index of its document, its hop, and characters of the user message.

    Of a needle that is cited, the answer is the number above its document.
    """

    document: int
    hop: int
    span: Span
    answer: Span


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a data set; spans are characters of `prompt`, which is the user message.

    `edges` are the start and the end of every document in turn: flat, since there can be thousands of them. `sources` are the
    distinct sources and licences of its documents, where these have one.
    """

    id: str
    prompt: str
    completion: str
    question: str
    answers: tuple[str, ...]
    steps: tuple[Step, ...]
    edges: "array[int]"
    needles: tuple[PlacedNeedle, ...]
    sources: tuple[tuple[str, str], ...]
    num_tokens: int
    concept_expression: str
    context_diversity: str
    writer: str

    @property
    def documents(self) -> tuple[Span, ...]:
        """Where each document stands."""
        return tuple(map(Span, self.edges[::2], self.edges[1::2]))
