"""The work of the jobs, as calls of the product. What is done is not done again."""

from dataclasses import dataclass
from typing import Any

from experiments.outside.plan import Plan
from experiments.real_model import tasks as real_model
from experiments.real_model.tasks import UNTUNED, require_tuned


@dataclass(frozen=True)
class Study(real_model.Study):
    """The plan of a run, and the places of everything that the run makes."""

    plan: Plan

    @property
    def asked(self) -> list[str]:
        """The names of our own tests and of the benchmarks."""
        return [*self.plan.tests, *self.plan.benchmarks]


def ask(study: Study, model: str) -> None:
    """Asks a model our own tests and the benchmarks, after it is tuned. Its losses are taken on the first test."""
    from training.evaluate import evaluate
    from training.options import EvaluateOptions

    if model != UNTUNED:
        require_tuned(study, model)
    plan = study.plan
    own: dict[str, dict[str, Any]] = {
        name: {
            "data": study.data(name),
            "split": "train",
            "max_new_tokens": plan.new_tokens,
            "batch_size": test.questions,
            "losses": name == plan.main_test,
        }
        for name, test in plan.tests.items()
    }
    others = {name: {"data": one.address, "limit": one.rows} for name, one in plan.benchmarks.items()}
    for name, options in {**own, **others}.items():
        evaluate(EvaluateOptions(output=str(study.at(model, name)), **options, **study.reads(model)))
