"""Rows of a corpus from files, folders and Hub data sets, and a record of what was passed over."""

import csv
import gzip
import io
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import IO, Any, cast

from synthctx_data.errors import CorpusError, UsageError, first_line
from synthctx_data.files import expanded, parse_json
from synthctx_data.hub import may_be_hub_id, read_from
from synthctx_data.manifest import CROISSANT, MANIFEST, read_manifest
from synthctx_data.office import INSTALL, SUFFIXES, can_read_office, office_text
from synthctx_data.passages import front_matter, html_text, split_passages
from synthctx_data.sections import first_heading, sections

Row = Mapping[str, Any]
Rows = Iterator[tuple[str, Row]]  # every row with the place that it was read from, for messages

_COMPRESSED = (".gz", ".zst")
_NOT_CONTENT = ("__MACOSX",)  # folders that packers leave behind
_NAMED = 3  # places that a note names
# What is read at once must fit into memory, also if a small file unpacks to much more.
_MOST_FILE = 2**29  # bytes of a text file, or of a file that is one JSON value
_MOST_ROW = 2**23  # bytes of a row: more than any context holds
_MOST_BATCH = 2**28  # bytes that rows of a Parquet file may come to
_BATCH = 1024  # rows of a Parquet file that are read at once


@dataclass
class PassedOver:
    """What was not taken from a corpus as it stands: how many things of each kind, and the places of the first few."""

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, place: str) -> None:
        """Counts one thing. `kind` names many of them in words, and says what was done: "empty files, passed over"."""
        self.counts[kind] += 1
        if self.counts[kind] <= _NAMED:
            self.places.setdefault(kind, []).append(place)

    def notes(self) -> list[str]:
        """A line for each kind, with the number and the places of the first few."""
        return [
            f"{kind}: {count:,} ({'; '.join(self.places[kind])}{'; ...' if count > _NAMED else ''})"
            for kind, count in self.counts.items()
        ]


class FileText(dict[str, str]):
    """A row made of a text file: its title and text, and where in the file the text starts, in characters."""

    def __init__(self, about: Mapping[str, str], text: str, start: int = 0) -> None:
        super().__init__(about, text=text)
        self.start = start


class Located(dict[str, Any]):
    """A row that says where it stands, by `origin`: FILE, line N."""

    origin = ""


class Passage(Located):
    """A row made of a passage of a text file: its title and text. `origin` is FILE#char=START,END (RFC 5147)."""


