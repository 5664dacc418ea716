"""What a build will take, from a sample of its rows; and what builds took, as they noted it."""

import io
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from builders.build import manifest_of
from builders.planned_build import PlannedBuild
from builders.shards import Progress, ranges, write_tables
from synthctx_data.files import Place
from synthctx_data.schema import to_table
from synthctx_data.survey import facts_of

_BLOCKS = 4  # places in a split that are sampled: rows may grow harder
_FEWEST = 2  # rows of each
_SECONDS = 6.0  # for all rows of the sample
_GROUP_MEMORY = 2**26  # bytes that a row group takes while it is written
_LEAST_MEMORY = 2**28  # bytes of a worker's imports
_IMPORTS = time.process_time()  # until here, as in every worker


@dataclass(frozen=True)
class Forecast:
    """What a build will take.

    rows, tokens, files: of all splits. disk: bytes of the files. memory: bytes of each worker at its peak.
    start: CPU seconds of each worker until its first row. build, describe: CPU seconds of all rows.
    """

    rows: int
    tokens: int
    files: int
    disk: int
    memory: int
    start: float
    build: float
    describe: float

    def seconds(self, workers: int) -> float:
        """Seconds with so many workers, each on a core of its own. No more of them work than there are files."""
        return self.start + (self.build + self.describe) / min(workers, max(self.files, 1))


def forecast(planned: PlannedBuild) -> Forecast:
    """What a build will take, from a sample of its rows, which are made now.

    Raises: WriterError if a language model has not written its documents yet.
    """
    examples, began = planned.examples, time.process_time()
    first = next(split for split, size in examples.sizes.items() if size)
    examples.make(first, 0)
    started = time.process_time()
    sample = _sampled(examples.sizes, examples.options.questions, lambda: time.process_time() - started)
    made = [examples.make(split, index) for split, index in sample]
    memory = max(_peak() + _GROUP_MEMORY, _LEAST_MEMORY)
    file, table = io.BytesIO(), to_table(made)
    write_tables(file, [table])
    built = time.process_time()
    for row in table.to_pylist():
        facts_of(row)
    described = time.process_time()
    count, share = planned.rows, planned.rows / len(made)
    return Forecast(
        count,
        sum(example.num_tokens for example in made) * count // len(made),
        len(planned.build.planned),
        round(file.getbuffer().nbytes * share),
        memory,
        _IMPORTS + started - began,
        (built - started) * share,
        (described - built) * share,
    )


def _sampled(sizes: dict[str, int], questions: int, seconds: Callable[[], float]) -> Iterator[tuple[str, int]]:
    """The splits and indices of a sample: blocks of neighbours, since these may share a context, until the time is up."""
    split, size = max(sizes.items(), key=lambda one: one[1])
    for number, block in enumerate(ranges(size, _BLOCKS), 1):
        until = _SECONDS * number / _BLOCKS
        for done, index in enumerate(block):
            if done >= _FEWEST * questions and seconds() > until and done % questions == 0:
                break
            yield split, index


def _peak() -> int:
    """The most memory that this process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@dataclass(frozen=True)
class Took:
    """What one call took for the rows that it built: seconds, and the CPU seconds of it and of its workers on this machine."""

    variant: str
    fingerprint: str
    rows: int
    seconds: float
    cpu: float


class Built:
    """The rows that a call built."""

    def __init__(self) -> None:
        self.rows = 0
        self._is_first = True

    def counted(self, progress: Progress) -> Progress:
        """The function to be called with further rows, which counts them too. The first call is about rows that were there before."""

        def count(rows: int) -> None:
            self.rows += 0 if self._is_first else rows
            self._is_first = False
            progress(rows)

        return count


@contextmanager
def noting(planned: PlannedBuild) -> Iterator[Built]:
    """A context in which a variant is built. What it takes is noted beside it, but in a store, where no file can grow."""
    began, cpu, built, folder = time.monotonic(), _cpu(), Built(), planned.build.folder
    try:
        yield built
    finally:
        if isinstance(folder, Path) and built.rows > 0:
            seconds, spent = round(time.monotonic() - began, 2), round(_cpu() - cpu, 2)
            took = Took(planned.build.variant, _fingerprint(planned), built.rows, seconds, spent)
            with suppress(OSError), _notes(folder).open("a", encoding="utf-8") as notes:
                notes.write(json.dumps(asdict(took)) + "\n")


def taken(planned: PlannedBuild) -> list[Took]:
    """What calls noted that built this variant with this configuration."""
    folder = planned.build.folder
    if not isinstance(folder, Path) or not _notes(folder).is_file():
        return []
    found = []
    for line in _notes(folder).read_text(encoding="utf-8").splitlines():
        try:
            found.append(Took(**json.loads(line)))
        except (ValueError, TypeError):
            continue  # half a line of a call that was killed
    mine = (planned.build.variant, _fingerprint(planned))
    return [one for one in found if (one.variant, one.fingerprint) == mine]


def _fingerprint(planned: PlannedBuild) -> str:
    return str(manifest_of(planned.build)["fingerprint"])


def _notes(folder: Place) -> Path:
    assert isinstance(folder, Path)
    return folder / ".took.jsonl"


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
