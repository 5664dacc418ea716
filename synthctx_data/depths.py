"""The depths of needles: the share of a context's other text that stands before them, and a test whether depths are uniform."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10
_INEXACT = 0.1  # how far a share of characters may be from one of tokens


@dataclass(frozen=True)
class Places:
    """The places in a row where a needle could stand: between its other documents, at the beginning and at the end.

    depths: the depth of every place, in [0, 1]: the share of the other documents' characters before it.
    taken: for every needle, the index of its place.
    """

    depths: NDArray[np.float64]
    taken: tuple[int, ...]

    @property
    def needles(self) -> list[float]:
        """The depth of every needle, in [0, 1]."""
        return [float(self.depths[place]) for place in self.taken]

    @property
    def chances(self) -> NDArray[np.float64]:
        """The probability of every place under a uniform depth: a needle stands at the place that is nearest to its depth."""
        return np.diff([0.0, *(self.depths[1:] + self.depths[:-1]) / 2, 1.0])

    def is_nearest(self, place: int, depth: float) -> bool:
        """True if a place is about the nearest to a depth: hardly further than the document next to it is wide.

        Needles are placed by tokens, of which characters are no exact measure.
        """
        gaps = np.diff(self.depths)[max(place - 1, 0) : place + 1]
        return abs(float(self.depths[place]) - depth) <= float(gaps.max(initial=0.0)) + _INEXACT


def places(row: Mapping[str, Any]) -> Places:
    """The places of a row for needles. If all documents hold needles, there is one place, at depth 0."""
    at = sorted({needle["document"] for needle in row["needles"]})
    others = np.array([d["end"] - d["start"] for d in row["documents"]], dtype=np.float64)
    before = np.concatenate([[0.0], np.cumsum(np.delete(others, at))])
    taken = tuple(needle["document"] - at.index(needle["document"]) for needle in row["needles"])
    return Places(before / (before[-1] or 1.0), taken)


class DepthHistogram:
    """A histogram of depths, beside the one to be expected if depths are uniform."""

    def __init__(self) -> None:
        self.seen = np.zeros(BINS)
        self._expected = np.zeros(BINS)

    def add(self, found: Places) -> None:
        """Adds the needles of a row."""
        bins = np.minimum((found.depths * BINS).astype(int), BINS - 1)
        np.add.at(self.seen, bins[list(found.taken)], 1)
        np.add.at(self._expected, bins, found.chances * len(found.taken))

    def uniform_probability(self) -> float:
        """The probability, in [0, 1], of depths at least this uneven if they are uniform: a chi-square test over tenths.

        It is 1 for fewer than 50 needles.
        """
        filled = self._expected > 0
        if self.seen.sum() < 5 * BINS or filled.sum() < 2:
            return 1.0
        from scipy.stats import chi2  # takes half a second, which other commands do not wait for

        seen, expected = self.seen[filled], self._expected[filled]
        return float(chi2.sf(((seen - expected) ** 2 / expected).sum(), int(filled.sum()) - 1))
