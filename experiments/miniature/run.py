"""Runs the paper in miniature: python experiments/miniature/run.py"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import Field

from experiments.jobs import Job, begin, run_stages
from experiments.miniature.plan import HERE, REAL, REFERENCE, load_plan
from synthctx_data.command import run, script
from synthctx_data.option_model import OptionModel

_HELP = """\
Runs the paper in miniature, on two cores in an hour.

For example:
  python experiments/miniature/run.py
  python experiments/miniature/run.py --plan experiments/miniature/smoke.yaml \\
      --output mini/smoke --report mini/smoke.md
"""
_NOTES = """\
It trains base models from scratch and tunes them on every variant at four
times their context. It evaluates them, finds, compares, knocks out and
patches their heads, and writes REPRODUCTION.md: which of the paper's claims
hold here. Sizes, phases, learning rates, thresholds and gates are in
plan.yaml. Called again after an interruption, it goes on where it stopped.
"""
# Seconds that a job takes on one core, by its kind, for an estimate of the time left.
_SECONDS = {"data": 50, "base": 600, "copy": 1, "examine": 25, "tune": 44, "knock": 330, "patch": 33, "compare": 10}


class MiniatureOptions(OptionModel):
    """The options of a run."""

    output: Path = Path("mini")
    """The folder of all that is made."""
    report: Path = Path("REPRODUCTION.md")
    """The report."""
    plan: Annotated[Path, Parameter(show_default=False)] = HERE / "plan.yaml"
    """The plan. Default: plan.yaml beside this script."""
    workers: Annotated[int | None, Field(ge=1)] = None
    """Processes. Default: one for each core."""


def main(options: MiniatureOptions, _: str) -> None:
    """Runs what is not done yet, stage by stage, and writes the report."""
    from experiments.miniature.report import write_report
    from experiments.miniature.stages import Study

    study = Study(options.output, load_plan(options.plan))
    begin(study.root, study.plan, "base-*")
    run_stages(list(_stages(study)), study.root, options.workers)
    print(write_report(study, options.report, options.plan))


def _stages(study: Any) -> Iterator[Sequence[Job]]:
    """The stages in order. The jobs of a stage can run at the same time."""
    from experiments.miniature import stages
    from experiments.miniature.base import make_base, take_base

    plan = study.plan

    def job(kind: str, name: str, call: Any, *arguments: Any) -> Job:
        return Job(name, _SECONDS[kind], call, arguments, tells=kind == "base")

    yield [job("data", "data", stages.build_data, study)]
    if plan.checkpoint:
        (b,) = plan.bases
        yield [job("copy", f"base {b}", take_base, Path(plan.checkpoint), study.base(b), plan.base)]
    else:
        yield [job("base", f"base {b}", make_base, study.base(b), plan.base, b) for b in plan.bases]
    tuned = [(variant, seed) for seed in plan.seeds for variant in plan.variants]
    yield [
        *(job("examine", f"examine base {b}", stages.examine_base, study, b) for b in plan.bases),
        *(
            job("tune", f"tune base {b} on {variant}, seed {seed}", stages.tune, study, b, variant, seed)
            for variant, seed in [(REAL, REFERENCE), *tuned]
            for b in plan.bases
        ),
    ]
    yield [
        *(job("knock", f"knock out base {b}", stages.knock_out_base, study, b) for b in plan.bases),
        *(
            job("patch", f"patch base {b} on {variant}", stages.patch_from_real, study, b, variant)
            for b in plan.bases
            for variant in plan.variants
            if variant != REAL
        ),
        *(job("compare", f"compare base {b}", stages.compare_heads, study, b) for b in plan.bases),
    ]


app = script("mini", MiniatureOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
