"""The work of the jobs, as calls of the product. What is done is not done again, even if only the small files of it are left."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.options import CompareOptions, DetectOptions, KnockoutOptions, PatchOptions, ScoreName
from experiments.jobs import once
from experiments.plans import DTYPE
from experiments.real_model.floors import closed_book, floors
from experiments.real_model.plan import REAL, Plan
from experiments.real_model.questions import QUESTIONS, divide
from synthctx_data.files import write_json

UNTUNED = "untuned"  # the name of the model as it is
_CORPORA = {"musique_synth": "musique-ans.jsonl.gz", "summhay_synth": "summhay-topics.jsonl.gz"}


@dataclass(frozen=True)
class Study:
    """The plan of a run, and the places of everything that the run makes."""

    root: Path
    plan: Plan

    @property
    def models(self) -> list[str]:
        """The names of all models: the untuned one, then VARIANT/SEED."""
        return [UNTUNED, *(f"{variant}/{seed}" for variant in self.plan.variants for seed in self.plan.seeds)]

    @property
    def reference(self) -> str:
        """The real-tuned model that others are compared with, and from which heads are patched."""
        return f"{REAL}/{self.plan.seeds[0]}"

    def at(self, model: str, *names: str) -> Path:
        """The folder of something that belongs to a model."""
        return self.root.joinpath("models", *model.split("/"), *names)

    def data(self, name: str) -> str:
        """The address of a variant's data set, or of a test's."""
        task = self.plan.tests[name].task if name in self.plan.tests else "mdqa_synth"
        variant = self.plan.variants[name].variant if name in self.plan.variants else "real_haystack"
        return f"{self.root / 'data' / name / task}:{variant}"

    def training(self, name: str) -> list[str]:
        """The addresses of the data sets that make a variant of the plan."""
        first = self.data(name)
        return [first, *(f"{first.rpartition(':')[0]}:{variant}" for variant in self.plan.variants[name].also)]

    def reads(self, model: str) -> dict[str, Any]:
        """The options that name a model, and its numbers' type."""
        named = {"model": self.plan.model} if model == UNTUNED else {"adapter": str(self.at(model, "adapter"))}
        return {**named, "dtype": DTYPE}

    def scores(self, model: str) -> list[ScoreName]:
        """The scores that a model's heads get."""
        heads = self.plan.heads
        return list(heads.rows) if model in (UNTUNED, self.reference) else [heads.for_all]


def build_data(study: Study) -> None:
    """Makes the model, and builds every variant and test. It is quick, and its output is not kept: so each run does it anew."""
    from training.smollm2 import make_smollm2

    plan = study.plan
    if not Path(plan.model).exists():
        make_smollm2(Path(plan.model))
    study.root.mkdir(parents=True, exist_ok=True)
    parts = divide(study.root, plan.held_out)
    tuning = plan.tuning
    for variant_name, one in plan.variants.items():
        variants, place = (one.variant, *one.also), study.root / "data" / variant_name
        for variant in variants:
            own = drop_unread("mdqa_synth", variant, one.options)
            sizes = {
                "max_tokens": tuning.tokens,
                "questions": one.questions or tuning.questions,
                "train": (one.examples or tuning.examples) // len(variants),
            }
            corpus = str(parts["train"]) if one.is_real else ""
            build_variant_at(place, "mdqa_synth", variant, plan.model, corpus, **{**sizes, **own})
    for name, test in plan.tests.items():
        asked = QUESTIONS / _CORPORA[test.task] if test.task in _CORPORA else parts["test"]
        sizes = {"max_tokens": test.tokens, "questions": test.questions, "train": test.rows}
        place = study.root / "data" / name
        build_variant_at(place, test.task, "real_haystack", plan.model, str(asked), **sizes, **test.options)


