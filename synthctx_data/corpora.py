"""Real documents, and real questions about them: from a file, a folder, or a Hub data set.

Rows of four shapes are read, from JSON, JSON lines (also gzipped), Parquet or the Hub:
- a question of Lost in the Middle: `question`, `answers` [str], `ctxs` [{title, text, isgold}], exactly one of them gold;
- a question of MuSiQue: `question`, `answer`, `answer_aliases`, `paragraphs` [{title, paragraph_text}], and
  `question_decomposition` [{question, answer, paragraph_support_idx}], one for each hop;
- a topic of SummHay: `documents` [{document_text, insights_included}], `subtopics` [{insights [{insight, insight_id}]}];
- a document: `text`, and `title` if it has one.
A text file becomes passages that end where paragraphs end.
"""

import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from synthctx_data.errors import CorpusError, UsageError, first_line
from synthctx_data.example import Document

_ROW_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet")
_TEXT_SUFFIXES = (".txt", ".md")
_Row = Mapping[str, Any]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_PASSAGE_WORDS = 100  # as in Natural Questions-Open (Karpukhin et al. 2020): a passage ends at the next paragraph end
_LONG_WORDS = 300  # a longer paragraph is cut
_WORD = re.compile(r"\S+")
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
    """Distinct documents, the questions about them, and a hash of every row that was read (`identity`)."""

    documents: tuple[Document, ...]
    questions: tuple[Question, ...]
    identity: str


def read_corpus(specs: Iterable[str], text_column: str = "text") -> Corpus:
    """The corpus that several files, folders or Hub data sets make together, in their order.

    `text_column` names the field with the text of a document that comes without a question.

    Raises: UsageError if one does not exist, CorpusError if one cannot be read.
    """
    reader = _Reader(text_column)
    digest = hashlib.sha256()
    for spec in specs:
        for place, row in _rows(spec):
            digest.update(json.dumps(row, sort_keys=True, default=str).encode())
            reader.read(row, place)
    return Corpus(tuple(reader.documents), tuple(reader.questions), digest.hexdigest())


class _Passage(dict[str, str]):
    """A row made of a passage of a text file: its title and text."""


