"""Documents, needles, concepts and examples: the data that all else works with."""

import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

SPLITS = ("train", "validation")
CHAT = "chat"  # the concept expression of rows without a needle: chats of a mixture
_CITATION = re.compile(r"(\[\d+\])+")


class Span(NamedTuple):
    """A range of characters, from `start` up to but not including `end`."""

    start: int
    end: int

    def shift(self, by: int) -> "Span":
        """The span moved forward by this many characters."""
        return Span(self.start + by, self.end + by)


@dataclass(frozen=True, slots=True)
class Document:
    """A passage with its title, both without whitespace at their ends. Everything but the text may be empty.

    `origin` says where it stands in the corpus: FILE#char=START,END for a section of a file, or FILE, line N for a row.
    """

    title: str
    text: str
    source: str = ""
    license: str = ""
    origin: str = ""


@dataclass(slots=True, eq=False)
class Page:
    """A document as it stands in a prompt, below its number.

    `body` is that part of the prompt, and `tokens` is the number of tokens that it adds. `text` is the span of the document's
    own text in the body; only layout follows it.
    """

    document: Document
    body: str
    text: Span
    tokens: int
    normal: str | None = None  # the normalised body; None until it is first needed


@dataclass(frozen=True, slots=True)
class Needle:
    """A page that the answer needs.

    `span` is the needle itself and `answer` is the answer in it, both in characters of the page's body.
    """

    page: Page
    span: Span
    answer: Span

    @property
    def sentence(self) -> str:
        """The text of the needle itself."""
        return self.page.body[self.span.start : self.span.end]

    @property
    def text(self) -> str:
        """The text of the answer, as the page words it."""
        return self.page.body[self.answer.start : self.answer.end]


class Step(NamedTuple):
    """A hop as a question of its own, with its answer. A real one names the answers of earlier hops as "#1", "#2" and so on."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Concept:
    """An example without its haystack: a question, its answers, and its needles in hop order.

    `completion` is the answer that a model is trained to write, and `answers` holds every right answer. A concept that
    *cites* is answered by the numbers of its needles' documents instead, which are known once the needles have their places.
    `steps` holds a step for every hop of a multi-hop question. `companions` are pages that stand in every context of the
    concept, and that no answer needs. `writer` is the language model that wrote the needles, if any. If the needles are `apart`,
    each belongs to a question of its own, and for its depth the others count as any document. If only one of several needles is
    `asked` for, this is its index: the others are no needles of the row. The `form` of a question that several needles answer says what
    it asks for: one of them ("near-duplicates"), all ("list"), or their number ("count"). A concept that `quotes` has its needles in its
    completion.
    """

    question: str
    completion: str
    answers: tuple[str, ...]
    needles: tuple[Needle, ...]
    steps: tuple[Step, ...] = ()
    cites: bool = False
    writer: str = ""
    companions: tuple[Page, ...] = ()
    apart: bool = False
    asked: int | None = None
    form: str = ""
    quotes: bool = False


def cite(documents: Iterable[int]) -> str:
    """The answer that cites the documents of these indices: "[3][17][22]"."""
    return "".join(f"[{index + 1}]" for index in sorted(documents))


def is_citation(completion: str) -> bool:
    """True if an answer cites documents, as `cite` does."""
    return _CITATION.fullmatch(completion) is not None


@dataclass(frozen=True, slots=True)
class PlacedNeedle:
    """A needle in its place: the index of its document, its hop, and its spans in characters of the user message.

    If the needle is cited, `answer` is the span of the number above its document.
    """

    document: int
    hop: int
    span: Span
    answer: Span


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a data set. Its spans are in characters of `prompt`, which is the user message.

    `edges` holds the start and the end of every document in turn, in one flat array, since there can be thousands of them.
    `sources` holds the distinct sources and licences of those documents that have one.
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
        """The span of each document, in order."""
        return tuple(map(Span, self.edges[::2], self.edges[1::2]))
