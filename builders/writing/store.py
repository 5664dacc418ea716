"""The answers of language models, kept in one SQLite file, so that nothing is paid for twice."""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from platform import node
from typing import Annotated, Any
from urllib.parse import quote
from uuid import uuid4

from pydantic import Field, TypeAdapter, ValidationError

from synthctx_data.errors import DatasetError, first_line, first_problem
from synthctx_data.files import Place, whole
from synthctx_data.retry import retry
from synthctx_data.tokens import TokenCounter

_FORMAT = 1
_LONGEST_LINE = 2**24  # characters of an answer in an exported file
_WAIT = 60  # seconds to wait for another build that is writing
_WAITS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)  # seconds between attempts to open it, while another process makes it


@dataclass(frozen=True)
class Request:
    """A request to a model: the body of a chat completion, the hash of the template that worded it, and the unit it is for.

    `form` is a pydantic model that the answer should follow. It is no part of the key: not every server can use it.
    """

    body: Mapping[str, Any]
    template: str
    unit: str = ""
    form: Any = None

    def tokens(self, counter: TokenCounter) -> int:
        """The number of tokens of its messages, without a chat template."""
        return sum(counter.raw(message["content"]) for message in self.body["messages"])

    @cached_property
    def key(self) -> str:
        """The SHA-256 of body and template in a canonical form: the same request has the same key on any machine."""
        canonical = json.dumps([self.template, self.body], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


_TokenCount = Annotated[int, Field(ge=0, lt=2**31)]


@dataclass(frozen=True)
class Answer:
    """An answer, good or bad: its request, its text, why it ended, who wrote it where, the tokens paid for, and its time.

    asked, model: the model that was asked, and the name that the endpoint gave it.
    time: seconds since 1970.
    """

    key: str
    template: str
    unit: str
    text: str
    finish_reason: str
    asked: str
    model: str
    endpoint: str
    prompt_tokens: _TokenCount
    completion_tokens: _TokenCount
    time: float


_ANSWER = TypeAdapter(Answer)
_COLUMNS = tuple(field.name for field in fields(Answer))
# With rows beside the index: in the index itself (WITHOUT ROWID, as below), each answer would take a page of overflow.
_TABLE = f"CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY NOT NULL, {', '.join(_COLUMNS[1:])})"
# Requests that were handed in together, and not answered yet: the uploaded file that holds each, and the batch made from it.
_BATCHED = (
    "CREATE TABLE IF NOT EXISTS batched (key TEXT PRIMARY KEY, template, unit, file, batch, endpoint) WITHOUT ROWID"
)
# Requests that a build asks at this moment, so that no other pays for them too: who asks, and how long that is to be believed.
_CLAIMED = "CREATE TABLE IF NOT EXISTS claimed (key TEXT PRIMARY KEY, asker, until) WITHOUT ROWID"
_CLAIM = """INSERT INTO claimed VALUES (:key, :asker, :until) ON CONFLICT (key) DO UPDATE SET asker = :asker, until = :until
WHERE asker = :asker OR until < :now"""
_BELIEVED = 60.0  # seconds that a claim counts, unless it is renewed
_TABLES = {"answers", "batched", "claimed"}
_INSERT = f"INSERT OR IGNORE INTO answers VALUES ({', '.join('?' * len(_COLUMNS))})"


class AnswerStore:
    """A store of answers by the key of their request, in a file that several builds may share.

    An answer that is kept is there even if the process is killed. Of two answers to one request, the first is kept, and
    both callers get it. A store that is only `read` may lie where nothing can be written.

    Raises: DatasetError, from every method, if the file is something else, is damaged, or cannot be written.
    """

    def __init__(self, file: Path, read: bool = False) -> None:
        self.file = file
        self._asker = f"{_machine()}/{os.getpid()}/{uuid4().hex}"
        with self._errors():
            if not read:
                file.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                _uri(file, read), uri=True, timeout=_WAIT, isolation_level=None, check_same_thread=False
            )
            retry(self._require_store, _WAITS, _is_locked)
            if not read:
                retry(
                    self._make, _WAITS, _is_locked
                )  # SQLite itself does not wait while another process makes the file

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error, ValidationError) as error:
            problem = first_problem(error) if isinstance(error, ValidationError) else first_line(error)
            raise DatasetError(
                f"{self.file}: expected a store of answers that can be read and written, or a name for a new one: {problem}"
            ) from error

    def _require_store(self) -> None:
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        columns = tuple(row[1] for row in self._connection.execute("PRAGMA table_info(answers)"))
        if found not in (0, _FORMAT) or (found == 0 and tables - _TABLES) or columns not in ((), _COLUMNS):
            raise sqlite3.DatabaseError(f"it is a database of another kind, with format {found}")

    def _make(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        # Safe against kills; a power cut may take the last answers.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        for table in (_TABLE, _BATCHED, _CLAIMED):
            self._connection.execute(table)
        self._connection.execute(f"PRAGMA user_version = {_FORMAT}")

    def _rows(self, query: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> list[Any]:
        with self._errors():
            return self._connection.execute(query, values).fetchall()

    def __len__(self) -> int:
        return int(self._rows("SELECT COUNT(*) FROM answers")[0][0])

    def __iter__(self) -> Iterator[Answer]:
        """All answers, in the order of their keys."""
        with self._errors():
            yield from map(_answer, self._connection.execute("SELECT * FROM answers ORDER BY key"))

    def get(self, key: str) -> Answer | None:
        """The answer to the request of this key; None if there is none."""
        with self._errors():
            row = self._connection.execute("SELECT * FROM answers WHERE key = ?", (key,)).fetchone()
            return _answer(row) if row else None

    def claim(self, key: str) -> bool:
        """True if this store may ask the request of this key: no other does so at this moment, in this process or another.

        The claim counts for a minute, or until `renew` is called, or `give_up`, or as long as the process of this store lives.
        """
        now = time.time()
        values = {"key": key, "asker": self._asker, "until": now + _BELIEVED, "now": now}
        with self._errors():
            if self._connection.execute(_CLAIM, values).rowcount == 1:
                return True
            (other,) = self._connection.execute("SELECT asker FROM claimed WHERE key = ?", (key,)).fetchone() or ("",)
            if _is_gone(other):
                self._connection.execute("DELETE FROM claimed WHERE key = ? AND asker = ?", (key, other))
            return False

    def renew(self) -> None:
        """Lets all claims of this store count for another minute."""
        self._rows("UPDATE claimed SET until = ? WHERE asker = ?", (time.time() + _BELIEVED, self._asker))

    def give_up(self, key: str) -> None:
        """Ends a claim of this store."""
        self._rows("DELETE FROM claimed WHERE key = ? AND asker = ?", (key, self._asker))

    def keep(self, answer: Answer) -> Answer:
        """The answer that is kept for its request: this one, unless there was one already.

        Raises: DatasetError if it cannot be kept.
        """
        self._rows(_INSERT, tuple(asdict(answer).values()))
        kept = self.get(answer.key)
        assert kept is not None
        return kept

    def keep_all(self, answers: Iterable[Answer]) -> int:
        """The number of these answers that were new. All of them are kept, or none if one cannot be."""
        before = len(self)
        with self._errors(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_INSERT, (tuple(asdict(answer).values()) for answer in answers))
        return len(self) - before

    def hand_in(self, requests: Iterable[Request], file: str, endpoint: str) -> None:
        """Remembers that these requests are in an uploaded file, from which a batch is about to be made."""
        rows = ((request.key, request.template, request.unit, file, None, endpoint) for request in requests)
        with self._errors(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO batched VALUES (?, ?, ?, ?, ?, ?)", rows)

    def name_batch(self, file: str, batch: str) -> None:
        """Remembers the batch that was made from an uploaded file."""
        self._rows("UPDATE batched SET batch = ? WHERE file = ?", (batch, file))

    def batches(self, endpoint: str) -> list[tuple[str, str | None]]:
        """The files that were handed in to an endpoint and not taken back, each with its batch (None if none is known)."""
        return self._rows("SELECT DISTINCT file, batch FROM batched WHERE endpoint = ? ORDER BY file", (endpoint,))

    def batch_of(self, key: str) -> str | None:
        """The batch that a request was handed in with (or the file, until the batch has a name); None if there is none."""
        found = self._rows("SELECT COALESCE(batch, file) FROM batched WHERE key = ?", (key,))
        return found[0][0] if found else None

    def handed_in(self, file: str) -> dict[str, tuple[str, str]]:
        """The template and the unit of every request of a file, by the request's key."""
        query = "SELECT key, template, unit FROM batched WHERE file = ?"
        return {key: (template, unit) for key, template, unit in self._rows(query, (file,))}

    def take_back(self, file: str) -> None:
        """Forgets a file whose answers are kept, or that will have none."""
        self._rows("DELETE FROM batched WHERE file = ?", (file,))

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()


def _is_locked(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _machine() -> str:
    """The name of this machine; in a container, also of the container, whose processes have numbers of their own."""
    with suppress(OSError):
        return f"{node()}:{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115  # it leads to no file
    return node()


def _is_gone(asker: str) -> bool:
    """True if a store's process was one of this machine, and is gone."""
    machine, _, process = asker.rpartition("/")[0].rpartition("/")
    if machine != _machine():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _uri(file: Path, read: bool) -> str:
    """The address of a database. Where nothing can be written, SQLite must not look for the files that it would make beside it."""
    mode = "rwc" if not read else "ro" if os.access(file.parent, os.W_OK) else "ro&immutable=1"
    return f"file:{quote(str(file.absolute()))}?mode={mode}"


def _answer(row: Sequence[Any]) -> Answer:
    return _ANSWER.validate_python(dict(zip(_COLUMNS, row, strict=True)))


ANSWERS = "answers.jsonl"  # in a variant's folder: the answers of a language model that its rows follow from


def export(answers: Iterable[Answer], file: Place) -> int:
    """The number of answers that were written as JSON lines. With the file, the same rows can be built without a network."""
    count = 0
    with whole(file) as aside, aside.open("w", encoding="utf-8") as lines:
        for answer in answers:
            lines.write(json.dumps(asdict(answer)) + "\n")
            count += 1
    return count


def exported(file: Path) -> Iterator[Answer]:
    """The answers of an exported file.

    Raises: DatasetError for a file that cannot be read, and for a line that holds no answer.
    """
    try:
        with file.open(encoding="utf-8") as content:
            for number, line in enumerate(iter(partial(content.readline, _LONGEST_LINE), ""), 1):
                try:
                    yield _ANSWER.validate_json(line, strict=True)
                except ValidationError as error:
                    raise DatasetError(
                        f"{file}, line {number}: expected an answer that `synthctx answers export` wrote: {first_problem(error)}"
                    ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{file}: expected a file that `synthctx answers export` wrote: {first_line(error)}"
        ) from error
