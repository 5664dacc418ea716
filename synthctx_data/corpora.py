"""Real documents, and real questions about them: from a file, a folder, or a Hub data set.

Rows of two shapes are read, from JSON lines (also gzipped), Parquet or the Hub:
- a question of Lost in the Middle: `question`, `answers` [str], `ctxs` [{title, text, isgold}], exactly one of them gold;
- a document: `text`, and `title` if it has one.
A text file becomes passages that end where paragraphs end.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthctx_data.errors import CorpusError, UsageError
from synthctx_data.example import Document

_ROW_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_TEXT_SUFFIXES = (".txt", ".md")
_PASSAGE_WORDS = 100  # as in Natural Questions-Open (Karpukhin et al. 2020): a passage ends at the next paragraph end
_SHAPES = "question + answers + ctxs (Lost in the Middle) or text (+ title)"


@dataclass(frozen=True, slots=True)
class Question:
    """A real question, its answers, and the index of its gold document in the corpus."""

    text: str
    answers: tuple[str, ...]
    gold: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """Distinct documents, the questions about them, and a hash of all that was read."""

    documents: tuple[Document, ...]
    questions: tuple[Question, ...]
    identity: str


def read_corpus(specs: Iterable[str]) -> Corpus:
    """The documents and questions of several files, folders or Hub data sets, in their order.

    Raises: UsageError if one does not exist, CorpusError if one cannot be read.
    """
    numbers: dict[Document, int] = {}
    questions: list[Question] = []
    digest = hashlib.sha256()
    for spec in specs:
        for place, row in _rows(spec):
            digest.update(json.dumps(row, sort_keys=True, default=str).encode())
            if "question" in row:
                questions.append(_question(row, place, numbers))
            else:
                document = _document(row, place)
                numbers.setdefault(document, len(numbers))
    return Corpus(tuple(numbers), tuple(questions), digest.hexdigest())


def _question(row: Mapping[str, Any], place: str, numbers: dict[Document, int]) -> Question:
    contexts = _field(row, "ctxs", list, place)
    gold = [context for context in contexts if isinstance(context, Mapping) and context.get("isgold")]
    if len(gold) != 1:
        raise CorpusError(
            f"{place}: expected ctxs with exactly one document whose isgold is true, found {len(gold)} among {len(contexts)}"
        )
    answers = _field(row, "answers", list, place)
    if not answers or not all(isinstance(answer, str) and answer.strip() for answer in answers):
        raise CorpusError(f"{place}: expected answers to be a list of texts, got {_short(answers)}")
    text = _field(row, "question", str, place).strip()
    for context in contexts:
        document = _document(context, f"{place}, ctxs")
        number = numbers.setdefault(document, len(numbers))
        if context is gold[0]:
            gold_number = number
    return Question(text, tuple(answer.strip() for answer in answers), gold_number)


def _document(row: Mapping[str, Any], place: str) -> Document:
    if not isinstance(row, Mapping):
        raise CorpusError(f"{place}: expected a document with text and title, got {_short(row)}")
    title = row.get("title") or ""
    if not isinstance(title, str):
        raise CorpusError(f"{place}: expected title to be a text, got {_short(title)}")
    text = _field(row, "text", str, place).strip()
    if not text:
        raise CorpusError(f"{place}: expected text to hold something, and it is empty; leave the row out")
    return Document(" ".join(title.split()), text)


def _field(row: Mapping[str, Any], name: str, kind: type, place: str) -> Any:
    if name not in row:
        found = ", ".join(map(str, row)) or "none"
        raise CorpusError(f"{place}: expected fields {_SHAPES}; {name!r} is missing, found {found}")
    if not isinstance(row[name], kind):
        raise CorpusError(f"{place}: expected {name} to be a {_TYPE_NAMES[kind]}, got {_short(row[name])}")
    return row[name]


_TYPE_NAMES: dict[type, str] = {str: "text", list: "list"}


def _short(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 60 else text[:57] + '...'}"


def _rows(spec: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every row with the place it stands at, for messages."""
    path = Path(spec).expanduser()
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.name.endswith(_ROW_SUFFIXES + _TEXT_SUFFIXES))
        if not files:
            raise CorpusError(f"--corpus: expected files {_suffixes()} in the folder {path}, found none")
    elif path.is_file():
        files = [path]
    else:
        yield from _hub_rows(spec)
        return
    for file in files:
        count = 0
        try:
            for place, row in _file_rows(file):
                count += 1
                yield place, row
        except (OSError, EOFError) as error:
            raise CorpusError(f"--corpus: {file} cannot be read: {error}") from error
        if not count:
            raise CorpusError(f"--corpus: expected rows in {file}, and it is empty; leave it out or fill it")


def _file_rows(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if file.name.endswith(".parquet"):
        yield from _parquet_rows(file)
    elif file.name.endswith(_TEXT_SUFFIXES):
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CorpusError(_not_utf8(str(file), error)) from error
        for number, passage in enumerate(passages(text), 1):
            yield f"{file}, passage {number}", {"title": file.stem, "text": passage}
    elif file.name.endswith((".jsonl", ".jsonl.gz")):
        yield from _json_rows(file)
    else:
        raise UsageError(f"--corpus: expected a file {_suffixes()}, got {file}")


def _json_rows(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with gzip.open(file) if file.name.endswith(".gz") else file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"{file}, line {number}"
            try:
                row = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise CorpusError(_not_utf8(place, error)) from error
            except json.JSONDecodeError as error:
                raise CorpusError(
                    f"{place}: expected one JSON object a line, and it does not parse: {error}"
                ) from error
            if not isinstance(row, dict):
                raise CorpusError(f"{place}: expected a JSON object, got {_short(row)}")
            yield place, row


def _parquet_rows(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file}, row {number}", row
    except pa.ArrowException as error:
        raise CorpusError(f"--corpus: expected a Parquet file, but {file} does not open: {error}") from error


def _hub_rows(repository: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import datasets
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        splits = datasets.load_dataset(repository, streaming=True)
    except (OSError, ValueError, datasets.exceptions.DatasetsError, HfHubHTTPError, HFValidationError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"--corpus: expected a file {_suffixes()}, a folder of them, or a Hub data set that can be reached; "
            f"{repository!r} is neither file nor folder, and the Hub says: {reason}"
        ) from error
    for name, split in splits.items():
        for number, row in enumerate(split, 1):
            yield f"{repository}, {name} row {number}", row


def passages(text: str) -> Iterator[str]:
    """The text in passages of 100 words or more that end where paragraphs end; the last may be shorter."""
    paragraphs: list[str] = []
    words = 0
    for paragraph in text.replace("\r\n", "\n").split("\n\n"):
        if not paragraph.strip():
            continue
        paragraphs.append(paragraph.strip())
        words += len(paragraph.split())
        if words >= _PASSAGE_WORDS:
            yield "\n".join(paragraphs)
            paragraphs, words = [], 0
    if paragraphs:
        yield "\n".join(paragraphs)


def _not_utf8(place: str, error: UnicodeDecodeError) -> str:
    byte = error.object[error.start]
    return f"{place}: expected UTF-8, found the byte 0x{byte:02x} at position {error.start}; convert the file to UTF-8"


def _suffixes() -> str:
    return ", ".join(_ROW_SUFFIXES + _TEXT_SUFFIXES)