class _Reader:
    """A collector of questions, and of documents, each of which gets a number when it is first seen."""

    def __init__(self, text_column: str) -> None:
        self._text_column = text_column
        self.documents: list[Document] = []
        # By a hash of the document, since a million texts should not be held twice.
        self._numbers: dict[bytes, int] = {}
        self.questions: list[Question] = []

    def read(self, row: _Row, place: str) -> None:
        if "paragraphs" in row:
            self.questions.append(self._chained(row, place))
        elif "question" in row:
            self.questions.append(self._single(row, place))
        elif "subtopics" in row:
            self.questions += self._insights(row, place)
        else:
            self._number(_document(row, place, "text" if isinstance(row, _Passage) else self._text_column))

    def _number(self, document: Document) -> int:
        text = f"{document.title}\n{document.text}".strip().encode()
        number = self._numbers.setdefault(hashlib.blake2b(text, digest_size=16).digest(), len(self.documents))
        if number == len(self.documents):
            self.documents.append(document)
        return number

    def _single(self, row: _Row, place: str) -> Question:
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
        own = [self._number(_document(context, f"{place}, ctxs")) for context in contexts]
        hop = QuestionHop(text, answers, own.pop(gold[0]))
        return Question(text, (hop,), tuple(own))

    def _chained(self, row: _Row, place: str) -> Question:
        paragraphs = _field(row, "paragraphs", list, place)
        steps = _field(row, "question_decomposition", list, place)
        own = [self._number(_document(p, f"{place}, paragraphs", "paragraph_text")) for p in paragraphs]
        at_index = {
            paragraph.get("idx", i): number for i, (paragraph, number) in enumerate(zip(paragraphs, own, strict=True))
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
        aliases = _answers(row, "answer_aliases", place) if row.get("answer_aliases") else ()
        answers = (_filled(row, "answer", place), *aliases)
        hops[-1] = QuestionHop(hops[-1].question, tuple(dict.fromkeys(answers)), hops[-1].gold)
        gold = {hop.gold for hop in hops}
        text = _filled(row, "question", place)
        return Question(text, tuple(hops), tuple(number for number in own if number not in gold))

    def _insights(self, row: _Row, place: str) -> Iterator[Question]:
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


def _filled(row: _Row, name: str, place: str) -> str:
    text: str = _field(row, name, str, place).strip()
    if not text:
        raise CorpusError(f"{place}: expected {name} to hold something, and it is empty; leave the row out")
    return text


def _answers(row: _Row, name: str, place: str) -> tuple[str, ...]:
    answers = _field(row, name, list, place)
    if not answers or not all(isinstance(answer, str) and answer.strip() and _encodes(answer) for answer in answers):
        raise CorpusError(f"{place}: expected {name} to be a list of texts, got {_short(answers)}")
    return tuple(answer.strip() for answer in answers)


def _document(row: _Row, place: str, field: str = "text") -> Document:
    if not isinstance(row, Mapping):
        raise CorpusError(f"{place}: expected a document with {field}, got {_short(row)}")
    title = _field(row, "title", str, place) if row.get("title") else ""
    text = _filled(row, field, place)
    return Document(" ".join(title.split()), text, _said(row, "source", "url"), _said(row, "license", "licence"))


def _said(row: _Row, *names: str) -> str:
    """The first text that one of these fields of a row holds; empty if none does."""
    return next((row[name] for name in names if isinstance(row.get(name), str) and _encodes(row[name])), "")


def _field(row: _Row, name: str, kind: type, place: str) -> Any:
    if not isinstance(row, Mapping):
        raise CorpusError(f"{place}: expected an object with {name}, got {_short(row)}")
    if name not in row:
        found = ", ".join(map(str, row)) or "none"
        raise CorpusError(
            f"{place}: expected fields {_SHAPES}; {name!r} is missing, found {found}; if documents have their text in another, "
            "name it by --corpus-text-column"
        )
    if isinstance(row[name], str) and not _encodes(row[name]):
        raise CorpusError(f"{place}: expected {name} to be Unicode, and it holds half a character (a surrogate)")
    if not isinstance(row[name], kind) or (kind is int and isinstance(row[name], bool)):
        raise CorpusError(f"{place}: expected {name} to be a {_TYPE_NAMES[kind]}, got {_short(row[name])}")
    return row[name]


_TYPE_NAMES: dict[type, str] = {str: "text", list: "list", int: "number"}


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 60 else text[:57] + '...'}"


def _rows(spec: str) -> Iterator[tuple[str, _Row]]:
    """Every row, with the place that it was read from, for messages."""
    if not spec.strip():
        raise UsageError(f"--corpus: expected a file {_suffixes()}, a folder of them, or a Hub id; got nothing")
    path = Path(os.path.expanduser(spec))
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.name.endswith(_ROW_SUFFIXES + _TEXT_SUFFIXES))
        if not files:
            raise CorpusError(f"--corpus: expected files {_suffixes()} in the folder {path}, found none")
    elif path.is_file():
        files = [path]
    elif _HUB_ID.fullmatch(spec) and not spec.endswith(_ROW_SUFFIXES + _TEXT_SUFFIXES):
        yield from _hub_rows(spec)
        return
    else:
        raise UsageError(
            f"--corpus: expected a file {_suffixes()}, a folder of them, or a Hub id; {spec!r} is neither file nor folder"
        )
    for file in files:
        count = 0
        try:
            for place, row in _file_rows(file):
                count += 1
                yield place, row
        except (OSError, EOFError, zlib.error) as error:
            raise CorpusError(f"--corpus: {file} cannot be read: {error}") from error
        if not count:
            raise CorpusError(f"--corpus: expected rows or text in {file}, and it is empty; leave it out or fill it")


