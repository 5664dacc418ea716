"""Random numbers by name: `rng(seed, task, split, index, "depth")`.

The bits come from SHAKE-128 over the name. So a stream is the same on every machine and with every version of Python and
NumPy, and no two names share a stream. (NumPy keeps its bit generators stable, but not the numbers drawn from them.)
"""

from collections.abc import Sequence
from hashlib import shake_128
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Stream:
    """An endless stream of random numbers, fixed by its name."""

    def __init__(self, name: tuple[str | int, ...]) -> None:
        self._key = repr(name).encode()
        self._block = 0

    def bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        self._block += 1
        return shake_128(self._key + self._block.to_bytes(8, "little")).digest(count)

    def raw(self, count: int) -> NDArray[np.uint64]:
        """`count` random integers in [0, 2**64)."""
        return np.frombuffer(self.bytes(8 * count), dtype="<u8")

    def uniform(self) -> float:
        """A float in [0, 1), of 53 random bits."""
        return (int.from_bytes(self.bytes(8), "little") >> 11) / 2**53

    def below(self, bound: int) -> int:
        """An integer in [0, bound); the bias is under bound / 2**64."""
        return int.from_bytes(self.bytes(8), "little") % bound

    def integers(self, bound: int, count: int) -> list[int]:
        """`count` integers in [0, bound), with repetition."""
        drawn: list[int] = (self.raw(count) % np.uint64(bound)).tolist()
        return drawn

    def choice(self, options: Sequence[T]) -> T:
        """One of `options`, all of them equally likely."""
        return options[self.below(len(options))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """All of `options` in random order."""
        return [options[i] for i in self.order(len(options))]

    def order(self, count: int) -> list[int]:
        """A random permutation of range(count)."""
        permutation: list[int] = np.argsort(self.raw(count), kind="stable").tolist()
        return permutation


def rng(*name: str | int) -> Stream:
    """The stream of this name. The parts of a name are strings and integers; "1" and 1 are different parts."""
    return Stream(name)
