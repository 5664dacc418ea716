"""Intervals over models and questions: they hold the true mean as often as they say, and never with two models."""

import math

import numpy as np
import pytest

from analysis.crossed import crossed_mean


@pytest.mark.parametrize("models", [3, 4, 6])
@pytest.mark.parametrize(("between_models", "between_questions"), [(0.05, 0.3), (0.1, 0.1), (0.0, 0.3), (0.02, 0.0)])
def test_intervals_hold_the_mean_as_often_as_they_say(
    models: int, between_models: float, between_questions: float
) -> None:
    draw, count, held = np.random.default_rng(models), 600, 0
    for _ in range(count):
        values = draw.normal(0, between_models, (models, 1)) + draw.normal(0, between_questions, (1, 200))
        found = crossed_mean(values + draw.normal(0, 0.4, (models, 200)))
        held += found.low <= 0 <= found.high
    assert held / count > 0.9  # with 0.95, fewer than 0.9 of 600 are a chance of one in a million


def test_two_models_give_a_mean_alone() -> None:
    found = crossed_mean(np.array([[0.0, 1.0], [1.0, 1.0]]))
    assert found.mean == 0.75
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_models_that_agree_everywhere_leave_the_questions() -> None:
    """As Student's interval of the questions' means, when models differ in nothing."""
    values = np.tile(np.arange(10.0), (4, 1))
    found = crossed_mean(values)
    half = 2.262157 * np.arange(10.0).std(ddof=1) / math.sqrt(10)
    assert found.high - found.mean == pytest.approx(half, rel=1e-5)
    assert crossed_mean(np.ones((4, 9))).low == 1


@pytest.mark.parametrize(("models", "questions"), [(3, 10), (3, 200), (4, 10)])
def test_intervals_of_scores_between_0_and_1_are_never_absurd(models: int, questions: int) -> None:
    """Where models hardly differ by chance, too: neither of no width, nor wider than scores can be."""
    draw = np.random.default_rng(0)
    for _ in range(400):
        found = crossed_mean(draw.integers(0, 2, (models, questions)).astype(float))
        assert 0 < found.high - found.low < 3


def test_one_question_gives_a_mean_alone() -> None:
    assert math.isnan(crossed_mean(np.array([[0.0], [1.0], [1.0]])).low)
