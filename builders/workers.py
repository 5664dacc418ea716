"""Shards written by several workers: processes of this machine, or tasks on a Ray cluster."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any

from builders.shards import Build, Progress, Shard, write_shard
from synthctx_data.errors import BuildError, UsageError

_POLL_SECONDS = 0.2
_MAX_LOST_POOLS = 3  # lost one after the other, with no shard written in between


def write_by_processes(build: Build, shards: Sequence[Shard], workers: int, progress: Progress) -> None:
    """Writes shards in several processes. Workers that were killed are replaced.

    Raises: BuildError if workers die again and again.
    """
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


@contextlib.contextmanager
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
    """The parent process wants no more of this shard."""


# In a worker: the number of rows that all workers have made, and the stop event. A pool can pass them on in no other way.
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


def write_by_ray(build: Build, shards: Sequence[Shard], address: str, progress: Progress) -> None:
    """Writes shards as tasks on the Ray cluster of this address, whose machines see the same folder.

    Raises: UsageError if Ray is not installed.
    """
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
        progress(pending.pop(done).rows)


def _ignore(rows: int) -> None:
    """Ignores progress within a shard: a cluster reports whole shards only."""