def drop_unread(task: str, variant: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a variant reads, of those of a construction that has other variants besides."""
    from builders import find_task

    return {name: value for name, value in options.items() if name in find_task(task).variant(variant).reads}


def build_variant_at(folder: Path, task: str, variant: str, tokenizer: str, corpus: str = "", **options: Any) -> None:
    """Builds a variant without validation rows into a folder. Distractors of a corpus are drawn at random."""
    from builders import find_task
    from builders.build import build_variant
    from builders.hub.card import update_card
    from builders.shards import Build
    from synthctx_data.options import Options

    real = {"corpus": (corpus,), "distractors": "random"} if corpus else {}
    chosen = Options(**{"tokenizer": tokenizer, "validation": 0, **real, **options})
    job = Build(task, variant, chosen, folder / task)
    build_variant(job)
    update_card(find_task(job.task), job)


def examine(study: Study, model: str) -> None:
    """Evaluates a model on the tests, and scores its heads on the first one."""
    plan = study.plan
    for name, test in plan.tests.items():
        if not test.models or model in test.models:
            _evaluate(study, name, output=str(study.at(model, name)), **study.reads(model))
    for score in study.scores(model):
        _score(study, model, score, study.at(model, "heads", score))


def tune(study: Study, model: str) -> None:
    """Tunes the model on a variant. The adapter is rounded to bfloat16, as it is kept, before anything is measured."""
    import torch
    from safetensors.torch import load_file, save_file

    from synthctx_data.files import whole
    from training.finetune import finetune
    from training.options import Recipe

    (variant, seed), tuning = model.split("/"), study.plan.tuning
    folder = study.at(model, "adapter")
    recipe = Recipe(
        model=study.plan.model,
        dtype=DTYPE,
        data=study.training(variant),
        output=str(folder),
        learning_rate=tuning.learning_rate,
        epochs=study.plan.variants[variant].epochs,
        accumulation=tuning.accumulation,
        logging_steps=1,
        seed=int(seed),
    )
    finetune(recipe)
    file = folder / "adapter_model.safetensors"
    weights = {name: weight.to(torch.bfloat16) for name, weight in load_file(file).items()}
    with whole(file) as aside:
        save_file(weights, aside, {"format": "pt"})


def tune_and_examine(study: Study, model: str) -> None:
    """Tunes a model and examines it."""
    require_tuned(study, model)
    examine(study, model)


def require_tuned(study: Study, model: str) -> None:
    """Tunes a model, if that is not done. It is tuned again if its adapter is not kept, as those of further seeds are not."""
    name = f"tune-{model.replace('/', '-')}"
    if not (study.at(model, "adapter") / "adapter_model.safetensors").exists():
        (study.root / "done" / f"{name}.json").unlink(missing_ok=True)
    once(study.root, name, tune, study, model)


def examine_untuned(study: Study) -> None:
    """Examines the model as it is, and asks it the questions of the first test without their documents."""
    from training.generate import answering
    from training.model import load_for_reading
    from training.options import EvaluateOptions
    from training.predictions import predict

    examine(study, UNTUNED)
    rows = [closed_book(row) for row in test_rows(study, study.plan.main_test)]
    folder = study.at(UNTUNED, "closed_book")
    folder.mkdir(parents=True, exist_ok=True)
    options = EvaluateOptions(data=study.data(study.plan.main_test), model=study.plan.model, dtype=DTYPE)
    (folder / "predictions.jsonl").unlink(missing_ok=True)
    predict(answering(*load_for_reading(options), 8, study.plan.new_tokens), rows, folder / "predictions.jsonl")
    found = [floors(row) for row in test_rows(study, study.plan.main_test)]
    write_json(study.root / "floors.json", {name: [round(one[name], 4) for one in found] for name in found[0]})


def test_rows(study: Study, name: str) -> list[dict[str, Any]]:
    """The rows of a test, in order."""
    from synthctx_data.dataset import load_rows, parse_variant_address

    return list(load_rows(parse_variant_address(study.data(name)), "train", study.plan.tests[name].rows))


def _evaluate(study: Study, test: str, **options: Any) -> None:
    from training.evaluate import evaluate
    from training.options import EvaluateOptions

    evaluate(EvaluateOptions(data=study.data(test), split="train", **_answers(study, test), **options))


def _answers(study: Study, test: str) -> dict[str, Any]:
    return {"max_new_tokens": study.plan.new_tokens, "batch_size": study.plan.tests[test].questions}


def _score(study: Study, model: str, score: ScoreName, output: Path) -> None:
    from analysis.engine.detect import find_heads

    plan = study.plan
    options = DetectOptions(
        data=study.data(plan.main_test),
        split="train",
        score=score,
        limit=plan.heads.rows[score],
        output=str(output),
        **study.reads(model),
    )
    find_heads(options)


def knock_out(study: Study, model: str) -> None:
    """Knocks out the highest heads of a model, and as many random ones of the same layers."""
    from analysis.engine.knockout import knock_out as knock_out_heads

    plan = study.plan
    if model != UNTUNED:
        require_tuned(study, model)
    options = KnockoutOptions(
        data=study.data(plan.main_test),
        split="train",
        limit=plan.knockout.rows,
        heads=str(study.at(model, "heads", plan.heads.for_all)),
        top=list(plan.knockout.heads),
        controls=["same"],
        seeds=plan.knockout.draws,
        output=str(study.at(model, "knockout")),
        **_answers(study, plan.main_test),
        **study.reads(model),
    )
    knock_out_heads(options)


def patch(study: Study, model: str) -> None:
    """Patches heads of the reference into a model, if the model's F1 is far enough below the reference's."""
    from analysis.engine.patch import patch_heads

    plan = study.plan
    if read_f1(study, model) > read_f1(study, study.reference) - plan.patching.below:
        return
    options = PatchOptions(
        data=study.data(plan.main_test),
        split="train",
        limit=plan.patching.rows,
        adapter=str(study.at(model, "adapter")),
        dtype=DTYPE,
        donor_adapter=str(study.at(study.reference, "adapter")),
        heads=str(study.at(model, "heads", plan.heads.for_all)),
        donor_heads=str(study.at(study.reference, "heads", plan.heads.for_all)),
        top=plan.patching.heads,
        seeds=plan.patching.draws,
        output=str(study.at(model, "patch")),
        **_answers(study, plan.main_test),
    )
    patch_heads(options)


def read_f1(study: Study, model: str) -> float:
    """The mean F1 of a model on the first test."""
    file = study.at(model, study.plan.main_test) / "scores.json"
    return float(json.loads(file.read_text())["all"]["all"]["f1"]["mean"])


def compare_heads(study: Study) -> None:
    """Compares the heads of all models with the reference's, under the score that all of them have."""
    from analysis.engine.compare import compare

    heads = study.plan.heads
    tuned = [model for model in study.models if model != UNTUNED]
    options = CompareOptions(
        heads=[f"{model}={study.at(model, 'heads', heads.for_all)}" for model in study.models],
        reference=study.reference,
        f1=[f"{model}={study.at(model, study.plan.main_test)}" for model in tuned if model != study.reference],
        top=list(heads.top),
        thresholds=list(heads.thresholds),
        output=str(study.root / "compared"),
    )
    compare(options)
