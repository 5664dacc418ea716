"""Corpora that lie ready on this machine: read, cut into passages and indexed once, and mapped into memory by whoever uses them.

They lie in a cache folder (~/.cache/synthctx/ready, or below SYNTHCTX_CACHE), which can be removed at any time. A corpus may be larger
than memory: its documents stay in the file until one is asked for.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from synthctx_data.corpora import Corpus, Question, QuestionHop, read_corpus
from synthctx_data.corpus_files import PassedOver
from synthctx_data.errors import CorpusError
from synthctx_data.example import Document
from synthctx_data.files import expanded, parse_json, whole_folder, write_json
from synthctx_data.layout import Layout
from synthctx_data.log import LOG
from synthctx_data.places import cache_folder, here
from synthctx_data.prompts import ROOT

_COLUMNS = Document.__slots__
_BATCH = 4096  # documents that are written at once
_BATCH_CHARACTERS = 2**25
_KEPT_SECONDS = 30 * 24 * 3600  # since it was last used
_PACKAGES = ("bm25s", "markitdown", "pyarrow")  # whose version may change what is stored


class ReadyDocuments(Sequence[Document]):
    """The documents of a corpus, which lie in `folder`. `tokens` holds those of each one's page, in tokens; 0 if nobody counted it yet.

    All processes that use the corpus share these counts, and they are kept.
    """

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa  # which a command that lists variants does not wait for

        self.folder = folder
        with pa.memory_map(str(folder / "documents.arrow")) as file:
            self._table = pa.ipc.open_file(file).read_all()
        self._columns = [self._table.column(name) for name in _COLUMNS]
        size = len(self._table)
        self.tokens = np.memmap(folder / "tokens.i4", np.int32, "r+", shape=(size,)) if size else np.zeros(0, np.int32)

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return Document(*(column[index].as_py() for column in self._columns))

    def __iter__(self) -> Iterator[Document]:
        for batch in self._table.to_batches():
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield Document(*values)


def ready_corpus(layout: Layout, specs: Sequence[str], text_column: str, in_sections: bool) -> Corpus:
    """The corpus of these files, folders and Hub data sets, whose documents hold nothing that a prompt means by itself.

    See `Layout.escape`. Questions that would have to be changed for this are passed over. What was read before, and has not changed
    since, is not read again.

    Raises: UsageError or CorpusError as `read_corpus` does.
    """
    key = _key(layout, specs, text_column, in_sections)
    root = cache_folder() / "ready"
    if key is not None and _can_write(root):
        with suppress(OSError):  # of a disk that is full, or of a folder that somebody removes
            return _kept(root, key, layout, specs, text_column, in_sections)
    own = tempfile.mkdtemp(prefix="synthctx-")
    try:
        _make(Path(own, "corpus"), layout, specs, text_column, in_sections)
        corpus = _load(Path(own, "corpus"))
    except BaseException:
        shutil.rmtree(own, ignore_errors=True)
        raise
    weakref.finalize(corpus.documents, shutil.rmtree, own, ignore_errors=True)
    return corpus


def _kept(root: Path, key: str, layout: Layout, specs: Sequence[str], text_column: str, in_sections: bool) -> Corpus:
    """The corpus that is kept under this key. It is made now, if it is not there."""
    folder = root / key
    with FileLock(root / f"{key}.lock"):
        is_new = not folder.is_dir()
        LOG.info("corpus %s: %s %s", ", ".join(specs), "read now, and kept in" if is_new else "taken from", folder)
        if is_new:
            _remove_old(root, key)
            _make(folder, layout, specs, text_column, in_sections)
            if _key(layout, specs, text_column, in_sections) != key:
                shutil.rmtree(folder, ignore_errors=True)
                raise CorpusError("--corpus: a file changed while it was read; call again when nobody writes it")
        os.utime(folder)
        return _load(folder)


def _key(layout: Layout, specs: Sequence[str], text_column: str, in_sections: bool) -> str | None:
    """What tells the corpus from others; None if it is on a Hub, where nothing tells whether it changed."""
    files = []
    for spec in specs:
        path = expanded(here(spec))
        if not path.exists():
            return None
        inside = [Path(inner, name) for inner, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
        files.append([spec, os.path.abspath(path), [_state(file) for file in sorted(inside)]])  # noqa: PTH100
    said = [files, text_column, in_sections, layout.task, layout.counter.identity, _software()]
    return hashlib.sha256(json.dumps(said).encode(errors="surrogateescape")).hexdigest()[:24]


def _state(file: Path) -> list[str | int]:
    """What changes when a file does."""
    try:
        found = file.stat()
    except OSError:
        return [str(file)]
    return [str(file), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


@cache
def _software() -> list[str]:
    """What decides how a corpus is read, besides its files."""
    digest = hashlib.sha256()
    for file in sorted([*Path(__file__).parent.rglob("*.py"), *ROOT.rglob("*.jinja")]):
        digest.update(file.read_bytes())
    versions = [digest.hexdigest()]
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions.append(f"{package} {version(package)}")
    return versions


def _can_write(root: Path) -> bool:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(root, os.W_OK)


def _remove_old(root: Path, key: str) -> None:
    """Removes what nobody used for long, and what killed processes left of this corpus."""
    for folder in root.iterdir():
        if folder.is_dir() and (
            time.time() - folder.stat().st_mtime > _KEPT_SECONDS or folder.name.startswith(f".{key}.")
        ):
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)


class _Sink:
    """A file that documents are appended to."""

    def __init__(self, file: Path, layout: Layout) -> None:
        import pyarrow as pa

        self._schema = pa.schema([(name, pa.large_string()) for name in _COLUMNS])
        self._writer = pa.ipc.new_file(str(file), self._schema)
        self._layout = layout
        self._rows: list[Document] = []
        self._characters = self._written = 0
        self.changed = PassedOver()

    def __len__(self) -> int:
        return self._written + len(self._rows)

    def append(self, document: Document) -> None:
        """Adds a document, without what a prompt means by itself."""
        title, text = self._layout.escape(document.title), self._layout.escape(document.text)
        if (title, text) != (document.title, document.text):
            self.changed.add(
                "documents whose special tokens and document numbers were taken apart", repr(document.text[:60])
            )
            document = replace(document, title=title, text=text)
        self._rows.append(document)
        self._characters += len(text)
        if len(self._rows) == _BATCH or self._characters >= _BATCH_CHARACTERS:
            self._flush()

    def close(self) -> None:
        """Writes what is left."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        rows = [{name: getattr(row, name) for name in _COLUMNS} for row in self._rows]
        self._writer.write_batch(pa.RecordBatch.from_pylist(rows, self._schema))
        self._written, self._characters, self._rows = len(self), 0, []


