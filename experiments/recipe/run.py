"""Searches for a recipe that comes nearest to real data: python experiments/recipe/run.py"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import Field

from experiments.jobs import Job, begin, run_stages
from experiments.recipe.plan import HERE, load_plan
from synthctx_data.command import run, script
from synthctx_data.option_model import OptionModel

_HELP = """\
Searches for the construction of synthetic data that comes nearest to real
data, on two cores in an hour and a half.

For example:
  python experiments/recipe/run.py
  python experiments/recipe/run.py --plan experiments/recipe/smoke.yaml \\
      --output recipe/smoke --report recipe/smoke.md
"""
_NOTES = """\
Candidates are chosen on bases, seeds and question wordings of development.
Then the best are judged on others, once. RECIPE.md says what each change is
worth, how much of the gap to real data is closed, how many real rows that
saves, and which predictor would have told. What is decided before is in
plan.yaml. The results of the last run are kept in the repository: jobs that
are done there are not done again. To run everything anew, give another
--output.
"""
# Seconds that a job takes on one core beside another job, for an estimate of the time left.
_SECONDS = {"data": 15, "base": 600, "examine": 20, "tune": 40, "predict": 30}


class RecipeOptions(OptionModel):
    """The options of a run."""

    output: Annotated[Path, Parameter(show_default=False)] = HERE / "run"
    """The folder of all that is made. Default: run, beside this script."""
    report: Path = Path("RECIPE.md")
    """The report."""
    plan: Annotated[Path, Parameter(show_default=False)] = HERE / "plan.yaml"
    """The plan. Default: plan.yaml beside this script."""
    workers: Annotated[int | None, Field(ge=1)] = None
    """Processes. Default: one for each core."""


def main(options: RecipeOptions, _: str) -> None:
    """Runs what is not done yet: development, its combinations, and the judging. Then writes the report."""
    from experiments.recipe import tasks
    from experiments.recipe.report import write_report
    from experiments.recipe.results import Results

    study = tasks.Study(options.output, load_plan(options.plan))
    begin(study.root, study.plan, "results")
    plan, found = study.plan, Results(study)

    def stage(*jobs: Iterable[Job]) -> None:
        run_stages([[job for each in jobs for job in each]], study.root, options.workers)

    stage([Job("data", _SECONDS["data"], tasks.build_tests, (study,))])
    stage(_bases(study, plan.development.bases))
    stage(_build(study, plan.candidates), _build(study, plan.candidates, plan.predicting.contexts))
    stage(
        _examine(study, tasks.DEVELOPMENT, plan.development.bases),
        _tune(study, tasks.DEVELOPMENT, plan.development, plan.candidates),
        _predict(study),
    )
    stage(_build(study, found.combined))
    stage(_tune(study, tasks.DEVELOPMENT, plan.development, found.combined))
    stage(_bases(study, plan.judging.bases))
    stage(_build(study, found.to_judge), _build(study, found.curve))
    stage(
        _examine(study, tasks.JUDGING, plan.judging.bases),
        _tune(study, tasks.JUDGING, plan.judging, found.to_judge),
        _tune(study, tasks.JUDGING, found.first_seed, found.curve),
    )
    print(write_report(study, options.report, options.plan))


def _bases(study: Any, bases: Iterable[int]) -> Iterable[Job]:
    from experiments.recipe import tasks

    return (Job(f"base {b}", _SECONDS["base"], tasks.make_base, (study, b), tells=True) for b in bases)


def _build(study: Any, candidates: Mapping[str, Any], contexts: int | None = None) -> Iterable[Job]:
    from experiments.recipe import tasks

    for name, candidate in candidates.items():
        arguments = (study, name, candidate, contexts)
        yield Job(f"data {name} {contexts or ''}".strip(), _SECONDS["data"], tasks.build_candidate, arguments)


def _examine(study: Any, test: str, bases: Iterable[int]) -> Iterable[Job]:
    from experiments.recipe import tasks

    return (Job(f"examine base {b}", _SECONDS["examine"], tasks.examine_base, (study, b, test)) for b in bases)


def _tune(study: Any, test: str, part: Any, candidates: Mapping[str, Any]) -> Iterable[Job]:
    """The jobs that tune all bases of a part of the plan on candidates, and ask them its questions."""
    from experiments.recipe import tasks

    for model in tasks.models(part, candidates):
        name = f"{test} {model.name} base {model.base} seed {model.seed}"
        arguments = (study, candidates[model.name], model, [test])
        yield Job(name, _SECONDS["tune"], tasks.tune, arguments)


def _predict(study: Any) -> Iterable[Job]:
    from experiments.recipe import tasks

    plan = study.plan
    for name, candidate in plan.candidates.items():
        model = tasks.Model(plan.development.bases[0], name, plan.development.seeds[0], plan.predicting.contexts)
        yield Job(f"predict {name}", _SECONDS["predict"], tasks.predict, (study, candidate, model))


app = script("recipe", RecipeOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
