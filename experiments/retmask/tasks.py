"""The work of the jobs, as calls of the product. What is done is not done again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.recipe import tasks as recipe
from experiments.recipe.tasks import DEVELOPMENT, JUDGING, Model
from experiments.retmask.plan import Plan
from synthctx_data.files import whole_folder

RETRIEVAL, RANDOM = "retrieval heads", "random heads"  # which heads the rejected answers are written without


@dataclass(frozen=True)
class Study(recipe.Study):
    """The plan of a run, and the places of everything that the run makes."""

    plan: Plan

    @property
    def tuned(self) -> Model:
        """The model before RetMask."""
        return Model(self.plan.base, self.plan.tuned_on, 1)

    @property
    def merged(self) -> Path:
        """The folder of the model before RetMask, its adapter merged into it."""
        return self.root / "tuned"

    def preferring(self, kind: str, rate: float, seed: int) -> Model:
        """A model after DPO on pairs of one kind of heads."""
        return Model(self.plan.base, f"{kind.replace(' ', '_')}-{rate:g}", seed)

    def pairs(self, kind: str, seed: int) -> Path:
        """The folder of pairs of one kind of heads. Random heads are drawn for each seed."""
        return self.root / "pairs" / f"{kind.replace(' ', '_')}{f'-{seed}' if kind == RANDOM else ''}"

    def answered(self) -> str:
        """The address of the rows that are answered with and without heads."""
        return f"{self.root / 'answered' / 'mdqa_synth'}:{self.plan.tuned_on}"


def tune_first(study: Study) -> None:
    """Tunes the base as experiments/recipe does, asks it the questions, merges its adapter, and scores its heads."""
    from analysis.engine.detect import find_heads
    from analysis.options import DetectOptions

    plan = study.plan
    recipe.tune(study, plan.candidates[plan.tuned_on], study.tuned, [DEVELOPMENT, JUDGING])
    _merge(study.adapter(study.tuned), study.merged)
    build_answered(study)
    find_heads(
        DetectOptions(
            model=str(study.merged),
            data=study.answered(),
            split="train",
            limit=plan.scored,
            score=study.miniature.measuring.score,
            output=str(study.root / "heads"),
        )
    )


def build_answered(study: Study) -> None:
    """Builds rows that the model was not tuned on."""
    place = Path(study.answered().rpartition(":")[0])
    sizes: dict[str, Any] = {
        "max_tokens": study.plan.tuning.tokens,
        "train": study.plan.rows,
        "validation": 0,
        "seed": 1,
    }
    recipe.build(study, place, study.plan.tuned_on, None, **sizes)


def _merge(adapter: Path, folder: Path) -> None:
    from training.model import load_for_reading
    from training.options import EvaluateOptions

    if folder.exists():
        return
    model, tokenizer = load_for_reading(EvaluateOptions(adapter=str(adapter), data="unread:unread"))
    with whole_folder(folder) as aside:
        model.merge_and_unload().save_pretrained(aside)
        tokenizer.save_pretrained(aside)


def make_pairs(study: Study, kind: str, seed: int) -> None:
    """Makes the pairs of answers with all heads and without those of a kind."""
    from analysis.engine.knockout import controls
    from analysis.engine.preferences import make_preferences
    from analysis.heads import HeadScores
    from analysis.options import PreferencesOptions

    plan, heads = study.plan, study.root / "heads"
    if kind == RANDOM:
        scores = HeadScores.load(heads)
        drawn = controls(scores.ranked(), plan.heads, plan.heads, "same layers", [], seed)
        values = np.zeros_like(scores.examples)
        for layer, head in drawn:
            values[:, layer, head] = 1
        heads = study.root / "drawn" / f"{seed}.safetensors"
        HeadScores(values, scores.steps, scores.needles, scores.ids, scores.about, scores.contexts).save(heads)
    make_preferences(
        PreferencesOptions(
            model=str(study.merged),
            data=study.answered(),
            heads=str(heads),
            top=plan.heads,
            max_new_tokens=recipe.ANSWERS[False],
            output=str(study.pairs(kind, seed)),
        )
    )


def prefer(study: Study, kind: str, rate: float, seed: int) -> None:
    """Tunes the model on pairs with a learning rate, and asks it the questions of both wordings."""
    from analysis.engine.preferences import PAIRS
    from training.dpo import prefer as tune_on_pairs
    from training.options import DpoOptions

    model = study.preferring(kind, rate, seed)
    if all(study.has(test, model) for test in (DEVELOPMENT, JUDGING)):
        return
    options = DpoOptions(
        model=str(study.merged),
        pairs=str(study.pairs(kind, seed) / PAIRS),
        output=str(study.adapter(model)),
        learning_rate=rate,
        beta=study.plan.beta,
        seed=seed,
    )
    tune_on_pairs(options)
    for test in (DEVELOPMENT, JUDGING):
        recipe.answer(study, test, model, adapter=options.output)


def read_pairs(study: Study, kind: str, seed: int) -> dict[str, Any]:
    """What is known of the pairs of a kind: how many there are, and F1 with and without the heads."""
    return dict(json.loads((study.pairs(kind, seed) / "preferences.json").read_text()))


def chosen_rate(study: Study, kind: str) -> float:
    """The learning rate with the highest mean F1 over the seeds on the development questions; the lowest of equal ones."""
    return max(sorted(study.plan.learning_rates), key=lambda rate: mean_f1(study, DEVELOPMENT, kind, rate).mean())


def mean_f1(study: Study, test: str, kind: str, rate: float) -> NDArray[np.float64]:
    """The F1 (question) of the models of a kind and a learning rate, the mean over the seeds."""
    found = [study.f1(test, study.preferring(kind, rate, seed)) for seed in study.plan.seeds]
    return np.asarray(np.mean(found, axis=0))
