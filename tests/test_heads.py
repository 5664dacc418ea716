"""Scores kept, ranked and exported."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from analysis.export import export_heads
from analysis.heads import SCORES_FILE, HeadScores, Scored
from analysis.options import ExportOptions
from synthctx_data.errors import DatasetError, UsageError
from training.chosen_heads import read_top

SHAPE = (3, 4)


def scored(seed: int, steps: int = 2, needles: int = 1, counts: bool = True) -> Scored:
    draw = np.random.default_rng(seed)
    parts = [
        draw.random((number, *SHAPE), np.float32) if counts else np.full((number, *SHAPE), np.nan)
        for number in (steps, needles)
    ]
    return Scored(f"t/v/s/{seed:06}", parts[0].mean(0), *parts)


def test_scores_are_the_same_after_a_round_trip(tmp_path: Path) -> None:
    heads = HeadScores.of([scored(i) for i in range(5)], {"score": "wu", "data": {"address": "a:b"}})
    loaded = HeadScores.load(heads.save(tmp_path / "of" / SCORES_FILE))
    assert loaded.about == {"score": "wu", "data": {"address": "a:b"}, "asked": 5, "counted": 5}
    assert loaded.ids == heads.ids
    for name in ("examples", "steps", "needles"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(heads, name))
    assert HeadScores.load(tmp_path / "of").top(3) == heads.top(3)


def test_examples_that_do_not_count_are_left_out() -> None:
    heads = HeadScores.of([scored(0), scored(1, counts=False), scored(2)], {})
    assert heads.ids == ("t/v/s/000000", "t/v/s/000002")
    assert (heads.about["asked"], heads.about["counted"]) == (3, 2)
    np.testing.assert_allclose(heads.values, (scored(0).total + scored(2).total) / 2)
    with pytest.raises(DatasetError, match=r"answers none of 1; .* --score wu_forced"):
        HeadScores.of([scored(1, counts=False)], {})


def test_parts_are_means_over_the_examples_that_have_them() -> None:
    heads = HeadScores.of([scored(0, steps=1, needles=3), scored(1, steps=2, needles=1)], {})
    np.testing.assert_allclose(heads.steps[0], (scored(0, 1, 3).steps[0] + scored(1, 2, 1).steps[0]) / 2)
    np.testing.assert_allclose(heads.steps[1], scored(1, 2, 1).steps[1])
    np.testing.assert_allclose(heads.needles[2], scored(0, 1, 3).needles[2])


def test_heads_rank_by_score_then_place_and_those_without_are_left_out() -> None:
    values = np.array([[0.5, np.nan, 1.0], [0.5, 1.0, -0.2]], np.float32)
    heads = HeadScores(values[None], values[None], values[None], ("x",))
    assert heads.ranked() == [(0, 2), (1, 1), (0, 0), (1, 0), (1, 2)]
    assert heads.above(0.5) == [(0, 2), (1, 1), (0, 0), (1, 0)]
    assert "0-1" not in heads.by_head()


def test_intervals_hold_the_mean_and_narrow_with_more_examples() -> None:
    few, many = (HeadScores.of([scored(i) for i in range(n)], {}) for n in (10, 200))
    for heads in (few, many):
        low, high = heads.intervals()
        assert ((low <= heads.values) & (heads.values <= high)).all()
        np.testing.assert_array_equal(low, heads.intervals()[0])
    widths = [float(np.mean(np.subtract(*heads.intervals()[::-1]))) for heads in (few, many)]
    assert widths[1] < widths[0] / 3


def test_examples_on_one_context_do_not_narrow_intervals(tmp_path: Path) -> None:
    alone = HeadScores.of([scored(i) for i in range(10)], {})
    many = [replace(scored(i), id=f"{i}-{j}") for i in range(10) for j in range(4)]
    together = HeadScores.of(many, {}, [one.id.split("-")[0] for one in many])
    np.testing.assert_allclose(together.intervals(), alone.intervals(), atol=1e-6)
    kept = HeadScores.load(together.save(tmp_path / SCORES_FILE))
    np.testing.assert_array_equal(kept.intervals(), together.intervals())


def test_exports_hold_every_head_and_every_group() -> None:
    heads = HeadScores.of([scored(i) for i in range(3)], {"kv_heads": 2})
    by_head = json.loads(json.dumps(heads.by_head()))
    assert by_head["2-3"] == pytest.approx([float(scored(i).total[2, 3]) for i in range(3)], abs=1e-6)
    grouped = np.array(heads.by_kv_head())
    assert grouped.shape == (3, 2)
    np.testing.assert_allclose(grouped[:, 1], heads.values[:, 2:].max(1), atol=1e-6)


def test_other_tools_read_what_is_exported(tmp_path: Path) -> None:
    heads = HeadScores.of([scored(i) for i in range(3)], {"kv_heads": 2})
    heads.save(tmp_path / SCORES_FILE)
    given = {"heads": str(tmp_path), "output": str(tmp_path / "out")}
    export_heads(ExportOptions(format="duoattention", sink_size=64, **given))
    scores = np.loadtxt(
        tmp_path / "out" / "full_attention_heads.tsv", dtype=float, delimiter="\t"
    )  # as DuoAttention does
    assert scores.shape == (3, 2)
    assert scores.max() == 1
    np.testing.assert_array_equal(np.argsort(scores, axis=None), np.argsort(heads.by_kv_head(), axis=None))
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == {"sink_size": 64, "recent_size": 256}
    export_heads(ExportOptions(format="retmask", **given))
    with (tmp_path / "out" / "head_scores.json").open() as file:
        by_head = json.loads(file.readline())  # as RetMask and Wu et al. do
    means = {tuple(map(int, name.split("-"))): float(np.mean(values)) for name, values in by_head.items()}
    assert sorted(means, key=means.__getitem__, reverse=True) == heads.ranked()
    export_heads(ExportOptions(format="ranking", **given))
    assert read_top(str(tmp_path / "out"), 5) == heads.top(5)
    export_heads(ExportOptions(heads="atlas:smollm2-135m", format="ranking", output=str(tmp_path / "atlas")))
    assert read_top(str(tmp_path / "atlas"), 3) == HeadScores.load("atlas:smollm2-135m").top(3)
    nothing = HeadScores.of([replace(scored(0), total=np.zeros(SHAPE, np.float32))], {})
    nothing.save(tmp_path / "nothing" / SCORES_FILE)
    with pytest.raises(UsageError, match="expected heads with scores above 0"):
        export_heads(
            ExportOptions(heads=str(tmp_path / "nothing"), format="duoattention", output=str(tmp_path / "out"))
        )


@pytest.mark.parametrize("examples", [np.zeros((3, 4)), np.zeros((0, 3, 4)), np.full((2, 3, 4), np.nan)])
def test_arrays_that_are_no_scores_say_so(tmp_path: Path, examples: np.ndarray) -> None:
    parts = np.zeros((1, 3, 4), np.float32)
    file = HeadScores(parts, parts, parts, ("x",)).save(tmp_path / SCORES_FILE)
    save_file({"examples": examples, "steps": parts, "needles": parts}, file, {"about": '{"ids": ["x"]}'})
    with pytest.raises(DatasetError, match=r"expected scores \(example, layer, head\), got"):
        HeadScores.load(file)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_a_file_that_is_none_says_so(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / SCORES_FILE).write_bytes(content)
    with pytest.raises(
        DatasetError, match=r"expected scores of heads in .*heads.safetensors.*analysis/detect.py --help"
    ):
        HeadScores.load(tmp_path)


def test_scores_show_themselves_in_a_notebook(tmp_path: Path) -> None:
    heads = HeadScores.of([scored(i) for i in range(4)], {"score": "wu <1>"})
    frame = heads.to_frame()
    assert list(zip(frame["layer"], frame["head"], strict=True)) == heads.ranked()
    assert (frame["low"] <= frame["score"]).all()
    assert repr(heads).startswith("HeadScores(wu <1> of 3 layers of 4 heads over 4 examples, highest: ")
    assert len(repr(heads)) < 120
    shown = heads._repr_html_()
    assert "wu &lt;1&gt;" in shown
    assert shown.count("<tr") == 1 + 10
    assert HeadScores.load(heads.save(str(tmp_path / "x"))).ids == heads.ids


def test_the_ceiling_is_the_mean_over_examples_that_count() -> None:
    some = [replace(scored(i), ceiling=ceiling) for i, ceiling in enumerate((0.5, 1.0))]
    assert HeadScores.of([*some, replace(scored(2, counts=False), ceiling=0.0)], {}).about["ceiling"] == 0.75
    assert "ceiling" not in HeadScores.of([scored(0)], {}).about