def _file_rows(file: Path) -> Iterator[tuple[str, _Row]]:
    if file.name.endswith(".parquet"):
        yield from _parquet_rows(file)
    elif file.name.endswith(_TEXT_SUFFIXES):
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise CorpusError(_not_utf8(str(file), error)) from error
        for number, passage in enumerate(split_passages(text), 1):
            yield f"{file}, passage {number}", _Passage(title=file.stem, text=passage)
    elif file.name.endswith(".json"):
        yield from _whole_json(file)
    elif file.name.endswith((".jsonl", ".jsonl.gz")):
        yield from _json_rows(file)
    else:
        raise UsageError(f"--corpus: expected a file {_suffixes()}, got {file}")


def _json_rows(file: Path) -> Iterator[tuple[str, _Row]]:
    with gzip.open(file) if file.name.endswith(".gz") else file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"{file}, line {number}"
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                raise CorpusError(_not_utf8(place, error)) from error
            except (ValueError, RecursionError) as error:
                raise CorpusError(
                    f"{place}: expected one JSON object a line, and it does not parse: {error}"
                ) from error
            if not isinstance(row, dict):
                raise CorpusError(f"{place}: expected a JSON object, got {_short(row)}")
            yield place, row


def _whole_json(file: Path) -> Iterator[tuple[str, _Row]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise CorpusError(_not_utf8(str(file), error)) from error
    except (ValueError, RecursionError) as error:
        raise CorpusError(
            f"{file}: expected a JSON object or a list of them, and it does not parse: {error}"
        ) from error
    for number, row in enumerate(content if isinstance(content, list) else [content], 1):
        place = f"{file}, entry {number}"
        if not isinstance(row, dict):
            raise CorpusError(f"{place}: expected a JSON object, got {_short(row)}")
        yield place, row


def _parquet_rows(file: Path) -> Iterator[tuple[str, _Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file}, row {number}", row
    except (pa.ArrowException, UnicodeDecodeError, OverflowError, ValueError) as error:
        raise CorpusError(
            f"--corpus: expected a Parquet file that can be read, but of {file} row {number + 1} or a later one cannot: {error}"
        ) from error


def _hub_rows(repository: str) -> Iterator[tuple[str, _Row]]:
    import datasets
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        splits = datasets.load_dataset(repository, streaming=True)
    except (OSError, ValueError, datasets.exceptions.DatasetsError, HfHubHTTPError, HFValidationError) as error:
        reason = first_line(error)
        raise UsageError(
            f"--corpus: expected a file {_suffixes()}, a folder of them, or a Hub data set that can be reached; "
            f"{repository!r} is neither file nor folder, and the Hub says: {reason}"
        ) from error
    for name, split in splits.items():
        for number, row in enumerate(split, 1):
            yield f"{repository}, {name} row {number}", row


def split_passages(text: str) -> Iterator[str]:
    """The passages of a text: 100 words or more each, up to the end of a paragraph. The last may be shorter.

    A paragraph of more than 300 words is cut where sentences end, or else between words.
    """
    paragraphs: list[str] = []
    words = 0
    for paragraph in chain.from_iterable(map(_pieces, text.replace("\r\n", "\n").split("\n\n"))):
        paragraphs.append(paragraph)
        words += len(paragraph.split())
        if words >= _PASSAGE_WORDS:
            yield "\n".join(paragraphs)
            paragraphs, words = [], 0
    if paragraphs:
        yield "\n".join(paragraphs)


def _pieces(paragraph: str) -> Iterator[str]:
    """The pieces of a paragraph: one if it is short, several if it is long, none if it is only whitespace."""
    paragraph = paragraph.strip()
    start = words = 0
    for word in _WORD.finditer(paragraph) if paragraph.count(" ") > _LONG_WORDS else ():
        words += 1
        if words >= _LONG_WORDS or (words >= _PASSAGE_WORDS and word.group().endswith((".", "!", "?"))):
            yield paragraph[start : word.end()].strip()
            start, words = word.end(), 0
    if rest := paragraph[start:].strip():
        yield rest


def _not_utf8(place: str, error: UnicodeDecodeError) -> str:
    byte = error.object[error.start]
    return f"{place}: expected UTF-8, found the byte 0x{byte:02x} at position {error.start}; convert the file to UTF-8"


def _suffixes() -> str:
    return ", ".join(_ROW_SUFFIXES + _TEXT_SUFFIXES)
