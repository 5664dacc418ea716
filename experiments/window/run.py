"""Asks a real model beyond its window, extended in several ways: python experiments/window/run.py"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import Field

from experiments.jobs import Job, begin, once, run_stages
from experiments.window.plan import HERE, MODELS, load_plan
from synthctx_data.command import run, script
from synthctx_data.option_model import OptionModel

_HELP = """\
Asks a real model beyond its window, extended in several ways.

For example:
  python experiments/window/run.py
  python experiments/window/run.py \\
      --plan experiments/window/smoke.yaml \\
      --output real/window --report real/window.md
"""
_NOTES = """\
SmolLM2 reads 8,192 tokens. It is asked at up to 16,384: as it is, with a
raised theta or YaRN, and after tuning on rows of 1,024 tokens at whole or
skipped positions. What is decided before is in plan.yaml. Called again after
an interruption, it goes on where it stopped.
"""
_SECONDS = 2000  # that a model takes on one core, for an estimate of the time left


class WindowOptions(OptionModel):
    """The options of a run."""

    output: Annotated[Path, Parameter(show_default=False)] = HERE / "run"
    """The folder of all that is made. Default: run, beside this script."""
    report: Path = Path("BEYOND_WINDOW.md")
    """The report."""
    plan: Annotated[Path, Parameter(show_default=False)] = HERE / "plan.yaml"
    """The plan. Default: plan.yaml beside this script."""
    workers: Annotated[int | None, Field(ge=1)] = None
    """Processes. Default: one for each core."""


def main(options: WindowOptions, _: str) -> None:
    """Runs what is not done yet, and writes the report."""
    from experiments.window.report import write_report
    from experiments.window.tasks import Study

    study = Study(options.output, load_plan(options.plan))
    begin(study.root, study.plan, "done")
    run_stages(_stages(study), study.root, options.workers)
    print(write_report(study, options.report, options.plan))


def _stages(study: Any) -> Sequence[Sequence[Job]]:
    from experiments.window import tasks

    names = {model: model.replace(" ", "-") for model in reversed(MODELS)}
    asked = [Job(name, _SECONDS, once, (study.root, name, tasks.ask, study, model)) for model, name in names.items()]
    return [[Job("data", 60, tasks.build_data, (study,))], asked]


app = script("window", WindowOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
