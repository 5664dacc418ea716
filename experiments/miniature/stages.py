"""The work of the run's jobs, as calls of the product. Adapters, answers and scores that are there already are not made again."""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from analysis.options import CompareOptions, DetectOptions, KnockoutOptions, PatchOptions
from experiments.miniature.plan import REAL, REFERENCE, Plan
from experiments.miniature.tokenizer import make_tokenizer

SHORT, RAW, THETA = "short", "raw", "theta"  # a base at its own context, beyond it, and there with a raised theta only
_ANSWERS: dict[str, Any] = {"max_new_tokens": 12, "batch_size": 8}


@dataclass(frozen=True)
class Study:
    """The plan of a run, and the places of everything that the run makes."""

    root: Path
    plan: Plan

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's folder."""
        return self.root / "tokenizer"

    def corpus(self, name: str) -> Path:
        """The file of a corpus: "train" for the variants, "test" for the test questions."""
        return self.root / f"{name}.jsonl"

    def data(self, variant: str) -> str:
        """The address of a variant, or of the test questions in the context of the base (short) or in the extended one (test)."""
        kind = self.plan.variants[variant].variant if variant in self.plan.variants else "real_haystack"
        return f"{self.root / 'data' / variant / 'mdqa_synth'}:{kind}"

    def base(self, base: int) -> Path:
        """The folder of a base model."""
        return self.at(base, "model")

    def at(self, base: int, *names: str | int) -> Path:
        """The folder of something that belongs to a base."""
        return self.root.joinpath(f"base-{base}", *map(str, names))

    def reads(self, name: str) -> dict[str, Any]:
        """The options that set the context of a base in tokens, with or without an extension of its positions."""
        tokens, trained = self.plan.tuning.tokens, self.plan.base.tokens
        return {
            SHORT: {"max_tokens": trained},
            RAW: {"max_tokens": tokens, "trained_tokens": tokens},
            THETA: {"max_tokens": tokens, "trained_tokens": trained},
        }[name]


def build_data(study: Study) -> None:
    """Builds the corpora, the tokenizer, every variant and the test questions."""
    from experiments.miniature.corpus import write_corpus

    plan, measuring = study.plan, study.plan.measuring
    study.root.mkdir(parents=True, exist_ok=True)
    make_tokenizer().save_pretrained(study.tokenizer)
    tuning = plan.tuning
    write_corpus(study.corpus("train"), _questions(tuning.examples, tuning.validation), "train")
    write_corpus(study.corpus("test"), _questions(1, measuring.evaluated), "held out")
    for name, variant in plan.variants.items():
        corpus = "train" if variant.among_real or name == REAL else None
        _build(study, name, variant.variant, tuning.tokens, tuning.examples, tuning.validation, corpus)
    for name, tokens in (("test", tuning.tokens), ("short", plan.base.tokens)):
        _build(study, name, "real_haystack", tokens, 1, measuring.evaluated, "test")


