"""Write a variant's shards: the missing ones only, whole or not at all, by local processes or by Ray.

While a build runs, its shards lie in a hidden folder beside the place where they belong; the folder moves there once it is
complete. So a reader never sees half a variant, and a build that was interrupted goes on where it stopped.
"""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from builders import find_task
from builders.examples import Examples
from synthctx_data import CONTENT_VERSION, __version__
from synthctx_data.errors import BuildError, ConflictError, UsageError
from synthctx_data.example import Example
from synthctx_data.options import Options
from synthctx_data.schema import SCHEMA, to_table

MANIFEST = "build.json"
_SHARD_TOKENS = 2**24  # about 60 MB of text
_GROUP_CHARACTERS = 2**23  # of a row group, which is what a stream reads at once
_GROUP_ROWS = 64
_SMALL_COLUMNS = [
    "prompt.list.element.role",
    "completion.list.element.role",
    "concept_expression",
    "context_diversity",
    "writer",
]
_PARTS = 2  # shards for each worker in a part of a build
_POLL_SECONDS = 0.2
_MAX_LOST_POOLS = 3  # in a row, without a shard written in between

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Shard:
    """A Parquet file: examples `start` to `stop` of a split."""

    split: str
    number: int
    count: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:05d}-of-{self.count:05d}.parquet"


@dataclass(frozen=True)
class Build:
    """What is built, and the folder for all variants of its task."""

    task: str
    variant: str
    options: Options
    folder: Path
    shards: int | None = None

    @property
    def target(self) -> Path:
        """Where the finished variant lies."""
        return self.folder / self.variant

    @property
    def staging(self) -> Path:
        """Where its shards lie until all of them are there."""
        return self.folder / f".{self.variant}.partial"


