import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthctx_data.schema import to_table
from tests.conftest import VARIANTS, every_example, examples_for
from training.answer_scores import GROUPS, mean, score, summarise


@pytest.mark.parametrize(("task", "variant"), [v for v in VARIANTS if "real" not in v[1]])
def test_the_answer_scores_one_and_nothing_scores_zero(task: str, variant: str) -> None:
    rows = to_table(every_example(examples_for(task, variant))).to_pylist()
    right = summarise(rows, [score(row, row["completion"][0]["content"]) for row in rows], 50)
    wrong = summarise(rows, [score(row, "") for row in rows], 50)
    assert {m.mean for metrics in right.values() for group in metrics.values() for m in group.values()} == {1.0}
    assert wrong["all"]["all"]["f1"].mean == wrong["all"]["all"]["em"].mean == 0
    for name in GROUPS:
        assert sum(group["f1"].rows for group in right[name].values()) == len(rows)
    assert sum(right["hops"][hops]["f1"].rows for hops in right["hops"]) == right["all"]["all"]["f1"].rows


def test_citations_are_scored_as_sets() -> None:
    row = {
        "completion": [{"content": "[3][17]"}],
        "answers": ["[3][17]"],
        "needles": [{"document": 2}, {"document": 16}],
    }
    found = score(row, "[17] and [4]")
    assert (found["precision"], found["recall"], found["em"]) == (0.5, 0.5, 0)
    assert score(row, "[17][3]")["em"] == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_interval_holds_the_mean_and_is_the_same_every_time(values: list[float]) -> None:
    found = mean(values, 200)
    assert min(values) - 1e-9 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= max(found.high, found.mean) <= max(values) + 1e-9
    assert found == mean(values, 200)


def test_the_interval_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        found = mean(list(random.random(60)), 300, (str(trial),))
        hits += found.low <= 0.5 <= found.high
    assert 0.88 <= hits / 200 <= 0.99
