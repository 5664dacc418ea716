"""The benchmarks by name: which address names one, its rows, and its scores."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any

from synthctx_data.errors import DatasetError, UsageError
from synthctx_data.files import expanded, parse_json
from synthctx_data.places import here, is_remote
from training.benchmarks import babilong, helmet, longbench, mrcr, nolima, ruler
from training.benchmarks.entries import KINDS, Entry, is_readable, read_entries
from training.options import names_benchmark

_MODULES: Mapping[str, ModuleType] = {
    "ruler": ruler,
    "babilong": babilong,
    "nolima": nolima,
    "mrcr": mrcr,
    "longbench": longbench,
    "helmet": helmet,
}


@dataclass(frozen=True)
class Benchmark:
    """A benchmark, and the file or the folder of its rows: on this machine, or in a store (hf://datasets/OWNER/NAME/FILE)."""

    name: str
    place: str

    @property
    def metric(self) -> str:
        """The name of the score."""
        return str(_MODULES[self.name].METRIC)

    def score(self, row: Mapping[str, Any], prediction: str) -> dict[str, float]:
        """The score of a prediction, in [0, 1], by its name."""
        return {self.metric: float(_MODULES[self.name].score(row, prediction))}

    def rows(
        self, prompts: Mapping[str, str], limit: int | None = None, longest: int | None = None
    ) -> list[dict[str, Any]]:
        """The rows: all, or the first `limit`, in turn from each file. Those of more than `longest` tokens are left out.

        Raises: UsageError if there are no files; DatasetError if there are no rows, or an entry is not as the benchmark has it.
        """
        root, files = self._files()
        making = (self._made(file, root, prompts) for file in files)
        fitting = ((row for row in rows if longest is None or row["num_tokens"] <= longest) for rows in making)
        rows = list(islice(_in_turn([list(islice(each, limit)) for each in fitting]), limit))
        if not rows:
            of_length = f" of at most {longest} tokens" if longest else ""
            raise DatasetError(f"--data: expected rows of {self.name} in {self.place}{of_length}, found none")
        return rows

    def nolima_rows(
        self, prompts: Mapping[str, str], limit: int | None, tokens: int, tokenizer: Callable[[], Any]
    ) -> list[dict[str, Any]]:
        """The rows of NoLiMa, which are made for a number of tokens of a tokenizer.

        Raises: as `nolima.rows` does.
        """
        needles, books = self._of_nolima()
        if not needles.is_file():
            raise UsageError(
                f"--data: expected {nolima.NEEDLES} and {nolima.BOOKS} in {self.place}, as NoLiMa's data has them"
            )
        return _named_apart(list(nolima.rows(needles, books, tokens, tokenizer(), prompts, limit)))

    def identity(self) -> dict[str, str]:
        """The address, with a hash of the files, so that predictions for one are never taken for those for another."""
        if self.name == "nolima":
            needles, books = self._of_nolima()
            root, files = needles.parent.parent, [needles, *sorted(books.glob("*.txt"))]
        else:
            root, files = self._files()
        digest = hashlib.sha256()
        for file in files:
            digest.update(os.fsencode(file.relative_to(root)) + f" {file.stat().st_size} ".encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        return {"address": f"{self.name}:{self.place}", "fingerprint": digest.hexdigest()[:16]}

    def _local(self) -> Path:
        local = expanded(here(self.place))
        if not local.exists():
            raise UsageError(f"--data: expected a file or a folder of {self.name}, and there is no {self.place}")
        return local

    def _of_nolima(self) -> tuple[Path, Path]:
        """The file of the needles, and the folder of the books."""
        root = self._local()
        needles = root / nolima.NEEDLES if root.is_dir() else root
        return needles, needles.parent.parent / nolima.BOOKS

    def _files(self) -> tuple[Path, list[Path]]:
        """The files, and the folder that their names are in."""
        local = self._local()
        if local.is_file() and not is_readable(local):
            raise UsageError(
                f"--data: expected a file of {self.name} that ends with {', '.join(KINDS)}, got {self.place}"
            )
        found = [local] if local.is_file() else sorted(file for file in local.rglob("*") if is_readable(file))
        if not found:
            raise UsageError(f"--data: expected files of {self.name} in {self.place}, ending with {', '.join(KINDS)}")
        return local if local.is_dir() else local.parent, found

    def _made(self, file: Path, root: Path, prompts: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        name = file.relative_to(root)
        # The folders above may name a task.
        whole = Path(self.place) if is_remote(self.place) and name == Path(file.name) else file.absolute()
        for number, values in enumerate(read_entries(file)):
            yield _MODULES[self.name].row(Entry(values, self.name, whole, f"{name}-{number}", prompts))


def benchmark_in(address: str) -> Benchmark | None:
    """The benchmark that an address such as ruler:FILE names; None if it names none.

    Raises: UsageError if it names a benchmark without a place.
    """
    if not names_benchmark(address):
        return None
    name, _, place = address.partition(":")
    if not place:
        raise UsageError(f"--data: expected {name}:FILE or {name}:FOLDER, got {address!r}")
    return Benchmark(name, place)


def read_prompts(file: str | None) -> dict[str, str]:
    """The prompts by task in a file of JSON; empty without a file.

    Raises: UsageError if it is no such file.
    """
    if file is None:
        return {}
    try:
        found = parse_json(expanded(file).read_bytes())
        if not isinstance(found, dict) or not found or not all(isinstance(one, str) for one in found.values()):
            raise ValueError(f"got {json.dumps(found)[:60]}")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--prompts: expected a file of JSON with a prompt for each task, got {file}: {error}"
        ) from error
    return {str(task): str(prompt) for task, prompt in found.items()}


def _in_turn(files: Sequence[Sequence[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """The first row of each file, then the second of each, and so on."""
    return (row for together in zip_longest(*files) for row in together if row is not None)


def _named_apart(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows.

    Raises: DatasetError if two have the same name.
    """
    names = [row["id"] for row in rows]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"--data: expected needles with ids of their own, and two give {twice}")
    return rows
