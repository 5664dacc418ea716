"""The experiment on RetMask: a run in little, and the report of the kept run."""

from pathlib import Path

import pytest

from experiments.retmask.plan import HERE, load_plan
from experiments.retmask.report import write_report
from experiments.retmask.tasks import Study
from tests.commands import ROOT, process


@pytest.mark.slow
def test_a_run_reaches_every_part_and_is_not_repeated(tmp_path: Path) -> None:
    command = (ROOT / "experiments/retmask/run.py", "--plan", HERE / "smoke.yaml", "--output", "run", "--report")
    ran = process(*command, "report.md", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "run" / "results").rglob("f1.json")}
    assert len(made) == 2 * 3  # tests of the model before, without its retrieval heads, and without random ones
    again = process(*command, "again.md", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "run" / "results").rglob("f1.json")} == made
    assert (tmp_path / "again.md").read_bytes() == (tmp_path / "report.md").read_bytes()


def test_the_report_is_that_of_the_kept_results(tmp_path: Path) -> None:
    report = write_report(Study(HERE / "run", load_plan()), tmp_path / "RETMASK.md", HERE / "plan.yaml")
    assert report.read_bytes() == (HERE / "RETMASK.md").read_bytes()
