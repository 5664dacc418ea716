"""Correlations over few models or many heads, each with an interval and a p-value."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from synthctx_data.seeding import rng

Values = NDArray[np.float64]
_LEVEL = 0.95
_FEW = 7  # pairs, up to which all orders are tried
_DRAWS = 9999
_AT_ONCE = 500  # orders that are tried together


@dataclass(frozen=True)
class Correlation:
    """A correlation in [-1, 1] over `n` pairs, with its 95 % bootstrap interval and its permutation p-value.

    `p` is the share of shuffled orders that correlate at least as strongly; `corrected` is p after Holm's correction for all that
    were tested with it. All are NaN if one side is constant. With fewer than 4 pairs the interval is NaN.
    """

    value: float
    low: float
    high: float
    p: float
    n: int
    corrected: float = math.nan


def pearson(x: Values, y: Values) -> Values:
    """Pearson's correlation along the last axis; NaN where one side is constant."""
    left, right = (values - values.mean(-1, keepdims=True) for values in (x, y))
    size = np.sqrt((left**2).sum(-1) * (right**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 1e-12, np.clip((left * right).sum(-1) / size, -1, 1), np.nan)


def spearman(x: Values, y: Values) -> Values:
    """Spearman's rank correlation along the last axis; ties share their rank."""
    return pearson(rankdata(x, axis=-1), rankdata(y, axis=-1))


def kendall(x: Values, y: Values) -> Values:
    """Kendall's tau-b along the last axis; NaN where one side is constant. It is for few pairs: it compares all of them."""
    left, right = (np.sign(values[..., :, None] - values[..., None, :]) for values in (x, y))
    size = np.sqrt((left**2).sum((-2, -1)) * (right**2).sum((-2, -1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, (left * right).sum((-2, -1)) / size, np.nan)


def partial_spearman(x: Values, y: Values, held: Values) -> Values:
    """Spearman's correlation of x and y along the last axis with `held` held constant; NaN where `held` decides one side alone."""
    both, of_x, of_y = spearman(x, y), spearman(x, held), spearman(y, held)
    left = (1 - of_x**2) * (1 - of_y**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(left > 1e-12, np.clip((both - of_x * of_y) / np.sqrt(left), -1, 1), np.nan)


def holm(values: Sequence[float]) -> list[float]:
    """The p-values, corrected for being tested together (Holm 1979), each in [0, 1]. NaN stays NaN and does not count."""
    order = sorted((p, i) for i, p in enumerate(values) if not math.isnan(p))
    corrected, highest = [math.nan] * len(values), 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(p * (len(order) - rank), 1.0))
        corrected[i] = highest
    return corrected


def correlate(measure: Callable[[Values, Values], Values], x: Values, y: Values, *name: str | int) -> Correlation:
    """The correlation of pairs, with interval and p-value. `name` names the random streams that resample and shuffle."""
    value = float(measure(x, y))
    count = len(x)
    if math.isnan(value):
        return Correlation(value, math.nan, math.nan, math.nan, count)
    p = _p(measure, x, y, abs(value) - 1e-9, *name)
    low, high = _interval(measure, x, y, *name) if count >= 4 else (math.nan, math.nan)
    return Correlation(value, low, high, p, count)


def _p(measure: Callable[[Values, Values], Values], x: Values, y: Values, least: float, *name: str | int) -> float:
    """The share of orders of y in which the pairs correlate at least as much, in either direction. Up to 7 pairs, all are tried."""
    if measure is spearman:  # the ranks stay the same in every order
        measure, x, y = pearson, rankdata(x), rankdata(y)

    def as_much(orders: NDArray[np.intp]) -> int:
        return int((np.abs(measure(np.broadcast_to(x, orders.shape), y[orders])) >= least).sum())

    if len(x) <= _FEW:
        every = np.array(list(permutations(range(len(x)))))
        return as_much(every) / len(every)
    stream, found = rng("permutation", *name), 1
    for first in range(0, _DRAWS, _AT_ONCE):
        draws = min(_AT_ONCE, _DRAWS - first)
        found += as_much(np.argsort(stream.raw(draws * len(x)).reshape(draws, len(x)), axis=1))
    return found / (_DRAWS + 1)


def _interval(
    measure: Callable[[Values, Values], Values], x: Values, y: Values, *name: str | int
) -> tuple[float, float]:
    drawn = np.asarray(rng("bootstrap", *name).integers(len(x), len(x) * 1000)).reshape(1000, len(x))
    found = measure(x[drawn], y[drawn])
    found = found[~np.isnan(found)]
    low, high = np.quantile(found, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
