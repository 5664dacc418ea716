"""The experiment on benchmarks of others: a run in little, and the report of the kept run."""

import json
from pathlib import Path

import pytest

from experiments.outside.plan import HERE, load_plan
from experiments.outside.report import write_report
from experiments.outside.tasks import Study
from tests.commands import ROOT, process


@pytest.mark.long
def test_a_run_asks_every_model_everything(tmp_path: Path) -> None:
    smoke = HERE / "smoke.yaml"
    command = (ROOT / "experiments/outside/run.py", "--plan", smoke, "--output", "run", "--report", "report.md")
    ran = process(*command, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    study = Study(tmp_path / "run", load_plan(smoke))
    for model in study.models:
        for name in study.asked:
            scores = json.loads((study.at(model, name) / "scores.json").read_text())["all"]["all"]
            assert next(iter(scores.values()))["rows"] > 0
    assert (tmp_path / "report.md").read_text().count("over untuned |") == 2


def test_the_report_is_that_of_the_kept_results(tmp_path: Path) -> None:
    report = write_report(Study(HERE / "run", load_plan()), tmp_path / "OUTSIDE.md", HERE / "plan.yaml")
    assert report.read_bytes() == (ROOT / "OUTSIDE.md").read_bytes()
