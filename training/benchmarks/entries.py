"""Entries of a benchmark's files, as their authors publish them: JSON lines, a JSON list, or Parquet."""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from synthctx_data.corpora import encodes
from synthctx_data.errors import DatasetError, UsageError, first_line

KINDS = (".jsonl", ".jsonl.gz", ".json", ".parquet")
_UTF8 = "utf-8-sig"  # some files begin with a mark of their encoding
_SHOWN = 60  # characters of a value that is of the wrong kind
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_CHARACTERS_PER_TOKEN = 4  # of English text, about
_MOST = 2**40  # of what is counted


@dataclass(frozen=True)
class Entry:
    """One entry of a benchmark's file.

    benchmark: the name of the benchmark, for messages.
    file: the path of its file, whose folders may name a task.
    name: a name of its own, such as that of its file with its number.
    prompts: prompts by task that the user gives in place of ours.
    """

    values: Mapping[str, Any]
    benchmark: str
    file: Path
    name: str
    prompts: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The text of a field.

        Raises: DatasetError if there is none.
        """
        value = self.values.get(name)
        return value if isinstance(value, str) and encodes(value) else self.refuse(name, "a text")

    def texts(self, name: str) -> list[str]:
        """The texts of a field that are not empty, at least one. They may be in lists of their own.

        Raises: DatasetError if there is none.
        """
        value = self.values.get(name)
        found = [one for each in _list(value) for one in _list(each)]
        if not any(found) or not all(isinstance(one, str) and encodes(one) for one in found):
            self.refuse(name, "one or more texts")
        return [one for one in found if one]

    def number_of(self, name: str) -> int:
        """The whole number of a field, 0 or more.

        Raises: DatasetError if there is none.
        """
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
            self.refuse(name, "a whole number")
        return value

    def refuse(self, name: str, expected: str) -> NoReturn:
        """Raises: DatasetError, which says what was expected of a field."""
        if name in self.values:
            there = f"got {str(self.values[name])[:_SHOWN]!r}"
        else:
            there = f"and there are only {', '.join(map(str, self.values)) or 'no fields'}"
        raise DatasetError(f"{self.name} of {self.benchmark}: expected {name} to be {expected}, {there}")

    def prompt(self, task: str, ours: str, **values: str) -> str:
        """The prompt of a task, ours or the user's, with the values in place of their names in braces.

        Raises: UsageError if the user gives prompts and none for this task.
        """
        template = self.prompts.get(task, ours)
        if self.prompts and task not in self.prompts:
            raise UsageError(f"--prompts: expected a prompt for {task!r}, got those for {', '.join(self.prompts)}")
        absent = [name for name in values if f"{{{name}}}" not in template]
        if absent:
            raise UsageError(
                f"--prompts: expected {{{absent[0]}}} in the prompt for {task!r}, got {template[:_SHOWN]!r}"
            )
        return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)

    def row(
        self, task: str, prompt: str | Sequence[Mapping[str, str]], answers: list[str], answer_tokens: int, **more: Any
    ) -> dict[str, Any]:
        """A row as a model is asked it: with an id, messages, answers, and the most tokens that an answer may have.

        Tokens are counted in characters, four to one, unless `more` has `num_tokens`.
        """
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        characters = sum(len(message["content"]) for message in messages)
        return {
            "id": self.name,
            "prompt": messages,
            "completion": [{"role": "assistant", "content": answers[0]}],
            "answers": answers,
            "documents": [],
            "needles": [],
            "num_tokens": characters // _CHARACTERS_PER_TOKEN,
            "task": task,
            "answer_tokens": answer_tokens,
            **more,
        }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def read_entries(file: Path) -> Iterator[dict[str, Any]]:
    """The entries of a file, in order.

    Raises: DatasetError if it cannot be read.
    """
    try:
        yield from _READERS[_kind(file)](file)
    except (OSError, ValueError, EOFError, RecursionError, zlib.error, pa.ArrowException) as error:
        raise DatasetError(f"{file}: expected {_kind(file)[1:]} that can be read: {first_line(error)}") from error


def is_readable(file: Path) -> bool:
    """True if the name of a file says that it is of a kind that can be read."""
    return file.name.endswith(KINDS)


def _kind(file: Path) -> str:
    return next(kind for kind in KINDS if file.name.endswith(kind))


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding=_UTF8) if file.suffix == ".gz" else file.open(encoding=_UTF8) as lines:
        for line in lines:
            if line.strip():
                yield _object(json.loads(line))


def _whole(file: Path) -> Iterator[dict[str, Any]]:
    """The entries of a JSON list, or of the list under "data". Some authors give this name to JSON lines."""
    try:
        found = json.loads(file.read_text(encoding=_UTF8))
    except ValueError:
        yield from _lines(file)
        return
    listed = found if isinstance(found, list) else _object(found).get("data", [found])
    if not isinstance(listed, list):
        raise ValueError(f"expected a list of entries, got {str(listed)[:_SHOWN]!r}")
    yield from map(_object, listed)


def _parquet(file: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(batch_size=16):
            yield from batch.to_pylist()


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object for each entry, got {str(value)[:_SHOWN]!r}")
    return value


_READERS: Mapping[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    ".jsonl": _lines,
    ".jsonl.gz": _lines,
    ".json": _whole,
    ".parquet": _parquet,
}