class BrokenRow(dict[str, Any]):
    """A row that cannot be parsed. `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


def corpus_rows(spec: str, passed: PassedOver, label: str | None = None) -> Rows:
    """The rows of a file, of all files of a folder, or of a Hub data set.

    A text file is cut into passages. With a label it is cut into its sections, and they and all other rows say where they stand: in
    which file below the label ("" for none). Files of a folder that hold nothing, or that
    have another suffix, are passed over.

    Raises: UsageError if there is no such place, CorpusError if it cannot be read or holds nothing.
    """
    if not spec.strip():
        raise UsageError(f"--corpus: expected a file {suffixes()}, a folder of them, or a Hub id; got nothing")
    path = expanded(spec)
    if path.is_dir():
        yield from _folder_rows(path, passed, label)
    elif path.is_file():
        if not (yield from _counted(path, path.parent, label)):
            raise CorpusError(f"--corpus: expected rows or text in {path}, and it is empty; leave it out or fill it")
    elif "/" in spec and may_be_hub_id(spec):
        yield from _hub_rows(spec)
    else:
        raise UsageError(
            f"--corpus: expected a file {suffixes()}, a folder of them, or a Hub id; {spec!r} is neither file nor folder"
        )


def suffixes() -> str:
    """The suffixes of files that are read, in words."""
    return f"{', '.join(_READERS)} (all but .parquet, .pdf and .docx also with {' or '.join(_COMPRESSED)})"


def _folder_rows(folder: Path, passed: PassedOver, label: str | None) -> Rows:
    inside = sorted(path for path in _everything(folder, passed) if _is_content(path.relative_to(folder)))
    built = {path.parent for path in inside if path.name == MANIFEST and "fingerprint" in read_manifest(path.parent)}
    cards = {variant.parent / name for variant in built for name in ("README.md", "CHANGELOG.md", CROISSANT)}
    files = []
    for path in inside:
        if not path.is_file():
            if path.is_symlink():
                passed.add("links to folders or to nothing, not followed", str(path))
        elif path in cards or not built.isdisjoint(path.parents):
            passed.add("files of data sets that synthctx built, passed over", str(path))
        elif path.name.lower().endswith(SUFFIXES) and not can_read_office():
            passed.add(f"PDF and Word files, which need {INSTALL}, passed over", str(path))
        elif _kind(path.name):
            files.append(path)
        else:
            passed.add(f"files of another suffix ({path.suffix or 'none'}), ignored", str(path))
    if not files:
        raise CorpusError(f"--corpus: expected files {suffixes()} in the folder {folder}, found none")
    count = 0
    for file in files:
        found = 0
        try:
            found = yield from _counted(file, folder, label)
        except CorpusError as error:
            if len(files) == 1:
                raise
            passed.add("files that cannot be read to their end", str(error))
            continue
        count += found
        if not found:
            passed.add("empty files, passed over", str(file))
    if not count:
        raise CorpusError(f"--corpus: expected rows or text in the files of {folder}, and all of them are empty")


def _everything(folder: Path, passed: PassedOver) -> Iterator[Path]:
    """All files and folders in a folder, however deep.

    Raises: CorpusError if the folder itself cannot be read.
    """

    def note(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise CorpusError(f"--corpus: {folder} cannot be read: {first_line(error)}") from error
        passed.add("folders that cannot be read, passed over", str(error.filename))

    for inner, folders, files in os.walk(folder, onerror=note):
        yield from (Path(inner, name) for name in (*folders, *files))


def _is_content(path: Path) -> bool:
    return not any(part.startswith(".") or part in _NOT_CONTENT for part in path.parts)


def _counted(file: Path, folder: Path, label: str | None) -> Generator[tuple[str, Row], None, int]:
    """The rows of a file in a folder. Returns their number."""
    kind = _kind(file.name)
    if not kind:
        raise UsageError(f"--corpus: expected a file {suffixes()}, got {file}")
    count = 0
    name = "" if label is None else _shown(PurePath(label, file.relative_to(folder)).as_posix())
    try:
        for place, row in _READERS[kind](file):
            located = [_located(row, name + place.removeprefix(str(file))) if name else row]
            for number, one in enumerate(_passages(row, name) if isinstance(row, FileText) else located, 1):
                count += 1
                yield (f"{place}, passage {number}" if isinstance(one, Passage) else place), one
    except UnicodeDecodeError as error:
        raise CorpusError(f"{file}: {_not_utf8(error)}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"--corpus: {file} cannot be read: {error}") from error
    return count


def _located(row: Row, origin: str) -> Row:
    """The row with its place, unless it is broken."""
    if isinstance(row, BrokenRow):
        return row
    found = Located(row)
    found.origin = origin
    return found


def _kind(name: str) -> str:
    """The suffix by which a file of this name is read; empty if it is not."""
    inner = _unpacked(name.lower())
    found = next((suffix for suffix in _READERS if inner.endswith(suffix)), "")
    return "" if found in (".parquet", *SUFFIXES) and inner != name.lower() else found


def _unpacked(name: str) -> str:
    """The name without the suffix of a compression."""
    return next((name[: -len(packed)] for packed in _COMPRESSED if name.lower().endswith(packed)), name)


def _title(file: Path) -> str:
    """The name of a file without its suffixes, as a title."""
    name = _unpacked(file.name)
    return name[: -len(_kind(file.name))].encode(errors="replace").decode()


def _shown(name: str) -> str:
    """The name of a file as text that can be written, whatever bytes it has."""
    return name.encode(errors="backslashreplace").decode()


def _open(file: Path) -> IO[bytes]:
    if file.name.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(file))
    if file.name.lower().endswith(".zst"):
        import pyarrow as pa

        return cast(IO[bytes], io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(file)), "zstd")))
    return file.open("rb")


def _read(file: Path) -> str:
    with _open(file) as content:
        read = content.read(_MOST_FILE + 1)
    if len(read) > _MOST_FILE:
        raise CorpusError(
            f"--corpus: expected at most {_MOST_FILE:,} bytes of text in {file}, unpacked; split it, or use .jsonl"
        )
    return read.decode("utf-8-sig")


def _plain_rows(file: Path) -> Rows:
    yield str(file), FileText({"title": _title(file)}, _read(file))


def _markdown_rows(file: Path) -> Rows:
    whole = _read(file).replace("\r\n", "\n")
    about, text = front_matter(whole)
    given = {name: said for name in ("title", "license", "source", "url") if (said := _said(about.get(name)))}
    yield str(file), FileText({"title": _title(file), **given}, text, len(whole) - len(text))


def _said(value: Any) -> str:
    """A value of front matter as text: a list as its items, nothing as nothing."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_said, value)))
    return "" if value is None or isinstance(value, dict) else str(value).strip()


def _html_rows(file: Path) -> Rows:
    title, text = html_text(_read(file))
    yield str(file), FileText({"title": title or _title(file)}, text)


def _office_rows(file: Path) -> Rows:
    yield str(file), FileText({"title": _title(file)}, office_text(file))


