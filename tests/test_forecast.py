"""Forecasts: a sample stands for the whole, and what a build took stands beside."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import find_task
from builders.commands.plan import duration
from builders.forecast import Forecast, _sampled, forecast, taken
from builders.planned_build import PlannedBuild, RunOptions, plan_builds
from synthctx_data.options import Options
from tests.commands import synthctx

SIZES = ("--max-tokens", 1024, "--train", 40, "--validation", 4, "--output", "sets")


def planned(folder: Path, **options: int) -> PlannedBuild:
    asked = Options(**{"max_tokens": 1024, "train": 40, "validation": 4, **options})
    (one,) = plan_builds(find_task("mdqa_synth"), ["symbolic_haystack"], asked, RunOptions(output=str(folder)))
    return one


def test_the_forecast_of_a_small_set_is_near_to_what_is_built(tmp_path: Path) -> None:
    found = forecast(planned(tmp_path / "sets"))
    assert (found.rows, found.files) == (44, 2)
    assert synthctx("build", "mdqa_synth", "symbolic_haystack", *SIZES, cwd=tmp_path).returncode == 0
    built = sum(file.stat().st_size for file in (tmp_path / "sets").rglob("*.parquet"))
    assert found.tokens == pytest.approx(44 * 1024, rel=0.01)
    assert found.disk == pytest.approx(built, rel=0.5)


@given(st.integers(1, 300), st.integers(1, 9), st.floats(0, 9))
def test_a_sample_is_of_distinct_rows_of_the_split(size: int, questions: int, seconds: float) -> None:
    sample = list(_sampled({"train": size, "validation": 1}, questions, lambda: seconds))
    assert sample
    assert len(set(sample)) == len(sample)
    assert all(split == "train" and 0 <= index < size for split, index in sample)


@given(st.integers(1, 10**6), st.floats(0, 100), st.floats(0, 10**6))
def test_more_workers_than_files_do_not_help(files: int, start: float, build: float) -> None:
    found = Forecast(1, 1, files, 1, 1, start, build, 0.0)
    assert found.seconds(1) >= found.seconds(files) == found.seconds(2 * files) >= start
    assert found.seconds(1) == pytest.approx(start + build)


def test_what_a_build_took_stands_beside_the_plan(tmp_path: Path) -> None:
    before = synthctx("plan", "mdqa_synth", "symbolic_haystack", *SIZES, cwd=tmp_path)
    assert before.returncode == 0
    assert not (tmp_path / "sets").exists()
    for workers in (1, 1):
        synthctx("build", "mdqa_synth", "symbolic_haystack", *SIZES, "--workers", workers, cwd=tmp_path)
    one = planned(tmp_path / "sets")
    assert [took.rows for took in taken(one)] == [44]
    notes = tmp_path / "sets/mdqa_synth/.took.jsonl"
    with notes.open("a") as file:
        file.write('{"variant": "symbolic_hay')  # as a killed call leaves it
    assert [took.rows for took in taken(one)] == [44]
    assert taken(planned(tmp_path / "sets", seed=1)) == []
    after = synthctx("plan", "mdqa_synth", "symbolic_haystack", *SIZES, cwd=tmp_path).stdout
    assert [line.split()[-1] for line in after.splitlines() if "earlier calls: rows" in line] == ["44"]
    assert json.loads(notes.read_text().splitlines()[0])["cpu"] > 0


def test_a_plan_asks_nobody(tmp_path: Path) -> None:
    ran = synthctx(
        "plan",
        "mdqa_synth",
        "llm_haystack",
        "--model",
        "gpt-4.1-mini",
        *SIZES,
        cwd=tmp_path,
        OPENAI_BASE_URL="http://127.0.0.1:1",
    )
    assert ran.returncode == 0, ran.stderr
    assert "?" in ran.stdout
    assert "USD" in ran.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (3599.6, "1 h 0 min"), (3 * 86400 + 3600, "3 d 1 h")],
)
def test_times_have_their_two_largest_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said
