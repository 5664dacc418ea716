"""Comparisons of heads: correlations against SciPy's, measures against sets, and the command on real files."""

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from analysis.correlation import correlate, holm, kendall, partial_spearman, pearson, spearman
from analysis.engine.compare import compare, cosine, measures, overlap, recall
from analysis.engine.knockout import controls
from analysis.engine.rank import caveats, order, reach
from analysis.heads import HeadScores
from analysis.options import CompareOptions
from synthctx_data.errors import UsageError

THEIRS = {pearson: scipy.stats.pearsonr, spearman: scipy.stats.spearmanr, kendall: scipy.stats.kendalltau}


@pytest.mark.parametrize("kind", THEIRS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("count", [5, pytest.param(12, marks=pytest.mark.slow)])
def test_correlations_are_scipys(kind, count: int) -> None:
    draw = np.random.default_rng(count)
    x = draw.integers(0, 6, count).astype(float)  # with ties
    y = x + draw.normal(size=count)
    found, expected = correlate(kind, x, y, "test"), THEIRS[kind](x, y)
    assert found.value == pytest.approx(expected.statistic)
    assert found.n == count
    assert found.low <= found.value <= found.high
    shuffled = scipy.stats.permutation_test(
        (x,),
        lambda x: abs(THEIRS[kind](x, y).statistic),
        alternative="greater",
        permutation_type="pairings",
        n_resamples=9999 if count > 7 else np.inf,
        rng=np.random.default_rng(0),
    )
    assert found.p == pytest.approx(shuffled.pvalue, abs=1e-9 if count <= 7 else 0.02)


def test_what_does_not_vary_correlates_with_nothing() -> None:
    found = correlate(spearman, np.ones(5), np.arange(5.0), "test")
    assert math.isnan(found.value)
    assert math.isnan(found.p)
    assert math.isnan(correlate(spearman, np.arange(3.0), np.arange(3.0), "test").low)


def test_sets_and_vectors() -> None:
    assert recall([(0, 0), (0, 1)], [(0, 1), (1, 1), (2, 2)]) == 0.5
    assert overlap([(0, 0), (0, 1)], [(0, 1), (1, 1)]) == pytest.approx(1 / 3)
    assert math.isnan(recall([], [(0, 1)]))
    one, other = np.zeros((4, 4)), np.zeros((4, 4))
    one[0, 0] = other[3, 3] = 1
    top = measures([10], [])
    assert (top["recall@10"](one, other), top["overlap@10"](one, other)) == (0, 0)  # nothing in common but zeros
    assert cosine(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])) == pytest.approx(math.sqrt(0.5))
    assert math.isnan(cosine(np.zeros((1, 2)), np.ones((1, 2))))
    above = measures([1], [0.5, 0])
    one, other = np.array([[0.6, 0.7, 0.1, 0]]), np.array([[0.6, 0.2, 0, 0.9]])
    assert above["recall@>=0.5"](one, other) == 0.5
    assert above["recall@>0"](one, other) == pytest.approx(2 / 3)


def heads_like(reference: np.ndarray, share: float, seed: int, count: int = 12) -> HeadScores:
    """Scores that are the reference's to some share, and noise."""
    draw = np.random.default_rng(seed)
    values = share * reference + (1 - share) * draw.random(reference.shape)
    examples = np.clip(values + draw.normal(0, 0.05, (count, *reference.shape)), 0, 1).astype(np.float32)
    return HeadScores(examples, examples[:1], examples[:1], tuple(map(str, range(count))), {"score": "wu"})


REFERENCE = np.random.default_rng(0).random((6, 8)) ** 4


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, share in {"real": 1, "good": 0.9, "fair": 0.6, "poor": 0.3, "none": 0.0}.items():
        heads_like(REFERENCE, share, 5).save(tmp_path / name / "heads.safetensors")
        (tmp_path / f"f1_{name}").mkdir()
        scores = {"all": {"all": {"f1": {"mean": share * 0.8}}}}
        (tmp_path / f"f1_{name}" / "scores.json").write_text(json.dumps(scores))
    return tmp_path