def _passages(whole: FileText, name: str) -> Iterator[Passage]:
    """The passages of a text file; its sections if its name is given, with their places under that name."""
    if not name:
        yield from (Passage(whole, text=passage) for passage in split_passages(whole["text"]))
        return
    text = whole["text"].replace("\r\n", "\n")
    top, skipped = first_heading(text)  # a title is not repeated in its passage
    title = top or whole["title"]
    for (start, end), heading in sections(text[skipped:]):
        body = text[skipped + start : skipped + end]
        one = Passage(whole, title=f"{title}: {heading}" if heading and heading not in body else title, text=body)
        one.origin = f"{name}#char={whole.start + skipped + start},{whole.start + skipped + end}"
        yield one


def _json_lines(file: Path) -> Rows:
    with _open(file) as content:
        lines = iter(partial(content.readline, _MOST_ROW + 1), b"")
        yield from _parsed_lines(file, enumerate(lines, 1))


def _parsed_lines(file: Path, lines: Iterator[tuple[int, bytes]]) -> Rows:
    for number, line in lines:
        if not line.strip():
            continue
        place = f"{file}, line {number}"
        if len(line) > _MOST_ROW:
            raise CorpusError(
                f"--corpus: expected rows of at most {_MOST_ROW:,} bytes, and {place} is longer; cut its text into several"
            )
        try:
            row = parse_json(line.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            row = BrokenRow(_not_utf8(error))
        except ValueError as error:
            row = BrokenRow(f"expected one JSON object a line, and it does not parse: {error}")
        yield place, _object(row)


def _json_rows(file: Path) -> Rows:
    """The rows of a file of JSON: one object, a list of them, or (as many name it so) one a line."""
    text = _read(file)
    if not text.strip():
        return
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not isinstance(error, json.JSONDecodeError) or not error.msg.startswith("Extra data"):
            raise CorpusError(
                f"{file}: expected a JSON object or a list of them, and it does not parse: {error}"
            ) from error
        yield from _parsed_lines(file, enumerate(text.encode().splitlines(), 1))
        return
    for number, row in enumerate(content if isinstance(content, list) else [content], 1):
        yield f"{file}, entry {number}", _object(row)


def _object(row: Any) -> Row:
    return row if isinstance(row, dict) else BrokenRow(f"expected a JSON object, got {short(row)}")


def _table_rows(file: Path) -> Rows:
    csv.field_size_limit(_MOST_ROW)
    separator = "\t" if _kind(file.name) == ".tsv" else ","
    reader = csv.DictReader(io.StringIO(_read(file), newline=""), delimiter=separator, strict=True)
    try:
        for number, row in enumerate(reader, 1):
            broken = BrokenRow("expected as many cells as the first line has; quote those that hold the delimiter")
            kept = {name: value for name, value in row.items() if name and value is not None}
            yield f"{file}, row {number}", broken if None in row else kept
    except csv.Error as error:
        raise CorpusError(f"--corpus: expected a table in {file}, and it does not parse: {error}") from error


def _parquet_rows(file: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_size=_rows_at_once(parquet.metadata)):
                if batch.nbytes > _MOST_ROW * len(batch):
                    raise CorpusError(
                        f"--corpus: expected rows of at most {_MOST_ROW:,} bytes, and of {file} row {number + 1} or one of the next "
                        f"{len(batch)} is larger; cut its text into several"
                    )
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file}, row {number}", row
    except (pa.ArrowException, UnicodeDecodeError, OverflowError, ValueError) as error:
        raise CorpusError(
            f"--corpus: expected a Parquet file that can be read, but of {file} row {number + 1} or a later one cannot: {error}"
        ) from error


def _rows_at_once(metadata: Any) -> int:
    """The number of rows that are read at once. Every one of them may be as large as all of a row group is in the file."""
    largest = max((int(metadata.row_group(i).total_byte_size) for i in range(metadata.num_row_groups)), default=1)
    return max(min(_MOST_BATCH // max(largest, 1), _BATCH), 1)


_READERS: Mapping[str, Callable[[Path], Rows]] = {
    ".jsonl": _json_lines,
    ".json": _json_rows,
    ".parquet": _parquet_rows,
    ".csv": _table_rows,
    ".tsv": _table_rows,
    ".txt": _plain_rows,
    ".md": _markdown_rows,
    ".html": _html_rows,
    ".htm": _html_rows,
    **dict.fromkeys(SUFFIXES, _office_rows),
}


def _hub_rows(repository: str) -> Rows:
    with read_from(
        repository, f"--corpus: expected a file {suffixes()}, a folder of them, or a Hub data set that can be reached"
    ):
        import datasets

        splits = datasets.load_dataset(repository, streaming=True)
    for name, split in splits.items():
        for number, row in enumerate(split, 1):
            yield f"{repository}, {name} row {number}", row


def short(value: object) -> str:
    """A value with its type, cut to 60 characters, for messages."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 60 else text[:57] + '...'}"


def _not_utf8(error: UnicodeDecodeError) -> str:
    byte = error.object[error.start]
    return f"expected UTF-8, found the byte 0x{byte:02x} at position {error.start}; convert the file to UTF-8"
