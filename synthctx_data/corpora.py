"""Real documents, and real questions about them: from a file, a folder, or a Hub data set.

Rows of four shapes are read:
- a question of Lost in the Middle: `question`, `answers` [str], `ctxs` [{title, text, isgold}], exactly one of them gold;
- a question of MuSiQue: `question`, `answer`, `answer_aliases`, `paragraphs` [{title, paragraph_text}], and
  `question_decomposition` [{question, answer, paragraph_support_idx}], one for each hop;
- a topic of SummHay: `documents` [{document_text, insights_included}], `subtopics` [{insights [{insight, insight_id}]}];
- a document: `text`, and `title` if it has one.
A row that cannot be used is passed over. `corpus_files.py` says which files are read, and `passages.py` how texts become passages.
"""

import hashlib
import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from synthctx_data.corpus_files import BrokenRow, Passage, PassedOver, Row, corpus_rows, short
from synthctx_data.errors import CorpusError
from synthctx_data.example import Document
from synthctx_data.files import expanded
from synthctx_data.matching import comparable, comparables
from synthctx_data.places import here, is_remote
from synthctx_data.sections import sections

_SHAPES = (
    "question + answers + ctxs (Lost in the Middle), question + paragraphs + question_decomposition (MuSiQue), "
    "documents + subtopics (SummHay) or text (+ title)"
)


@dataclass(frozen=True, slots=True)
class QuestionHop:
    """A hop of a real question: what it asks, its answers, and the index of its gold document in the corpus."""

    question: str
    answers: tuple[str, ...]
    gold: int