def ranges(size: int, count: int) -> list[range]:
    """The numbers below `size` in at most `count` consecutive ranges of nearly equal size, none of them empty."""
    count = min(size, count)
    return [range(size * i // count, size * (i + 1) // count) for i in range(count)]


def plan(examples: Examples, shards: int | None) -> list[Shard]:
    """The shards of every split: `shards` of each, or as many as hold 2**24 tokens each."""
    planned = []
    for split, size in examples.sizes.items():
        parts = ranges(size, shards or -(-size * examples.options.max_tokens // _SHARD_TOKENS))
        planned += [Shard(split, i, len(parts), part.start, part.stop) for i, part in enumerate(parts)]
    return planned


def build(build: Build, workers: int = 1, ray: str | None = None, progress: Progress = lambda rows: None) -> bool:
    """Builds the variant, and says whether anything was left to do.

    `progress` is told, again and again, how many more rows are there. `ray` is the address of a Ray cluster whose machines
    see the same folder.

    Raises: ConflictError if the folder holds another configuration; BuildError if workers die again and again.
    """
    manifest = manifest_of(build)
    shards = plan(_examples(build), build.shards)
    if is_built(build):
        _refuse_other(build.target, manifest)
        _refuse_incomplete(build.target, shards)
        return False
    with _alone(build):
        _build_missing(build, manifest, shards, workers, ray, progress)
    return True


def build_in_parts(
    build: Build, done: Collection[str], workers: int = 1, progress: Progress = lambda rows: None
) -> Iterator[Sequence[Shard]]:
    """Every shard of the variant in order, a few at a time: those that are `done` (by their names), or that lie in the staging folder.

    Whoever takes shards may move or delete their files before taking the next ones. At the end, what else belongs to the variant lies
    in the staging folder too.

    Raises: ConflictError if the staging folder holds another configuration; BuildError if workers die again and again.
    """
    shards = plan(_examples(build), build.shards)
    with _alone(build):
        _open_staging(build, manifest_of(build))
        for is_done, group in groupby(shards, key=lambda shard: shard.name in done):
            together = list(group)
            for first in range(0, len(together), _PARTS * workers):
                part = together[first : first + _PARTS * workers]
                if not is_done:
                    _write_missing(build, part, workers, None, progress)
                yield part
        _examples(build).expression.keep(build.staging)


def shard_names(build: Build) -> list[str]:
    """The names of all files of the variant."""
    return [shard.name for shard in plan(_examples(build), build.shards)]


def manifest_of(build: Build) -> dict[str, Any]:
    """What the variant is built from: what its build.json says."""
    return {
        "synthctx": __version__,
        "content": CONTENT_VERSION,
        "shards": build.shards,
        **_examples(build).description(),
    }


@contextmanager
def _alone(build: Build) -> Iterator[None]:
    build.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(build.folder / f".{build.variant}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ConflictError(
            f"another process is building {build.target} at this moment; wait until it is done, or choose another --output"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_built(build: Build) -> bool:
    """Whether the variant's folder holds something already."""
    return build.target.exists() and any(build.target.iterdir())


def _build_missing(
    build: Build, manifest: dict[str, Any], shards: Sequence[Shard], workers: int, ray: str | None, progress: Progress
) -> None:
    _open_staging(build, manifest)
    _write_missing(build, shards, workers, ray, progress)
    _examples(build).expression.keep(build.staging)
    if build.target.exists():
        build.target.rmdir()
    build.staging.rename(build.target)


def _write_missing(build: Build, shards: Sequence[Shard], workers: int, ray: str | None, progress: Progress) -> None:
    missing = [shard for shard in shards if not (build.staging / shard.name).exists()]
    progress(sum(shard.stop - shard.start for shard in shards if shard not in missing))
    if ray is not None:
        _write_by_ray(build, missing, ray, progress)
    elif workers == 1 or len(missing) == 1:
        for shard in missing:
            write_shard(build, shard, progress)
    else:
        _write_by_processes(build, missing, workers, progress)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a variant's folder says it was built from; empty if it says nothing."""
    file = folder / MANIFEST
    return parse_manifest(file.read_bytes()) if file.exists() else {}


def parse_manifest(content: bytes) -> dict[str, Any]:
    """What a build.json says; empty if it is none."""
    try:
        manifest = json.loads(content)
    except ValueError:
        return {}
    return manifest if isinstance(manifest, dict) else {}


def write_shard(build: Build, shard: Shard, progress: Progress) -> None:
    """Writes one shard into the staging folder, under its name once it is whole."""
    examples = _examples(build)
    path = build.staging / shard.name
    aside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with (
            aside.open("wb") as file,  # a path with a colon would be taken for an address
            pq.ParquetWriter(
                file,
                SCHEMA,
                compression="zstd",
                use_dictionary=_SMALL_COLUMNS,
                write_statistics=["id", "num_tokens"],
                write_page_index=True,
            ) as writer,
        ):
            for group in _groups(examples, shard, progress):
                writer.write_table(to_table(group), row_group_size=len(group))
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _examples(build: Build) -> Examples:
    """Made once a process: it holds the corpus and the documents that were counted."""
    return Examples(find_task(build.task), build.variant, build.options)


def _groups(examples: Examples, shard: Shard, progress: Progress) -> Iterator[list[Example]]:
    group: list[Example] = []
    characters = 0
    for index in range(shard.start, shard.stop):
        example = examples.make(shard.split, index)
        group.append(example)
        characters += len(example.prompt)
        progress(1)
        if characters >= _GROUP_CHARACTERS or len(group) == _GROUP_ROWS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _open_staging(build: Build, manifest: dict[str, Any]) -> None:
    if any(build.staging.glob("*.parquet")):
        _refuse_other(build.staging, manifest)
    for stale in build.staging.glob("*.tmp"):
        stale.unlink()
    build.staging.mkdir(parents=True, exist_ok=True)
    aside = build.staging / f"{MANIFEST}.tmp"
    aside.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    aside.replace(build.staging / MANIFEST)


def _refuse_other(folder: Path, manifest: dict[str, Any]) -> None:
    known = read_manifest(folder)
    if not known:
        if any(folder.glob("*.parquet")):
            raise ConflictError(
                f"expected {folder / MANIFEST} to say what these files were built from, and it is missing or does not parse; "
                "remove that folder, or choose another --output"
            )
        return
    differing = [
        f"{name} {known.get(name)!r} there, {manifest.get(name)!r} asked for"
        for name in sorted(known.keys() | manifest.keys())
        if known.get(name) != manifest.get(name) and name not in ("synthctx", "fingerprint")
    ]
    if differing:
        raise ConflictError(
            f"{folder} was built with another configuration ({'; '.join(differing)}); "
            "remove that folder, or choose another --output"
        )


def _refuse_incomplete(folder: Path, shards: Sequence[Shard]) -> None:
    for shard in shards:
        try:
            rows = pq.read_metadata(folder / shard.name).num_rows
        except (OSError, pa.ArrowException) as error:
            raise ConflictError(
                f"{folder} is damaged, remove it and build again: {shard.name} does not open: {error}"
            ) from error
        if rows != shard.stop - shard.start:
            raise ConflictError(
                f"{folder} is damaged, remove it and build again: "
                f"expected {shard.stop - shard.start} examples in {shard.name}, found {rows}"
            )


def _write_by_processes(build: Build, shards: Sequence[Shard], workers: int, progress: Progress) -> None:
    missing = list(shards)
    lost = 0
    while missing:
        before = len(missing)
        with contextlib.suppress(BrokenProcessPool):
            _run_pool(build, missing, workers, progress)
        missing = [shard for shard in missing if not (build.staging / shard.name).exists()]
        lost = lost + 1 if len(missing) == before else 0
        if lost == _MAX_LOST_POOLS:
            raise BuildError(
                f"worker processes were killed {_MAX_LOST_POOLS} times before any of them finished a shard "
                f"({len(missing)} are missing); is there enough memory? Lower --workers and call again: what is done is kept"
            )


def _run_pool(build: Build, shards: Sequence[Shard], workers: int, progress: Progress) -> None:
    context = get_context("spawn")
    written, stop = context.Value("q", 0), context.Event()
    told = 0

    def tell() -> None:
        nonlocal told
        now = written.value
        progress(now - told)
        told = now

    with ProcessPoolExecutor(min(workers, len(shards)), context, _start_worker, (written, stop)) as pool:
        try:
            with _ctrl_c_ignored():  # the workers start here, and the parent alone answers Ctrl-C
                pending: set[Future[None]] = {pool.submit(_write_in_worker, build, shard) for shard in shards}
            while pending:
                done, pending = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
                tell()
                for future in done:
                    future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _StoppedError(Exception):
    """The parent wants no more of this shard."""


# In a worker: the rows that all have made, and whether to stop. What a pool gives its workers has no other place.
_shared: tuple[Any, Any] | None = None


def _start_worker(written: Any, stop: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    global _shared  # noqa: PLW0603
    _shared = written, stop


def _write_in_worker(build: Build, shard: Shard) -> None:
    assert _shared is not None
    written, stop = _shared

    def count(rows: int) -> None:
        if stop.is_set():
            raise _StoppedError
        with written.get_lock():
            written.value += rows

    write_shard(build, shard, count)


def _write_by_ray(build: Build, shards: Sequence[Shard], address: str, progress: Progress) -> None:
    try:
        import ray
    except ImportError as error:
        raise UsageError('--ray: expected Ray, which is not installed; pip install "synthctx[ray]"') from error
    ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    write = ray.remote(max_retries=_MAX_LOST_POOLS)(write_shard)
    pending = {write.remote(build, shard, _ignore): shard for shard in shards}
    while pending:
        (done,), _ = ray.wait(list(pending), num_returns=1)
        ray.get(done)
        shard = pending.pop(done)
        progress(shard.stop - shard.start)


def _ignore(rows: int) -> None:
    """No progress within a shard: a machine of a cluster tells of whole ones only."""