def _questions(train: int, validation: int) -> int:
    """The number of questions in a corpus for these numbers of examples. A tenth of them is set apart for validation."""
    return max(10 * train // 8, 11 * validation)


def _build(study: Study, name: str, variant: str, tokens: int, train: int, validation: int, corpus: str | None) -> None:
    from builders import find_task
    from builders.build import build_variant
    from builders.hub.card import update_card
    from builders.shards import Build
    from synthctx_data.options import Options

    options = Options(
        max_tokens=tokens,
        tokenizer=str(study.tokenizer),
        train=train,
        validation=validation,
        corpus=(str(study.corpus(corpus)),) if corpus else (),
        key_style="word" if variant.startswith("symbolic") else "uuid",
        distractors=study.plan.distractors if variant.startswith("real") else "bm25",
    )
    job = Build("mdqa_synth", variant, options, study.root / "data" / name / "mdqa_synth")
    build_variant(job)
    update_card(find_task(job.task), job)


def examine_base(study: Study, base: int) -> None:
    """Evaluates a base at its own context, beyond it, and there with a raised theta only."""
    for name in (SHORT, RAW, THETA):
        data = study.data("short" if name == SHORT else "test")
        _evaluate(study, study.at(base, name), data, model=str(study.base(base)), **study.reads(name))


def tune(study: Study, base: int, variant: str, seed: int | str) -> None:
    """Tunes a base on a variant, evaluates it on the test questions, and scores its heads there and on the variant's own data."""
    from training.finetune import finetune
    from training.options import Recipe

    tuning, folder = study.plan.tuning, study.at(base, variant, seed)
    recipe = Recipe(
        model=str(study.base(base)),
        data=[study.data(variant)],
        output=str(folder / "adapter"),
        max_tokens=tuning.tokens,
        learning_rate=tuning.learning_rate,
        epochs=tuning.epochs,
        batch_size=tuning.batch_size,
        accumulation=1,
        gradient_checkpointing=False,
        seed=0 if seed == REFERENCE else int(seed),
    )
    finetune(recipe)
    _evaluate(study, folder / "f1", study.data("test"), adapter=recipe.output)
    for name, data in (("heads", "test"), ("own_heads", variant)):
        _score(study, folder / name, study.data(data), adapter=recipe.output)


def _evaluate(study: Study, output: Path, data: str, **options: Any) -> None:
    from training.evaluate import evaluate
    from training.options import EvaluateOptions

    evaluate(
        EvaluateOptions(data=data, output=str(output), limit=study.plan.measuring.evaluated, **_ANSWERS, **options)
    )


def read_score(folder: Path, metric: str = "f1") -> float:
    """The mean of a metric in the folder of an evaluation."""
    return float(json.loads((folder / "scores.json").read_text())["all"]["all"][metric]["mean"])


def _score(study: Study, output: Path, data: str, **options: Any) -> None:
    from analysis.engine.detect import find_heads

    measuring = study.plan.measuring
    find_heads(DetectOptions(data=data, output=str(output), limit=measuring.scored, score=measuring.score, **options))


def knock_out_base(study: Study, base: int) -> None:
    """Knocks out heads of the first real-tuned model: its highest heads, as many random heads, and each layer."""
    from analysis.engine.conditions import ConditionAnswers, name_of
    from analysis.engine.knockout import knock_out, without

    folder, plan = study.at(base, REAL, study.plan.seeds[0]), study.plan
    options = KnockoutOptions(
        adapter=str(folder / "adapter"),
        data=study.data("test"),
        limit=plan.measuring.intervened,
        heads=str(folder / "heads"),
        top=list(plan.measuring.knocked_out),
        seeds=plan.measuring.draws,
        exclude_layers=[0],
        output=str(folder / "knockout"),
        **_ANSWERS,
    )
    knock_out(options)
    answers = ConditionAnswers(options, folder / "knockout", {})
    layers = [[(layer, head) for head in range(plan.base.heads)] for layer in range(plan.base.layers)]
    left = [fmean(answers.f1(name_of(one), without(one, options, answers))) for one in layers]
    answers.finish("layers.json", {"f1": left})


def patch_from_real(study: Study, base: int, variant: str) -> None:
    """Patches heads of the reference into the first model of a variant, if the model's F1 is far enough below the reference's."""
    from analysis.engine.patch import patch_heads

    recipient, donor = study.at(base, variant, study.plan.seeds[0]), study.at(base, REAL, REFERENCE)
    measuring = study.plan.measuring
    if read_score(recipient / "f1") > read_score(donor / "f1") - measuring.patched_below:
        return
    options = PatchOptions(
        adapter=str(recipient / "adapter"),
        donor_adapter=str(donor / "adapter"),
        heads=str(recipient / "heads"),
        donor_heads=str(donor / "heads"),
        data=study.data("test"),
        limit=measuring.intervened,
        top=measuring.patched_heads,
        output=str(recipient / "patch"),
        **_ANSWERS,
    )
    patch_heads(options)


def compare_heads(study: Study, base: int) -> None:
    """Compares the heads of every tuned model with the reference's, by scores on the test questions and on each variant's own data."""
    from analysis.engine.compare import compare

    plan, places = study.plan, study.at(base)
    points = {f"{variant}/{seed}": places / variant / str(seed) for variant in plan.variants for seed in plan.seeds}
    for heads in ("heads", "own_heads"):
        options = CompareOptions(
            heads=[
                f"{REAL}/{REFERENCE}={places / REAL / REFERENCE / 'heads'}",
                *(f"{n}={p / heads}" for n, p in points.items()),
            ],
            reference=f"{REAL}/{REFERENCE}",
            f1=[f"{name}={place / 'f1'}" for name, place in points.items()],
            top=[plan.measuring.patched_heads],
            thresholds=[plan.measuring.threshold],
            output=str(places / f"compared_{heads}"),
        )
        compare(options)