def options(files: Path, **changes) -> CompareOptions:
    names = ["real", "good", "fair", "poor", "none"]
    given = {
        "heads": [f"{name}={files / name}" for name in names],
        "f1": [f"{name}={files / f'f1_{name}'}" for name in names[1:]],
        "reference": "real",
        "output": str(files / "compared"),
        **changes,
    }
    return CompareOptions(**given)


def test_models_nearer_to_the_reference_measure_higher(files: Path) -> None:
    found = compare(options(files))
    cosines = [found["models"][name]["cosine"] for name in ("good", "fair", "poor", "none")]
    assert [m.value for m in cosines] == sorted([m.value for m in cosines], reverse=True)
    assert all(m.low <= m.value <= m.high for m in cosines)
    assert found["models"]["good"]["spearman"].p < 0.01
    correlation = found["correlations"]["cosine"]["spearman"]
    assert (correlation.value, correlation.n) == (pytest.approx(1), 4)
    assert correlation.p == pytest.approx(2 / 24)  # of all orders of four, one is as it is and one the other way round
    output = files / "compared"
    with (output / "models.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert {row["model"] for row in rows} == {"good", "fair", "poor", "none"}
    assert json.loads((output / "compare.json").read_text())["models"]["good"]["cosine"]["n"] == 48
    drawn = {"overlap_10", "overlap_20", "cosine", "spearman", "f1_recall_10", "f1_recall_20", "f1_cosine"}
    assert {path.name for path in output.glob("*.svg")} == {f"{name}.svg" for name in drawn}
    assert all((output / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in drawn)


def test_p_values_are_corrected_as_holm_says() -> None:
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_a_correlation_with_the_third_held_constant_is_that_of_the_residuals() -> None:
    draw = np.random.default_rng(0)
    held = draw.normal(size=30)
    x, y = held + draw.normal(size=30), held + draw.normal(size=30)
    ranks = [scipy.stats.rankdata(values) for values in (x, y, held)]
    left, right = (np.polyfit(ranks[2], one, 1) @ [ranks[2], np.ones(30)] - one for one in ranks[:2])
    assert partial_spearman(x, y, held) == pytest.approx(np.corrcoef(left, right)[0, 1])


def test_seeds_count_as_one_variant_and_the_references_own_are_left_out(files: Path) -> None:
    names = {"real/1": "real", "real/2": "good", "a/1": "good", "a/2": "fair", "b/1": "poor", "c/1": "none"}
    found = compare(
        options(
            files,
            reference="real/1",
            heads=[f"{name}={files / place}" for name, place in names.items()],
            f1=[f"{name}={files / f'f1_{place}'}" for name, place in names.items() if name != "real/1"],
        )
    )
    correlation = found["correlations"]["cosine"]["spearman"]
    assert correlation.n == 3
    tested = [c for kinds in found["correlations"].values() for c in kinds.values()]
    assert all(c.corrected >= c.p for c in tested if not math.isnan(c.p))


@pytest.mark.slow
def test_the_same_comparison_gives_the_same_bytes(files: Path) -> None:
    compare(options(files))
    before = {path.name: path.read_bytes() for path in (files / "compared").iterdir()}
    compare(options(files))
    assert {path.name: path.read_bytes() for path in (files / "compared").iterdir()} == before


@pytest.mark.parametrize("mean", [float("nan"), *(pytest.param(one, marks=pytest.mark.slow) for one in (7, -1))])
def test_an_f1_that_is_none_is_refused(files: Path, mean: float) -> None:
    (files / "f1_good" / "scores.json").write_text(json.dumps({"all": {"all": {"f1": {"mean": mean}}}}))
    with pytest.raises(UsageError, match="expected an F1 in"):
        compare(options(files))


def test_two_models_have_no_correlation(files: Path) -> None:
    found = compare(options(files, f1=[f"good={files / 'f1_good'}", f"poor={files / 'f1_poor'}"]))
    assert found["correlations"] == {}
    assert (files / "compared" / "correlations.csv").read_text().startswith("measure,correlation,value")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "x"}, "--reference: expected one of real, good, .*got 'x'"),
        ({"heads": ["real", "good"]}, "--heads: expected different NAME=FOLDER"),
        ({"f1": ["x=y"]}, "--f1: expected the folder of an evaluation .*got y"),
    ],
)
def test_what_cannot_be_compared_says_why(files: Path, changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare(options(files, **changes))


def test_scores_of_other_kinds_or_shapes_do_not_mix(files: Path) -> None:
    heads_like(REFERENCE[:3], 1, 0).save(files / "poor" / "heads.safetensors")
    with pytest.raises(
        UsageError, match=r"expected the same layers and heads in all, got \(6, 8\) in real and \(3, 8\) in poor"
    ):
        compare(options(files))


def test_scores_of_other_spans_do_not_mix(files: Path) -> None:
    poor = HeadScores.load(files / "poor")
    HeadScores(poor.examples, poor.steps, poor.needles, poor.ids, {**poor.about, "span": "sentence"}).save(
        files / "poor" / "heads.safetensors"
    )
    with pytest.raises(UsageError, match=r"expected the same span in all, got None in real and sentence in poor"):
        compare(options(files))


def test_reach_is_one_of_the_reference_itself_and_ranks() -> None:
    reference = heads_like(REFERENCE, 1, 1)
    assert reach(reference, reference) == pytest.approx(1)
    shares = (("none", 0.1), ("weak", 0.3), ("strong", 0.9))
    ranked = order({name: heads_like(REFERENCE * share, 1, 2) for name, share in shares}, "none", reference)
    assert [r.name for r in ranked] == ["strong", "weak", "none"]
    assert ranked[0].sure > 0.95
    assert sum(r.sure for r in ranked) == pytest.approx(1)
    assert all(r.low <= r.over <= r.high for r in ranked)
    assert [r.over for r in ranked] == pytest.approx([r.reach - ranked[2].reach for r in ranked])
    assert caveats(ranked) == []


def test_a_ranking_says_what_keeps_it_from_telling_much() -> None:
    reference = heads_like(REFERENCE, 1, 1)
    shares = (("none", 0.9), ("one", 0.95), ("other", 0.95))
    high, tied = caveats(
        order(
            {name: heads_like(REFERENCE * share, 1, seed) for seed, (name, share) in enumerate(shares, 2)},
            "none",
            reference,
        )
    )
    assert re.match(r"The model already reaches 0\.\d\d untuned", high)
    assert "comes first in only" in tied


RANKED = [
    (1, 0),
    (1, 1),
    (2, 0),
    *((layer, head) for layer in (0, 2, 3) for head in range(4) if (layer, head) != (2, 0)),
]


@pytest.mark.parametrize("seed", range(5))
def test_controls_are_as_many_heads_from_where_they_say(seed: int) -> None:
    ranked = [*RANKED, (1, 2), (1, 3)]
    same = controls(ranked, 3, 3, "same layers", [], seed)
    assert sorted(layer for layer, _ in same) == [1, 1, 2]
    other = controls(ranked, 3, 3, "other layers", [], seed)
    assert {layer for layer, _ in other} <= {0, 3}
    anywhere = controls(ranked, 3, 3, "all layers", [0], seed)
    assert 0 not in {layer for layer, _ in anywhere}
    for drawn in (same, other, anywhere):
        assert len(set(drawn)) == 3
        assert not set(drawn) & set(ranked[:3])
    assert controls(ranked, 3, 3, "same layers", [], seed) == same


def test_no_control_has_heads_that_are_knocked_out_elsewhere() -> None:
    for control in ("same layers", "all layers"):
        assert not {head for seed in range(20) for head in controls(RANKED, 1, 3, control, [], seed)} & set(RANKED[:3])


def test_a_control_without_enough_heads_is_none() -> None:
    assert controls(RANKED, 2, 2, "same layers", [], 0) == []
    assert controls(RANKED, 3, 3, "other layers", [0, 3], 0) == []
