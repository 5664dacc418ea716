"""Asks a real model benchmarks of others, before and after tuning on made-up data: python experiments/outside/run.py"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from experiments.jobs import Job, begin, once, run_stages
from experiments.outside.plan import HERE, load_plan
from synthctx_data.command import run, script
from synthctx_data.option_model import OptionModel

_HELP = """\
Asks a real model benchmarks of others, before and after tuning.

For example:
  python experiments/outside/run.py
  python experiments/outside/run.py \\
      --plan experiments/outside/smoke.yaml \\
      --output outside --report outside.md
"""
_NOTES = """\
SmolLM2-135M-Instruct is tuned on the recommended data, and on real questions
to compare. Before and after, it is asked our own tasks and rows of RULER,
BABILong and Lost in the Middle. What is decided before is in plan.yaml. The
results of the last run are kept in the repository: jobs that are done there
are not done again. To run everything anew, give another --output.
"""
_SECONDS = 3000  # that a model takes on one core, for an estimate of the time left


class OutsideOptions(OptionModel):
    """The options of a run."""

    output: Annotated[Path, Parameter(show_default=False)] = HERE / "run"
    """The folder of all that is made. Default: run, beside this script."""
    report: Path = Path("OUTSIDE.md")
    """The report."""
    plan: Annotated[Path, Parameter(show_default=False)] = HERE / "plan.yaml"
    """The plan. Default: plan.yaml beside this script."""
    workers: Annotated[int | None, Field(ge=1)] = None
    """Processes. Default: one for each core."""


def main(options: OutsideOptions, _: str) -> None:
    """Runs what is not done yet, and writes the report."""
    from experiments.outside import tasks
    from experiments.outside.report import write_report
    from experiments.real_model.tasks import build_data

    study = tasks.Study(options.output, load_plan(options.plan))
    begin(study.root, study.plan, "done")
    names = {model: model.replace("/", "-") for model in reversed(study.models)}
    left = {name: model for model, name in names.items() if not (study.root / "done" / f"{name}.json").exists()}
    if left:
        asked = [Job(name, _SECONDS, once, (study.root, name, tasks.ask, study, model)) for name, model in left.items()]
        run_stages([[Job("data", 60, build_data, (study,))], asked], study.root, options.workers)
    print(write_report(study, options.report, options.plan))


app = script("outside", OutsideOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
