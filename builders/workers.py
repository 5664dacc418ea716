"""Shards written by several processes of this machine."""

import contextlib
import os
import pickle
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from builders.shards import Build, Progress, Shard, write_shard
from synthctx_data.errors import BuildError
from synthctx_data.log import LOG
from synthctx_data.processes import begin_work

_TELL_SECONDS = 0.2  # between two messages of a worker about its rows
_END_SECONDS = 5.0  # that a worker has to remove its unfinished file
MOST_LOST = 3  # workers that one shard may lose


def write_by_processes(build: Build, shards: Sequence[Shard], workers: int, progress: Progress) -> None:
    """Writes shards in several processes. A worker that was killed is replaced, and its shard is written again.

    Raises: BuildError if one shard loses worker after worker; the error of a shard that cannot be written.
    """
    crew = _Crew(build, deque(shards), progress)
    try:
        crew.start(min(workers, len(shards)))
        while crew.members:
            crew.listen()
    finally:
        crew.end()


@dataclass(eq=False)
class _Member:
    """A worker process, the pipe to it, the shard that it writes (None: it waits), and the rows of it that it has told of.

    Nothing else is shared with it: a lock that a killed process holds would be held for ever.
    """

    process: SpawnProcess
    pipe: Connection
    shard: Shard | None = None
    rows: int = 0


@dataclass
class _Crew:
    """The workers of a build, and the shards that nobody writes yet."""

    build: Build
    shards: deque[Shard]
    progress: Progress
    members: list[_Member] = field(default_factory=list)
    done: list[_Member] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)

    def start(self, count: int) -> None:
        """Starts workers, which write shards until there are none."""
        with ctrl_c_ignored():  # the parent alone answers Ctrl-C
            for _ in range(count):
                here, there = get_context("spawn").Pipe()
                process = get_context("spawn").Process(target=_work, args=(self.build, there), daemon=True)
                process.start()
                there.close()
                self.members.append(_Member(process, here))
                self._hand_out(self.members[-1])

    def listen(self) -> None:
        """Waits for messages of workers, and acts on them."""
        ready = wait([member.pipe for member in self.members])
        for member in [one for one in self.members if one.pipe in ready]:
            try:
                told = member.pipe.recv()
            except (
                EOFError,
                OSError,
                pickle.UnpicklingError,
            ):  # half a message is one of a worker that died while it told
                self._replace(member)
                continue
            if isinstance(told, BaseException):
                raise told
            self._count(member, told)
            if member.shard and member.rows == member.shard.rows:
                self._hand_out(member)

    def end(self) -> None:
        """Ends all workers. Each removes its unfinished file first, if it can."""
        ending = [*self.members, *self.done]
        for member in ending:
            member.pipe.close()
        until = time.monotonic() + _END_SECONDS
        for member in ending:
            member.process.join(max(until - time.monotonic(), 0))
            member.process.kill()
            member.process.join()

    def _hand_out(self, member: _Member) -> None:
        member.shard, member.rows = (self.shards.popleft() if self.shards else None), 0
        with contextlib.suppress(OSError):  # of a worker that is dead by now, `listen` hears next
            member.pipe.send(member.shard)
        if member.shard is None:
            self.members.remove(member)
            self.done.append(member)

    def _count(self, member: _Member, rows: int) -> None:
        member.rows += rows
        self.progress(rows)

    def _replace(self, member: _Member) -> None:
        self.members.remove(member)
        member.process.join()
        assert member.shard is not None
        self.lost[member.shard.name] += 1
        if self.lost[member.shard.name] == MOST_LOST:
            raise BuildError(
                f"{MOST_LOST} worker processes in turn were killed while they wrote {member.shard.name} (the last one "
                f"{_ended(member.process.exitcode)}); is there enough memory? Lower --workers, or raise --shards, and call again: "
                "what is done is kept"
            )
        LOG.warning(
            "a worker ended %s; another one writes %s again", _ended(member.process.exitcode), member.shard.name
        )
        self._count(member, -member.rows)
        self.shards.appendleft(member.shard)
        self.start(1)


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"with exit code {code}"


def _work(build: Build, pipe: Connection) -> None:
    """Writes the shards that come through the pipe, and tells of their rows. A shard None is the end."""
    begin_work()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    teller = _Teller(pipe)
    try:
        while (shard := pipe.recv()) is not None:
            write_shard(build, shard, teller.count)
            teller.tell()
    except (EOFError, BrokenPipeError, _StoppedError):
        return
    except Exception as error:
        with contextlib.suppress(OSError):  # the parent has heard of another error before
            pipe.send(sendable(error))


class _Teller:
    """The rows of a shard that the parent has not been told of. The last ones are told only when the file is in its place."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._rows, self._told = pipe, 0, time.monotonic()

    def count(self, rows: int) -> None:
        """Counts further rows, and tells of earlier ones now and then.

        Raises: _StoppedError if the parent is gone, or wants no more.
        """
        if time.monotonic() - self._told >= _TELL_SECONDS:
            if self._pipe.poll():
                raise _StoppedError
            self.tell()
        self._rows += rows

    def tell(self) -> None:
        """Tells of all rows that were counted."""
        self._pipe.send(self._rows)
        self._rows, self._told = 0, time.monotonic()


class _StoppedError(Exception):
    """The parent process wants no more of this shard."""


def sendable(error: Exception) -> Exception:
    """The error, or one that tells of it, as a process can send it to another."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an error of a library may hold anything
        return BuildError(f"{type(error).__name__}: {error}")
    return error


@contextlib.contextmanager
def ctrl_c_ignored() -> Iterator[None]:
    """A context in which processes are started that do not answer Ctrl-C, nor SIGTERM, which go to all of them at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {which: signal.signal(which, signal.SIG_IGN) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
