"""Locks that one process at a time holds: a locked file on this machine, and a *lease* in a store, which has no locks.

A lease is an object that its holder renews every few seconds. Whoever finds one that is not renewed takes it over, by making the
object of the next number, which only one process can.
"""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from filelock import FileLock, Timeout
from upath import UPath

from synthctx_data.errors import ConflictError
from synthctx_data.files import Place

_RENEW_SECONDS = 5.0
_DEAD_SECONDS = 30.0  # without a renewal
_LOOK_SECONDS = 1.0
_mine: Counter[str] = Counter()  # leases of this process


class HeldError(ConflictError):
    """A lock that another process holds."""

    def __init__(self, lock: Place) -> None:
        super().__init__(
            f"another process works in {lock.parent} at this moment and holds {lock.name}; wait until it is done"
        )


@contextmanager
def held(folder: Place, name: str, seconds: float = 0) -> Iterator[None]:
    """Holds the lock of this name in a folder. This process may hold it twice.

    Raises: HeldError if another process holds it, and still does after these seconds. In a store, it takes half a minute to see that
    a holder is dead.
    """
    if isinstance(folder, Path):
        with _held_here(folder, name, seconds):
            yield
    else:
        with _held_in_store(folder, name, seconds):
            yield


@contextmanager
def _held_here(folder: Path, name: str, seconds: float) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / name, is_singleton=True).acquire(timeout=seconds)
    except Timeout as error:
        raise HeldError(folder / name) from error
    with lock:
        yield


@contextmanager
def _held_in_store(folder: UPath, name: str, seconds: float) -> Iterator[None]:
    key = str(folder / name)
    lease = None if _mine[key] else _Lease(folder, name)
    if lease is not None:
        lease.take(seconds)
    _mine[key] += 1
    try:
        yield
    finally:
        _mine[key] -= 1
        if lease is not None:
            lease.give_up()


def lock_names(folder: Place, pattern: str) -> list[str]:
    """The names of the locks in a folder that match a pattern, whether somebody holds them or not."""
    if isinstance(folder, Path):
        return sorted(file.name for file in folder.glob(pattern))
    return sorted({file.name.rpartition(".")[0] for file in folder.glob(f"{pattern}.*")})


class _Lease:
    """The lease of a name in a store. Its object is NAME.NUMBER, with the holder and the number of renewals in it."""

    def __init__(self, folder: UPath, name: str) -> None:
        self._folder, self._name = folder, name
        self._holder = f"{socket.gethostname()} {os.getpid()} {token_hex(8)}"
        self._object: UPath | None = None
        self._ended = threading.Event()

    def take(self, seconds: float) -> None:
        """Takes the lease when it is free, or when its holder does not renew it.

        Raises: HeldError if it is renewed after these seconds.
        """
        start = seen_at = time.monotonic()
        seen: tuple[str, bytes] | None = None
        while True:
            newest = self._newest()
            if newest is None:
                if self._make(0):
                    return
            elif newest != seen:
                if seen is not None and time.monotonic() - start > seconds:
                    raise HeldError(self._folder / self._name)
                if seen is None:
                    self._say_that_it_waits()
                seen, seen_at = newest, time.monotonic()
            elif time.monotonic() - seen_at > _DEAD_SECONDS and self._make(_number(newest[0]) + 1):
                self._remove(newest[0])
                return
            time.sleep(_LOOK_SECONDS)

    def _say_that_it_waits(self) -> None:
        from synthctx_data.command import err

        err.print(
            f"{self._folder}: another process holds {self._name}; it takes up to {_DEAD_SECONDS:.0f} seconds to see whether it is alive",
            soft_wrap=True,
        )

    def give_up(self) -> None:
        """Lets others have the lease."""
        self._ended.set()
        self._thread.join()
        if self._object is not None and self._is_mine():
            self._remove(self._object.name)

    def _newest(self) -> tuple[str, bytes] | None:
        """The name and the content of the newest object; None if there is none."""
        names = [file.name for file in self._folder.glob(f"{self._name}.*")]
        if not names:
            return None
        try:
            name = max(names, key=_number)
            return name, _content_of(self._folder / name)
        except FileNotFoundError:
            return None

    def _make(self, number: int) -> bool:
        """True if this process made the object of this number, and nobody else did."""
        file = self._folder / f"{self._name}.{number}"
        self._object = file
        with suppress(FileExistsError):  # which an answer that was lost may leave to the next attempt
            file.fs.pipe_file(file.path, self._content(0), mode="create")
        if not self._is_mine():  # some stores know no mode "create", and the last one to write wins
            return False
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()
        return True

    def _content(self, renewals: int) -> bytes:
        return f"{self._holder} {renewals}\n".encode()

    def _is_mine(self) -> bool:
        assert self._object is not None
        try:
            return _content_of(self._object).startswith(self._holder.encode())
        except OSError:
            return False

    def _renew(self) -> None:
        """Renews the lease until it is given up. One that was lost is no harm: both holders write the same bytes."""
        renewals = 0
        while not self._ended.wait(_RENEW_SECONDS):
            renewals += 1
            with suppress(Exception):  # the store may be away for a while
                assert self._object is not None
                if not self._is_mine():
                    return
                self._object.fs.pipe_file(self._object.path, self._content(renewals))

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            (self._folder / name).unlink()


def _content_of(file: UPath) -> bytes:
    content: bytes = file.fs.cat_file(file.path)  # at once: a file that is opened must not change until it is read
    return content


def _number(name: str) -> int:
    number = name.rpartition(".")[2]
    return int(number) if number.isdecimal() else -1
