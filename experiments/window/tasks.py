"""The work of the jobs, as calls of the product. What is done is not done again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.plans import DTYPE
from experiments.real_model.questions import divide
from experiments.real_model.tasks import build_variant_at
from experiments.window.plan import KINDS, TUNED, Plan


@dataclass(frozen=True)
class Study:
    """The plan of a run, and the places of everything that the run makes."""

    root: Path
    plan: Plan

    def data(self, kind: str, name: str | int) -> str:
        """The address of a kind's training rows ("train"), or of its test rows of some tokens."""
        return f"{self.root / 'data' / f'{kind}_{name}' / 'mdqa_synth'}:{KINDS[kind]}"

    def at(self, model: str, *names: str) -> Path:
        """The folder of something that belongs to a model."""
        return self.root.joinpath("models", model.replace(" ", "_"), *names)


def build_data(study: Study) -> None:
    """Makes the model, and builds the rows of both kinds: those to tune on, and as many of each number of tokens, whatever is asked.

    So a plan that asks more rows goes on with the same data.
    """
    from training.smollm2 import make_smollm2

    plan, tuning = study.plan, study.plan.tuning
    if not Path(plan.model).exists():
        make_smollm2(Path(plan.model))
    study.root.mkdir(parents=True, exist_ok=True)
    parts = divide(study.root, plan.held_out)
    sizes = {"train": (tuning.tokens, tuning.questions, tuning.examples)}
    sizes |= {str(tokens): (tokens, plan.questions, max(plan.rows.values())) for tokens in plan.rows}
    for kind, variant in KINDS.items():
        for name, (tokens, questions, rows) in sizes.items():
            corpus = parts["train" if name == "train" else "test"]
            own: dict[str, Any] = (
                {"corpus": str(corpus)} if kind == "real" else {"key_style": "word", "seed": int(name != "train")}
            )
            own |= {"max_tokens": tokens, "questions": questions, "train": rows}
            build_variant_at(study.root / "data" / f"{kind}_{name}", "mdqa_synth", variant, plan.model, **own)


def tune(study: Study, model: str) -> None:
    """Tunes the model on short rows of both kinds, at whole or skipped positions."""
    from training.finetune import finetune
    from training.options import Recipe

    plan, tuning = study.plan, study.plan.tuning
    recipe = Recipe(
        **plan.extension("theta"),
        data=[study.data(kind, "train") for kind in KINDS],
        output=str(study.at(model, "adapter")),
        positions=TUNED[model],
        learning_rate=tuning.learning_rate,
        accumulation=tuning.accumulation,
        logging_steps=1,
        seed=tuning.seed,
    )
    finetune(recipe)


def ask(study: Study, model: str) -> None:
    """Asks a model the test rows of both kinds of all numbers of tokens; a tuned one after it is tuned."""
    from training.evaluate import evaluate
    from training.options import EvaluateOptions

    plan = study.plan
    reads: dict[str, Any] = {}
    if model in TUNED:
        tune(study, model)
        reads = {"adapter": str(study.at(model, "adapter")), "dtype": DTYPE}
    else:
        reads = plan.extension(model)
    for tokens, rows in plan.rows.items():
        for kind in KINDS:
            options = EvaluateOptions(
                data=study.data(kind, tokens),
                split="train",
                limit=rows,
                max_new_tokens=plan.new_tokens,
                batch_size=plan.questions,
                output=str(study.at(model, f"{kind}_{tokens}")),
                **reads,
            )
            evaluate(options)
