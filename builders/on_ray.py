"""Shards written by tasks on a Ray cluster, whose machines need no folder in common.

They get the corpus from the cluster, and send shards back. Into a store such as s3://bucket/folder, each machine writes its own shards.

Ray is used in a process of its own, since it prints to the terminal, may wait without end for a head that is gone, and may end the
process that uses it.
"""

import os
import re
import socket
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from builders.carried import Carried, carry, unpack
from builders.shards import Build, Progress, Shard, keep_shard, shard_bytes, write_shard
from builders.workers import MOST_LOST, ctrl_c_ignored, sendable
from synthctx_data.errors import BuildError, SynthctxError, UsageError, first_line
from synthctx_data.places import reached
from synthctx_data.processes import begin_work

_ADDRESS = re.compile(r"(ray://)?(?P<host>[\w.-]+|\[[\da-fA-F:]+\]):(?P<port>\d{1,5})")
_CONNECT_SECONDS = 90  # for a cluster that answers at its port
_PORT_SECONDS = 5  # for a port to answer
_LOOK_SECONDS = 1.0  # between two looks whether the head is there
_MISSED = 3  # looks in turn at which it was not
_AHEAD = 2  # shards for each CPU of the cluster that are handed out: the finished ones wait in its memory


def write_by_ray(build: Build, shards: Sequence[Shard], address: str, progress: Progress) -> None:
    """Writes shards as tasks on the Ray cluster of this address: "auto", HOST:PORT or ray://HOST:PORT.

    Raises: UsageError if Ray is not installed, or if no cluster answers; BuildError if the cluster is lost, or one shard loses worker
    after worker; the error of a shard that cannot be written.
    """
    _require_ray()
    _require_answer(address)
    here, there = get_context("spawn").Pipe()
    driver = get_context("spawn").Process(target=_drive, args=(build, list(shards), address, there), daemon=True)
    with ctrl_c_ignored():  # the parent alone answers Ctrl-C
        driver.start()
    there.close()
    try:
        if not here.poll(_CONNECT_SECONDS):
            raise BuildError(
                f"--ray {address}: expected a Ray cluster, and none was there after {_CONNECT_SECONDS} seconds"
            )
        while (told := here.recv()) is not None:
            if isinstance(told, BaseException):
                raise told
            progress(told)
    except (EOFError, OSError) as error:
        raise BuildError(
            f"--ray {address}: the connection to the cluster was lost; what is done is kept: call again when it is there"
        ) from error
    finally:
        driver.kill()
        driver.join()


def _require_ray() -> None:
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise UsageError('--ray: expected Ray, which is not installed; pip install "synthctx[ray]"') from error


def _require_answer(address: str) -> None:
    """Raises: UsageError if the text is no address of a cluster, or if nothing answers there."""
    if address == "auto":
        return
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 2**16:
        raise UsageError(f"--ray: expected auto, HOST:PORT or ray://HOST:PORT of a Ray cluster, got {address!r}")
    if problem := _unanswered(found["host"].strip("[]"), int(found["port"])):
        raise UsageError(
            f"--ray {address}: expected the head of a Ray cluster, and nothing answers there ({problem}); "
            "start one:  ray start --head"
        )


def _unanswered(host: str, port: int) -> str:
    """The reason why a port does not answer; empty if it does."""
    try:
        with socket.create_connection((host, port), _PORT_SECONDS):
            return ""
    except OSError as error:
        return first_line(error)


def _drive(build: Build, shards: list[Shard], address: str, pipe: Connection) -> None:
    """In the process of Ray: tells the parent of rows that are written, then None; or of the error that ended it."""
    begin_work()
    if not os.environ.get("SYNTHCTX_TRACEBACK"):
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
    try:
        _Tasks(build, shards, address, pipe).run()
        pipe.send(None)
    except Exception as error:
        pipe.send(sendable(error))
    os._exit(0)  # what Ray does at the end of a process may take minutes if the head is gone


def shard_task(job: tuple[Build, Carried], shard: Shard) -> bytes | None:
    """The content of a shard's file; None if it was written into a store. This is a task on a machine of the cluster."""
    import ray

    build, carried = job
    build = replace(build, options=unpack(build.options, carried, ray.get))
    if not build.is_remote:
        return shard_bytes(build, shard)
    with reached(build.folder):
        write_shard(build, shard, lambda rows: None)
    return None


class _Tasks:
    """The tasks of a build on a cluster: as many at a time as it has room for."""

    def __init__(self, build: Build, shards: list[Shard], address: str, pipe: Connection) -> None:
        import ray

        self._ray, self._build, self._address, self._pipe = ray, build, address, pipe
        self._waiting = deque(shards)
        self._lost: Counter[str] = Counter()
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (OSError, RuntimeError, ValueError, AssertionError) as error:
            raise UsageError(
                f"--ray {address}: expected a Ray cluster that can be used: {first_line(error)}"
            ) from error
        pipe.send(0)

    def run(self) -> None:
        """Hands out all shards, and keeps them as they come."""
        ray = self._ray
        room = _AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1)
        write = ray.remote(max_retries=0)(shard_task)
        options, carried = carry(self._build.options, ray.put)
        job = ray.put((replace(self._build, options=options), carried))
        pending: dict[Any, Shard] = {}
        missed = 0
        while self._waiting or pending:
            while self._waiting and len(pending) < room:
                shard = self._waiting.popleft()
                pending[write.remote(job, shard)] = shard
            done, _ = ray.wait(list(pending), num_returns=1, timeout=_LOOK_SECONDS)
            for ref in done:
                self._keep(ref, pending.pop(ref))
            missed = 0 if done or self._head_is_there() else missed + 1
            if missed == _MISSED:
                raise BuildError(
                    f"--ray {self._address}: the head of the cluster does not answer any more; what is done is kept: call again when "
                    "it is there"
                )

    def _head_is_there(self) -> bool:
        host, _, port = self._ray.get_runtime_context().gcs_address.rpartition(":")
        return not _unanswered(host.strip("[]"), int(port))

    def _keep(self, ref: Any, shard: Shard) -> None:
        errors = self._ray.exceptions
        try:
            content = self._ray.get(ref)
        except errors.RayTaskError as error:
            raise _cause(error) from error
        except errors.RayError as error:
            self._repeat(shard, error)
            return
        if content is not None:
            keep_shard(self._build, shard, content)
        self._pipe.send(shard.rows)

    def _repeat(self, shard: Shard, error: Exception) -> None:
        self._lost[shard.name] += 1
        if self._lost[shard.name] == MOST_LOST:
            raise BuildError(
                f"--ray {self._address}: {MOST_LOST} workers in turn were lost while they wrote {shard.name} ({type(error).__name__}: "
                f"{first_line(error)}); is there enough memory? What is done is kept"
            ) from error
        self._waiting.appendleft(shard)


def _cause(error: Any) -> SynthctxError:
    """The error of a task as one of ours, in one line."""
    cause = error.cause
    if isinstance(cause, SynthctxError):
        return cause
    if isinstance(cause, ModuleNotFoundError):
        return BuildError(
            f"--ray: {cause.name} is not installed on a machine of the cluster; install synthctx of this version there"
        )
    return BuildError(f"--ray: a task failed: {type(cause).__name__}: {first_line(cause)}")
