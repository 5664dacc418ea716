"""Tunes a model of the miniature on its answers with and without its retrieval heads: python experiments/retmask/run.py"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import Field

from experiments.jobs import Job, begin, run_stages
from experiments.retmask.plan import HERE, load_plan
from synthctx_data.command import run, script
from synthctx_data.option_model import OptionModel

_HELP = """\
Tunes a model of the miniature on pairs of its answers, with and without its
retrieval heads (RetMask), and says what that gives. On two cores in a quarter
of an hour.

For example:
  python experiments/retmask/run.py
  python experiments/retmask/run.py --plan experiments/retmask/smoke.yaml \\
      --output recipe/retmask --report recipe/retmask.md
"""
_NOTES = """\
What is decided before is in plan.yaml. The results of the last run are kept in
the repository: jobs that are done there are not done again. To run everything
anew, give another --output.
"""
# Seconds that a job takes on one core beside another job, for an estimate of the time left.
_SECONDS = {"tests": 15, "base": 60, "pairs": 30, "prefer": 60}


class RetMaskOptions(OptionModel):
    """The options of a run."""

    output: Annotated[Path, Parameter(show_default=False)] = HERE / "run"
    """The folder of all that is made. Default: run, beside this script."""
    report: Path = HERE / "RETMASK.md"
    """The report."""
    plan: Annotated[Path, Parameter(show_default=False)] = HERE / "plan.yaml"
    """The plan. Default: plan.yaml beside this script."""
    workers: Annotated[int | None, Field(ge=1)] = None
    """Processes. Default: one for each core."""


def main(options: RetMaskOptions, _: str) -> None:
    """Runs what is not done yet, and writes the report."""
    from experiments.retmask.report import write_report
    from experiments.retmask.tasks import Study

    study = Study(options.output, load_plan(options.plan))
    begin(study.root, study.plan, "results")
    stages = list(_stages(study))
    if stages[-1]:
        run_stages(stages, study.root, options.workers)
    print(write_report(study, options.report, options.plan))


def _stages(study: Any) -> Iterator[Sequence[Job]]:
    """The stages in order. The last one has the models that are not tuned yet."""
    from experiments.recipe.tasks import DEVELOPMENT, JUDGING, build_tests, make_base
    from experiments.retmask import tasks

    plan = study.plan
    yield [Job("tests", _SECONDS["tests"], build_tests, (study,))]
    yield [Job("base", 1, make_base, (study, plan.base), tells=True)]
    yield [Job("tune", _SECONDS["base"], tasks.tune_first, (study,))]
    kinds = [(tasks.RETRIEVAL, plan.seeds[0]), *((tasks.RANDOM, seed) for seed in plan.seeds)]
    yield [
        Job(f"pairs of {kind} {seed}", _SECONDS["pairs"], tasks.make_pairs, (study, kind, seed)) for kind, seed in kinds
    ]
    yield [
        Job(f"{kind} {rate:g} {seed}", _SECONDS["prefer"], tasks.prefer, (study, kind, rate, seed))
        for kind in (tasks.RETRIEVAL, tasks.RANDOM)
        for rate in plan.learning_rates
        for seed in plan.seeds
        if not all(study.has(test, study.preferring(kind, rate, seed)) for test in (DEVELOPMENT, JUDGING))
    ]


app = script("retmask", RetMaskOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