def _make(folder: Path, layout: Layout, specs: Iterable[str], text_column: str, in_sections: bool) -> None:
    """Reads a corpus, and stores it in a folder."""
    with whole_folder(folder) as aside:
        aside.mkdir()
        sink = _Sink(aside / "documents.arrow", layout)
        corpus = read_corpus(specs, text_column, in_sections, sink)
        sink.close()
        for kind, number in sink.changed.counts.items():
            corpus.passed.counts[kind] += number
            corpus.passed.places[kind] = sink.changed.places[kind]
        questions = [question for question in corpus.questions if _is_plain(layout, question, corpus.passed)]
        with (aside / "tokens.i4").open("wb") as counts:
            counts.truncate(4 * len(sink))
        write_json(
            aside / "corpus.json",
            {
                "identity": corpus.identity,
                "questions": [
                    [q.text, [[hop.question, hop.answers, hop.gold] for hop in q.hops], q.own] for q in questions
                ],
                "counts": corpus.passed.counts,
                "places": corpus.passed.places,
            },
        )


def _is_plain(layout: Layout, question: Question, passed: PassedOver) -> bool:
    texts = [question.text, *(answer for hop in question.hops for answer in hop.answers)]
    if all(layout.escape(text) == text for text in texts):
        return True
    passed.add("questions with special tokens of the tokenizer, passed over", repr(question.text[:60]))
    return False


def _load(folder: Path) -> Corpus:
    said = parse_json((folder / "corpus.json").read_bytes())
    questions = [
        Question(text, tuple(QuestionHop(asked, tuple(answers), gold) for asked, answers, gold in hops), tuple(own))
        for text, hops, own in said["questions"]
    ]
    passed = PassedOver()
    passed.counts.update(said["counts"])
    passed.places.update(said["places"])
    return Corpus(ReadyDocuments(folder), tuple(questions), said["identity"], passed)
