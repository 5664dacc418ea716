"""The search for a recipe: what its plan allows, what it chooses from results, and a whole run in little."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from experiments.recipe import tasks
from experiments.recipe.plan import HERE, REAL, Candidate, Plan, load_plan
from experiments.recipe.report import write_report
from experiments.recipe.results import Results
from experiments.recipe.tasks import DEVELOPMENT, FEW, JUDGING, SHORT, UNTUNED, Model, Study
from tests.commands import ROOT, process

PLAN = load_plan()


def test_nothing_that_judges_is_chosen_on() -> None:
    given = PLAN.model_dump(mode="json")
    for changes in ({"bases": [1, 30]}, {"wording": 0}):
        with pytest.raises(ValueError, match="for judging than for development"):
            Plan.model_validate({**given, "judging": {**given["judging"], **changes}})


def gains(**high: float) -> dict[str, float]:
    return {**dict.fromkeys(PLAN.axes, 0.0), **high}


def test_the_best_axes_are_combined_if_they_change_different_things() -> None:
    found = PLAN.combinations(gains(questions_8=0.3, questions_4=0.2, rivals_0=0.1, with_symbolic=0.05, passage=0.01))
    assert list(found) == ["questions_8+rivals_0", "questions_8+rivals_0+with_symbolic"]
    assert found["questions_8+rivals_0+with_symbolic"] == Candidate(
        options={"questions": 8, "rivals": 0}, also=("symbolic_haystack",)
    )
    assert list(PLAN.combinations(gains(list=0.3, questions_8=0.2, rivals_0=0.1))) == [
        "list+rivals_0"
    ]  # lists have one question
    assert PLAN.combinations(gains(rivals_0=0.3)) == {}
    assert PLAN.combinations(gains()) == {}


def plant(study: Study, f1: dict[str, float], noise: float = 0.0) -> Results:
    """Writes what a run would have: a mean F1 for each candidate, in development and where it is judged. Others have 0.1."""
    plan, found = study.plan, Results(study)

    def write(test: str, model: Model, mean: float) -> None:
        draw = np.random.default_rng([model.base, model.seed])
        kept = study.kept(test, model)
        kept.mkdir(parents=True)
        values = np.clip(mean + draw.normal(0, noise, 20), 0, 1)
        (kept / "f1.json").write_text(json.dumps(values.tolist()))

    for test, part in ((DEVELOPMENT, plan.development), (JUDGING, plan.judging)):
        for base in part.bases:
            write(SHORT, Model(base, UNTUNED, 0), 1.0)
            write(test, Model(base, UNTUNED, 0), 0.05)
    for model in tasks.models(plan.development, plan.candidates):
        write(DEVELOPMENT, model, f1.get(model.name, 0.1))
    for model in tasks.models(plan.development, found.combined):
        write(DEVELOPMENT, model, f1.get(model.name, 0.1))
    for model in tasks.models(plan.judging, found.to_judge):
        write(JUDGING, model, f1.get(f"judged {model.name}", f1.get(model.name, 0.1)))
    for model in tasks.models(found.first_seed, found.curve):
        write(JUDGING, model, 0.75)
    for i, name in enumerate(plan.candidates):
        model = Model(plan.development.bases[0], name, plan.development.seeds[0], plan.predicting.contexts)
        write(FEW, model, f1.get(name, 0.1))
        kept = study.kept(FEW, model)
        (kept / "loss.json").write_text(json.dumps(float(i)))
        heads = np.zeros((4, 4))
        heads[0, : 1 + i % 4] = f1.get(name, 0.1)
        (kept / "heads.json").write_text(json.dumps(heads.tolist()))
    return found


F1 = {
    REAL: 0.8,
    "templated_haystack": 0.3,
    "symbolic_haystack": 0.4,
    "questions_8": 0.6,
    "rivals_0": 0.5,
    "questions_8+rivals_0": 0.7,
}


def test_what_is_best_in_development_is_judged_elsewhere(tmp_path: Path) -> None:
    found = plant(
        Study(tmp_path, PLAN), {**F1, "judged questions_8+rivals_0": 0.65, "judged templated_haystack": 0.5}, 0.01
    )
    assert (found.plain, found.best) == ("symbolic_haystack", "questions_8+rivals_0")
    assert list(found.kept) == ["questions_8+rivals_0", "questions_8", "rivals_0"]
    assert found.share_closed(found.best) == pytest.approx((0.65 - 0.4) / (0.8 - 0.4), abs=0.05)
    over = found.over_half_way(found.best)
    assert over.mean == pytest.approx(0.65 - 0.6, abs=0.01)
    assert over.low > 0
    report = write_report(found.study, tmp_path / "R.md", HERE / "plan.yaml").read_text()
    assert "That at least 50% is closed: **holds**" in report
    assert re.search(r"\| questions_8\+rivals_0 \| .* \| 0\.\d+ \| \+0\.\d+ \[.*\] \| \+0\.\d+ \|", report)
    assert re.search(r"\| F1 \| \+1\.000 .* \| yes \|", report)
    assert re.search(r"\| loss \| .* \| no \|", report)


def test_a_gap_that_is_not_closed_is_reported_so(tmp_path: Path) -> None:
    found = plant(Study(tmp_path, PLAN), {**F1, "judged questions_8+rivals_0": 0.45}, 0.01)
    assert found.best == "questions_8+rivals_0"  # however it does where it is judged
    report = write_report(found.study, tmp_path / "R.md", HERE / "plan.yaml").read_text()
    assert "That at least 50% is closed: **the opposite is shown**" in report


def test_tests_have_the_wordings_that_the_plan_says(tmp_path: Path) -> None:
    study = Study(tmp_path / "run", load_plan(HERE / "smoke.yaml"))
    tasks.build_tests(study)
    from experiments.miniature.passages import _WAYS, Ask, is_worded

    for name, wording in ((DEVELOPMENT, 0), (JUDGING, 1)):
        rows = [json.loads(line) for line in (study.root / f"{name}.jsonl").read_text().splitlines()]
        asks = [(Ask(row["question"], "", row["relation"]), row["ctxs"][0]["title"]) for row in rows]
        gold = [next(one["title"] for one in row["ctxs"] if one["isgold"]) for row in rows]
        assert all(is_worded(ask, title, wording) for (ask, _), title in zip(asks, gold, strict=True))
        assert not any(is_worded(ask, title, 1 - wording) for (ask, _), title in zip(asks, gold, strict=True))
    assert all(len(questions) == 2 for _, questions in _WAYS.values())


@pytest.mark.slow
def test_a_run_in_little_reaches_every_part_and_does_nothing_twice(tmp_path: Path) -> None:
    command = [ROOT / "experiments/recipe/run.py", "--plan", HERE / "smoke.yaml", "--output", "run", "--report", "R.md"]
    ran = process(*command, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    report = (tmp_path / "R.md").read_text()
    titles = [line for line in report.splitlines() if line.startswith("## ")]
    assert len(titles) == 5
    results = {file: file.stat().st_mtime_ns for file in (tmp_path / "run" / "results").rglob("*.json")}
    again = process(*command, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "R.md").read_text() == report
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "run" / "results").rglob("*.json")} == results
