"""Parts of a build, which several calls write into one folder: the jobs of an array on a cluster need nothing else in common."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builders.shards import Build, Shard
from synthctx_data import locks
from synthctx_data.errors import ConflictError, UsageError

_PATIENCE = 10  # seconds for another part to finish the variant
_PART = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


@dataclass(frozen=True)
class Part:
    """Part `number` (from 1) of `count`: every `count`-th shard of a variant."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number} of {self.count}"

    def of(self, shards: Sequence[Shard]) -> list[Shard]:
        """Those of the shards that the part writes."""
        return list(shards[self.number - 1 :: self.count])


def parse_part(text: str) -> Part:
    """The part that a text such as "3/16" names.

    Raises: UsageError if it names none.
    """
    found = _PART.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--part: expected K/N with K from 1 to N, such as 3/16; got {text!r}")
    return Part(int(found[1]), int(found[2]))


@contextmanager
def writing_part(build: Build, part: Part) -> Iterator[None]:
    """Keeps other calls from writing the same part, and from building the whole variant.

    Raises: ConflictError if one is at it.
    """
    with held(build, f".{build.variant}.part-{part.number}-of-{part.count}.lock"):
        with held(build, f".{build.variant}.lock", _PATIENCE):
            pass  # nobody builds the whole
        yield


def require_no_part(build: Build) -> None:
    """Raises: ConflictError if another process writes a part of the variant at this moment."""
    for lock in locks.lock_names(build.folder, f".{build.variant}.part-*.lock"):
        with held(build, lock):
            pass


def remove_locks(build: Build) -> None:
    """Removes the locks of the parts of a variant that is finished. In a store, nothing is left of a lock that is given up."""
    if isinstance(build.folder, Path):
        for lock in build.folder.glob(f".{build.variant}.part-*.lock"):
            lock.unlink(missing_ok=True)


@contextmanager
def held(build: Build, lock: str, seconds: float = 0) -> Iterator[None]:
    """Holds a lock beside a variant. This process may hold it twice.

    Raises: ConflictError if another process holds it, and still does after these seconds.
    """
    try:
        with locks.held(build.folder, lock, seconds):
            yield
    except locks.HeldError as error:
        raise ConflictError(
            f"another process is building {build.target} at this moment; wait until it is done, or choose another --output"
        ) from error