@dataclass(frozen=True, slots=True)
class Question:
    """A real question with its hops in order. `own` holds the indices of the other documents that it came with.

    An insight of SummHay is a question too. It has one hop, without answers, for every document that contains it.
    """

    text: str
    hops: tuple[QuestionHop, ...]
    own: tuple[int, ...]

    @property
    def gold(self) -> tuple[int, ...]:
        """The indices of the gold documents, in hop order."""
        return tuple(hop.gold for hop in self.hops)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Distinct documents, the questions about them, a hash of every row that was read (`identity`), and what was passed over."""

    documents: Sequence[Document]
    questions: tuple[Question, ...]
    identity: str
    passed: PassedOver


class Documents(Protocol):
    """Something that documents can be appended to."""

    def __len__(self) -> int: ...

    def append(self, document: Document) -> None:
        """Adds a document."""


def read_corpus(
    specs: Iterable[str], text_column: str = "text", in_sections: bool = False, into: Documents | None = None
) -> Corpus:
    """The corpus that several files, folders or Hub data sets make together, in their order.

    Those of a store, such as s3://bucket/folder, are copied to this machine first. `text_column` names the field with the text of a
    document that comes without a question. Texts are cut into passages, or, with `in_sections`, into sections that say where they stand.
    The documents go `into` what is given, and are then not among those that are returned.

    Raises: UsageError if one does not exist, CorpusError if one cannot be read, or if none of its rows can be used.
    """
    passed, documents = PassedOver(), list[Document]()
    reader = _Reader(text_column, passed, in_sections, documents if into is None else into)
    digest = hashlib.sha256()
    places = [(spec, here(spec)) for spec in specs]
    labels = _labels(places) if in_sections else [None] * len(places)
    for (_, spec), label in zip(places, labels, strict=True):
        refused: CorpusError | None = None
        used = 0
        for place, row in corpus_rows(spec, passed, label):
            digest.update(json.dumps(row, sort_keys=True, default=str).encode())
            try:
                reader.read(row, place)
                used += 1
            except CorpusError as error:
                refused = refused or error
                passed.add("rows that cannot be used, passed over", str(error))
        if refused and not used:
            raise refused
    return Corpus(tuple(documents), tuple(reader.questions), digest.hexdigest(), passed)


def _labels(places: Sequence[tuple[str, str]]) -> list[str]:
    """What the names of files begin with, for each of several folders, so that like names stay apart.

    It is the end of the folder's path that no other folder has. Files alone stand in their folders. One folder needs none.

    places: what --corpus says of each, and its path on this machine.
    """
    folders = []
    for spec, place in places:
        path = spec.partition("://")[2] if is_remote(spec) else expanded(place)
        folder = Path(os.path.abspath(path))  # noqa: PTH100  # a link keeps its name
        folders.append(folder.parent if expanded(place).is_file() else folder)
    if len(set(folders)) == 1:
        return [""] * len(folders)
    tails = ([_end(path, parts) for path in folders] for parts in count(1))
    return next(names for names in tails if len(set(names)) == len(set(folders)))


def _end(path: Path, parts: int) -> str:
    """The last parts of a path, at most so many."""
    return "/".join(part for part in path.parts[-parts:] if part != path.anchor)


class _Reader:
    """A collector of questions, and of documents, each of which gets a number when it is first seen."""

    def __init__(self, text_column: str, passed: PassedOver, in_sections: bool, documents: Documents) -> None:
        self._text_column = text_column
        self._in_sections = in_sections
        self._passed = passed
        self.documents = documents
        # By a hash of the document, since a million texts should not be held twice.
        self._numbers: dict[bytes, int] = {}
        self.questions: list[Question] = []

    def read(self, row: Row, place: str) -> None:
        if isinstance(row, BrokenRow):
            raise CorpusError(f"{place}: {row.reason}")
        if "paragraphs" in row:
            self.questions.append(self._chained(row, place))
        elif "question" in row and ("ctxs" in row or self._text_column not in row):
            self.questions.append(self._single(row, place))
        elif "subtopics" in row:
            self.questions += list(self._insights(row, place))  # all of a topic or none
        elif isinstance(row, Passage):
            self._number(replace(_document(row, place), origin=row.origin))
        else:
            document = _document(row, place, self._text_column)
            for part in _cut(document, getattr(row, "origin", place)) if self._in_sections else [document]:
                self._number(part)

    def _number(self, document: Document) -> int:
        text = " ".join(document.text.split()).encode()  # the same text below another title is the same document
        number = self._numbers.setdefault(hashlib.blake2b(text, digest_size=16).digest(), len(self.documents))
        if number == len(self.documents):
            self.documents.append(document)
        return number

    def _numbers_of(
        self, rows: Iterable[Row], needed: Container[int], place: str, field: str = "text"
    ) -> list[int | None]:
        """The numbers of the documents of a question. One that cannot be used is passed over (None), unless it is needed."""
        found: list[int | None] = []
        for i, row in enumerate(rows):
            try:
                found.append(self._number(_document(row, place, field)))
            except CorpusError as error:
                if i in needed:
                    raise
                self._passed.add("documents of questions that cannot be used, passed over", str(error))
                found.append(None)
        return found

    def _single(self, row: Row, place: str) -> Question:
        contexts = _field(row, "ctxs", list, place)
        gold = [
            i
            for i, context in enumerate(contexts)
            if isinstance(context, Mapping) and context.get("isgold") in (True, 1)
        ]
        if len(gold) != 1:
            raise CorpusError(
                f"{place}: expected ctxs with exactly one document whose isgold is true, "
                f"found {len(gold)} among {len(contexts)}"
            )
        text, answers = _filled(row, "question", place), _answers(row, "answers", place)
        own = self._numbers_of(contexts, gold, f"{place}, ctxs")
        hop = QuestionHop(text, answers, _there(own.pop(gold[0])))
        return Question(text, (hop,), tuple(number for number in own if number is not None and number != hop.gold))

    def _chained(self, row: Row, place: str) -> Question:
        paragraphs = _field(row, "paragraphs", list, place)
        steps = _field(row, "question_decomposition", list, place)
        own = self._numbers_of(paragraphs, (), f"{place}, paragraphs", "paragraph_text")
        at_index = {
            _index(paragraph, i, place): number
            for i, (paragraph, number) in enumerate(zip(paragraphs, own, strict=True))
            if number is not None
        }
        hops = []
        for step in steps:
            where = f"{place}, question_decomposition"
            at = _field(step, "paragraph_support_idx", int, where)
            if at not in at_index:
                raise CorpusError(f"{where}: expected paragraph_support_idx to be the idx of a paragraph, got {at}")
            hops.append(
                QuestionHop(_field(step, "question", str, where), (_filled(step, "answer", where),), at_index[at])
            )
        if not hops:
            raise CorpusError(f"{place}: expected question_decomposition to hold a step for each hop, and it is empty")
        aliases = _field(row, "answer_aliases", list, place) if row.get("answer_aliases") else []
        answers = _answers({"answer": [_filled(row, "answer", place), *aliases]}, "answer", place)
        hops[-1] = QuestionHop(hops[-1].question, tuple(dict.fromkeys(answers)), hops[-1].gold)
        gold = {hop.gold for hop in hops}
        text = _filled(row, "question", place)
        return Question(text, tuple(hops), tuple(number for number in own if number is not None and number not in gold))

    def _insights(self, row: Row, place: str) -> Iterator[Question]:
        holding: dict[str, dict[int, None]] = {}
        own = []
        for entry in _field(row, "documents", list, place):
            own.append(self._number(_document(entry, f"{place}, documents", "document_text")))
            for insight in _field(entry, "insights_included", list, f"{place}, documents"):
                holding.setdefault(str(insight), {})[own[-1]] = None
        for subtopic in _field(row, "subtopics", list, place):
            for insight in _field(subtopic, "insights", list, f"{place}, subtopics"):
                where = f"{place}, subtopics, insights"
                text = _filled(insight, "insight", where)
                gold = holding.get(_field(insight, "insight_id", str, where), {})
                rest = set(own).difference(gold)
                yield Question(text, tuple(QuestionHop(text, (), number) for number in gold), tuple(sorted(rest)))


def _cut(document: Document, origin: str) -> Iterator[Document]:
    """The sections of the document of a row, with their places."""
    for (start, end), heading in sections(document.text):
        title = ": ".join(filter(None, [document.title, heading]))
        yield replace(document, title=title, text=document.text[start:end], origin=f"{origin}#char={start},{end}")


def _filled(row: Row, name: str, place: str) -> str:
    text: str = _field(row, name, str, place).strip()
    if not text:
        raise CorpusError(f"{place}: expected {name} to hold something, and it is empty; leave the row out")
    return text


def _answers(row: Row, name: str, place: str) -> tuple[str, ...]:
    answers = _field(row, name, list, place)
    if not answers or not all(isinstance(answer, str) and answer.strip() and encodes(answer) for answer in answers):
        raise CorpusError(f"{place}: expected {name} to be a list of texts, got {short(answers)}")
    # Nothing would be left of "!!!" when answers are compared, and so it would stand in every text.
    kept = tuple(answer.strip() for answer in answers if comparables([answer]))
    if not kept:
        raise CorpusError(f"{place}: expected {name} to hold letters or digits, got {short(answers)}")
    return kept


def _document(row: Row, place: str, field: str = "text") -> Document:
    if not isinstance(row, Mapping):
        raise CorpusError(f"{place}: expected a document with {field}, got {short(row)}")
    given = row.get("title")
    title = str(given) if _is_number(given) else _field(row, "title", str, place) if given else ""
    text = _filled(row, field, place)
    if not comparable(text):
        raise CorpusError(f"{place}: expected {field} to hold letters or digits, got {short(text)}")
    return Document(" ".join(title.split()), text, _said(row, "source", "url"), _said(row, "license", "licence"))


def _index(paragraph: Row, at: int, place: str) -> int:
    """The index by which the steps of a question name a paragraph: its `idx`, or else its place."""
    return _field(paragraph, "idx", int, f"{place}, paragraphs") if "idx" in paragraph else at


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _there(number: int | None) -> int:
    assert number is not None  # documents that are needed are never passed over
    return number


def _said(row: Row, *names: str) -> str:
    """The first text that one of these fields of a row holds; empty if none does."""
    return next(
        (row[name] for name in names if isinstance(row.get(name), str) and row[name].strip() and encodes(row[name])),
        "",
    )


def _field(row: Row, name: str, kind: type, place: str) -> Any:
    if not isinstance(row, Mapping):
        raise CorpusError(f"{place}: expected an object with {name}, got {short(row)}")
    if name not in row:
        found = ", ".join(map(str, row)) or "none"
        raise CorpusError(
            f"{place}: expected fields {_SHAPES}; {name!r} is missing, found {found}; if documents have their text in another, "
            "name it by --corpus-text-column"
        )
    if isinstance(row[name], str) and not encodes(row[name]):
        raise CorpusError(f"{place}: expected {name} to be Unicode, and it holds half a character (a surrogate)")
    if not isinstance(row[name], kind) or (kind is int and isinstance(row[name], bool)):
        raise CorpusError(f"{place}: expected {name} to be a {_TYPE_NAMES[kind]}, got {short(row[name])}")
    return row[name]


_TYPE_NAMES: dict[type, str] = {str: "text", list: "list", int: "number"}


def encodes(text: str) -> bool:
    """True if a text is one that files can hold: JSON may hold half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
