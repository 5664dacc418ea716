"""Searches for a recipe that comes nearest to real data: python experiments/recipe/run.py"""

from collections.abc import Mapping, Sequence
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
    _run(study, options.workers, tasks.DEVELOPMENT, plan.development, plan.candidates, tasks.short_models(plan))
    _run(study, options.workers, tasks.DEVELOPMENT, plan.development, found.combined)
    _run(study, options.workers, tasks.JUDGING, plan.judging, found.to_judge)
    _run(study, options.workers, tasks.JUDGING, found.first_seed, found.curve)
    print(write_report(study, options.report, options.plan))


def _run(
    study: Any, workers: int | None, test: str, part: Any, candidates: Mapping[str, Any], short: Sequence[Any] = ()
) -> None:
    """Tunes the bases of a part of the plan on candidates and asks them its questions, where there are no results yet.

    The models `short` are tuned for the predictors. Bases and data that nothing needs are not made.
    """
    from experiments.recipe import tasks

    untuned = [one for base in part.bases if not study.has(test, one := tasks.Model(base, tasks.UNTUNED, 0))]
    tuned = [model for model in tasks.models(part, candidates) if not study.has(test, model)]
    predicted = [model for model in short if not study.has_heads(model)]
    bases = sorted({model.base for model in (*untuned, *tuned, *predicted)})
    data = dict.fromkeys((model.name, model.contexts) for model in (*tuned, *predicted))
    stages = [
        [Job("tests", _SECONDS["data"], tasks.build_tests, (study,))],
        [Job(f"base {base}", _SECONDS["base"], tasks.make_base, (study, base), tells=True) for base in bases],
        [
            Job(
                f"data {name} {contexts or ''}".strip(),
                _SECONDS["data"],
                tasks.build_candidate,
                (study, name, candidates[name], contexts),
            )
            for name, contexts in data
        ],
        [
            *(
                Job(f"examine base {one.base}", _SECONDS["examine"], tasks.examine_base, (study, one.base, test))
                for one in untuned
            ),
            *(
                Job(
                    f"{test} {one.name} base {one.base} seed {one.seed}",
                    _SECONDS["tune"],
                    tasks.tune,
                    (study, candidates[one.name], one, [test]),
                )
                for one in tuned
            ),
            *(
                Job(f"predict {one.name}", _SECONDS["predict"], tasks.predict, (study, candidates[one.name], one))
                for one in predicted
            ),
        ],
    ]
    if bases:
        run_stages(stages, study.root, workers)


app = script("recipe", RecipeOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
