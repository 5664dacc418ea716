"""Intervals of means over models and questions, where every model answers every question and both are drawn at random.

Resampling the models would not do: with four of them a bootstrap's interval is too narrow, because it has only these four to draw from.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

_FEWEST = 3  # models, for an interval
_LEVEL = 0.95


@dataclass(frozen=True)
class CrossedMean:
    """A mean over `models` and `questions`, with its 95 % interval; NaN ends if there are fewer than 3 models or 2 questions."""

    mean: float
    low: float
    high: float
    models: int
    questions: int


def crossed_mean(values: NDArray[np.float64]) -> CrossedMean:
    """The mean of values (model, question), with an interval for other models and other questions.

    The variance of the mean is estimated from that between models, that between questions, and the rest (two-way analysis of
    variance with random effects), and is no less than that between models, or between questions, alone. Its degrees of freedom are
    Satterthwaite's, and no fewer than the models or the questions have.
    """
    models, questions = values.shape
    mean = float(values.mean())
    if models < _FEWEST or questions < 2:
        return CrossedMean(mean, np.nan, np.nan, models, questions)
    of_models, of_questions = values.mean(1, keepdims=True), values.mean(0, keepdims=True)
    rest = values - of_models - of_questions + mean
    free = np.array([models - 1, questions - 1, (models - 1) * (questions - 1)])
    squares = np.array([of_models.var() * values.size, of_questions.var() * values.size, (rest**2).sum()]) / free
    total = max(squares[0] + squares[1] - squares[2], squares[0], squares[1]) or squares[2]
    if not total:  # all values are the same
        return CrossedMean(mean, mean, mean, models, questions)
    degrees = max(total**2 / (squares**2 / free).sum(), free[:2].min())
    width = t.ppf((1 + _LEVEL) / 2, degrees) * np.sqrt(total / values.size)
    return CrossedMean(mean, mean - float(width), mean + float(width), models, questions)
