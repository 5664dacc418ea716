"""Tunes a real model on each variant and asks it real questions: python experiments/real_model/run.py"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import Field

from experiments.jobs import Job, begin, once, run_stages
from experiments.real_model.plan import HERE, REAL, load_plan
from synthctx_data.command import run, script
from synthctx_data.option_model import OptionModel

_HELP = """\
Tunes a real model on each variant and asks it real questions, on two cores.

For example:
  python experiments/real_model/run.py
  python experiments/real_model/run.py \\
      --plan experiments/real_model/smoke.yaml \\
      --output real/smoke --report real/smoke.md
"""
_NOTES = """\
The model is SmolLM2-135M-Instruct (training/smollm2.py). It is tuned on every
variant and answers Natural Questions whose passages no training row has. The
heads are scored, compared, knocked out and patched, and REAL_MODEL.md says
which of the paper's claims hold here. What is decided before is in plan.yaml.
The results of the last run are kept in the repository: jobs that are done
there are not done again. To run everything anew, give another --output.
"""
# Seconds that a job takes on one core beside another job, for an estimate of the time left.
_SECONDS = {"data": 60, "untuned": 1200, "tune": 900, "knock": 700, "patch": 500, "compare": 20}


class RealModelOptions(OptionModel):
    """The options of a run."""

    output: Annotated[Path, Parameter(show_default=False)] = HERE / "run"
    """The folder of all that is made. Default: run, beside this script."""
    report: Path = Path("REAL_MODEL.md")
    """The report."""
    plan: Annotated[Path, Parameter(show_default=False)] = HERE / "plan.yaml"
    """The plan. Default: plan.yaml beside this script."""
    workers: Annotated[int | None, Field(ge=1)] = None
    """Processes. Default: one for each core."""


def main(options: RealModelOptions, _: str) -> None:
    """Runs what is not done yet, stage by stage, and writes the report."""
    from experiments.real_model.report import write_report
    from experiments.real_model.tasks import Study

    study = Study(options.output, load_plan(options.plan))
    begin(study.root, study.plan, "done")
    run_stages(list(_stages(study)), study.root, options.workers)
    print(write_report(study, options.report, options.plan))


def _stages(study: Any) -> Iterator[Sequence[Job]]:
    """The stages in order. The jobs of a stage can run at the same time."""
    from experiments.real_model import tasks

    plan = study.plan

    def job(kind: str, name: str, call: Any, *arguments: Any) -> Job:
        done = (study.root / "done" / f"{name}.json").exists()
        return Job(name, 1 if done else _SECONDS[kind], once, (study.root, name, call, study, *arguments))

    def named(model: str) -> str:
        return str(model).replace("/", "-")

    yield [Job("data", _SECONDS["data"], tasks.build_data, (study,))]
    yield [
        *(job("tune", f"model-{named(m)}", tasks.tune_and_examine, m) for m in study.models[1:]),
        job("untuned", "model-untuned", tasks.examine_untuned),
    ]
    recipients = [f"{variant}/{plan.seeds[0]}" for variant in plan.variants if variant != REAL]
    yield [
        *(job("knock", f"knockout-{named(m)}", tasks.knock_out, m) for m in plan.knockout.models),
        *(job("patch", f"patch-{named(m)}", tasks.patch, m) for m in recipients),
        Job("compare", _SECONDS["compare"], tasks.compare_heads, (study,)),
    ]


app = script("real", RealModelOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
