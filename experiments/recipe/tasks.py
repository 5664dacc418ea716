"""The work of the jobs, as calls of the product. Of each only a small file of results is kept, and what has one is not done again."""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.miniature import plan as miniature
from experiments.real_model.tasks import drop_unread
from experiments.recipe.plan import HERE, Candidate, Development, Plan
from synthctx_data.files import write_json
from training.answer_scores import score

UNTUNED = "untuned"  # a base whose positions are extended and nothing else
DEVELOPMENT, JUDGING, SHORT, FEW = "development", "judging", "short", "few"  # the tests
DENSE = 4  # questions on each context of the real data that are judged beside those with one
_TASK = "mdqa_synth"
_KEPT, _HEADS = "f1.json", "heads.json"
ANSWERS = {False: 12, True: 48}  # the tokens of an answer, and with evidence


@dataclass(frozen=True)
class Model:
    """A base tuned on a candidate with a seed. `contexts` are those that it is tuned on; None means those of the plan."""

    base: int
    name: str
    seed: int
    contexts: int | None = None


@dataclass(frozen=True)
class Study:
    """The plan of a run, and the places of everything that the run makes."""

    root: Path
    plan: Plan

    @cached_property
    def miniature(self) -> miniature.Plan:
        """The plan of the miniature, from which the bases are."""
        return miniature.load_plan(HERE / self.plan.miniature)

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's folder."""
        return self.root / "tokenizer"

    def base(self, base: int) -> Path:
        """The folder of a base model."""
        return self.root / f"base-{base}"

    def kept(self, test: str, model: Model) -> Path:
        """The folder of the results of a model on a test, which are kept."""
        size = f"-{model.contexts}" if model.contexts else ""
        return self.root / "results" / test / f"{model.name}{size}" / f"base-{model.base}-seed-{model.seed}"

    def adapter(self, model: Model) -> Path:
        """The folder of an adapter."""
        return self.root / "adapters" / f"base-{model.base}" / f"{model.name}-{model.contexts or ''}-{model.seed}"

    def test(self, name: str, evidence: bool = False) -> str:
        """The address of a test. It has a form that asks for evidence, too."""
        return f"{self.root / 'tests' / (name + '-evidence' * evidence) / _TASK}:real_haystack"

    def has(self, test: str, model: Model) -> bool:
        """True if the results of a model on a test are kept."""
        return (self.kept(test, model) / _KEPT).exists()

    def has_heads(self, model: Model) -> bool:
        """True if the scores of a model's heads are kept, and with them all that could predict."""
        return (self.kept(FEW, model) / _HEADS).exists()

    def f1(self, test: str, model: Model) -> NDArray[np.float64]:
        """The F1 (question) of a model on a test."""
        return np.array(json.loads((self.kept(test, model) / _KEPT).read_text()))


def build_tests(study: Study) -> None:
    """Builds the tokenizer, the corpus that real rows are from, and the tests of both wordings."""
    from experiments.miniature.corpus import write_corpus
    from experiments.miniature.tokenizer import make_tokenizer

    plan = study.plan
    study.root.mkdir(parents=True, exist_ok=True)
    make_tokenizer().save_pretrained(study.tokenizer)
    most = max(DENSE * plan.tuning.contexts, *plan.judging.real_rows)
    write_corpus(study.root / "real.jsonl", 10 * most // 8 + 10, "recipe real")
    for name, wording, rows, tokens in (
        (DEVELOPMENT, plan.development.wording, plan.questions, plan.tuning.tokens),
        (JUDGING, plan.judging.wording, plan.questions, plan.tuning.tokens),
        (FEW, plan.development.wording, plan.predicting.rows, plan.tuning.tokens),
        (SHORT, plan.development.wording, plan.questions, study.miniature.base.tokens),
    ):
        corpus = write_corpus(study.root / f"{name}.jsonl", 11 * rows, f"recipe {name}", wording)
        for evidence in (False, True) if name in (DEVELOPMENT, JUDGING) else (False,):
            place = Path(study.test(name, evidence).rpartition(":")[0])
            asked = {"completion": "evidence"} if evidence else {}
            build(study, place, "real_haystack", corpus, max_tokens=tokens, train=0, validation=rows, **asked)


def build_candidate(study: Study, name: str, candidate: Candidate, contexts: int | None = None) -> list[str]:
    """The addresses of the data of a candidate. They are built if they are not there."""
    contexts, tokens = contexts or study.plan.tuning.contexts, study.plan.tuning.tokens
    shares = candidate.lengths or {tokens: 1.0}
    variants = [candidate.variant, *candidate.also]
    found = []
    for variant in variants:
        options = drop_unread(_TASK, variant, candidate.options)
        for length, share in shares.items():
            part = share / sum(shares.values()) / len(variants)
            rows = candidate.rows or round(contexts * tokens / length * part) * int(options.get("questions", 1))
            place = study.root / "data" / f"{name}-{contexts}" / f"{length}-{variant}" / _TASK
            real = study.root / "real.jsonl" if variant == "real_haystack" else None
            build(study, place, variant, real, max_tokens=length, train=rows, validation=0, **options)
            found.append(f"{place}:{variant}")
    if candidate.real:
        found += build_candidate(
            study, f"real-{candidate.real}", Candidate(variant="real_haystack", rows=candidate.real)
        )
    return found


def build(study: Study, place: Path, variant: str, corpus: Path | None, **options: Any) -> None:
    """Builds a variant, unless it is there. Distractors of real questions are drawn at random, as in the miniature."""
    from builders import find_task
    from builders.build import build_variant
    from builders.hub.card import update_card
    from builders.shards import Build
    from synthctx_data.options import Options

    if (place / variant / "build.json").exists():
        return
    given: dict[str, Any] = {"tokenizer": str(study.tokenizer), **options}
    if corpus:
        given |= {"corpus": (str(corpus),), "distractors": study.miniature.distractors}
    if variant.startswith("symbolic"):
        given |= {"key_style": "word"}
    job = Build(_TASK, variant, Options(**given), place)
    build_variant(job)
    update_card(find_task(_TASK), job)


def make_base(study: Study, base: int, progress: Any) -> None:
    """Trains a base, or takes the miniature's checkpoint if the miniature's plan has one. It is asked at its own length."""
    from experiments.miniature.base import make_base as train_base
    from experiments.miniature.base import take_base

    plan = study.miniature
    if plan.checkpoint:
        take_base(Path(plan.checkpoint), study.base(base), plan.base)
    else:
        train_base(study.base(base), plan.base, base, progress)


def examine_base(study: Study, base: int, test: str) -> None:
    """Asks a base at its own length, and the questions of a test with its positions extended."""
    own: dict[str, Any] = {"model": str(study.base(base))}
    answer(study, SHORT, Model(base, UNTUNED, 0), **own, max_tokens=study.miniature.base.tokens)
    extended: dict[str, Any] = {
        "max_tokens": study.plan.tuning.tokens,
        "trained_tokens": study.miniature.base.tokens,
    }
    answer(study, test, Model(base, UNTUNED, 0), **own, **extended)


def tune(study: Study, candidate: Candidate, model: Model, tests: Sequence[str]) -> None:
    """Tunes a base on a candidate, and asks it the questions of the tests. The adapter is kept until all are answered."""
    from training.finetune import finetune
    from training.options import Recipe

    if all(study.has(test, model) for test in tests):
        return
    tuning = study.plan.tuning
    recipe = Recipe(
        model=str(study.base(model.base)),
        data=build_candidate(study, model.name, candidate, model.contexts),
        output=str(study.adapter(model)),
        max_tokens=tuning.tokens,
        trained_tokens=study.miniature.base.tokens,
        learning_rate=tuning.learning_rate,
        epochs=candidate.epochs,
        batch_size=tuning.batch_size,
        accumulation=1,
        gradient_checkpointing=False,
        seed=model.seed,
    )
    finetune(recipe)
    for test in tests:
        answer(study, test, model, evidence=candidate.options.get("completion") == "evidence", adapter=recipe.output)


def answer(study: Study, test: str, tuned: Model, evidence: bool = False, **reads: Any) -> None:
    """Asks a model the questions of a test, and keeps the F1 of each."""
    from synthctx_data.dataset import load_rows, parse_variant_address
    from training.evaluate import evaluate
    from training.options import EvaluateOptions
    from training.predictions import PREDICTIONS, read_predictions

    kept, data = study.kept(test, tuned), study.test(test, evidence and test != FEW)
    if study.has(test, tuned):
        return
    output = study.root / "answers" / kept.relative_to(study.root / "results")
    evaluate(EvaluateOptions(data=data, output=str(output), batch_size=8, max_new_tokens=ANSWERS[evidence], **reads))
    answers = read_predictions(output / PREDICTIONS)
    rows = load_rows(parse_variant_address(data), "validation")
    kept.mkdir(parents=True, exist_ok=True)
    write_json(kept / _KEPT, [round(score(row, answers[row["id"]])["f1"], 4) for row in rows])
    shutil.rmtree(output)


def predict(study: Study, candidate: Candidate, model: Model) -> None:
    """Tunes a base shortly on a candidate, and keeps what could predict a full tuning: F1 on a few rows, their loss, and heads."""
    from analysis.engine.detect import find_heads
    from analysis.options import DetectOptions

    kept = study.kept(FEW, model)
    tune(study, candidate, model, [FEW])
    options = DetectOptions(
        adapter=str(study.adapter(model)),
        data=study.test(FEW),
        output=str(study.root / "scored" / f"{model.name}-{model.base}"),
        score=study.miniature.measuring.score,
    )
    write_json(kept / "loss.json", _loss(study, model))
    write_json(kept / _HEADS, np.round(find_heads(options).values.astype(float), 6).tolist())


def _loss(study: Study, model: Model) -> float:
    """The mean loss of the answers to a few real rows, in nats a token."""
    import torch

    from synthctx_data.dataset import load_rows, parse_variant_address
    from training.model import load_for_reading
    from training.options import EvaluateOptions
    from training.turns import encode

    options = EvaluateOptions(data=study.test(FEW), adapter=str(study.adapter(model)))
    loaded, tokenizer = load_for_reading(options)
    losses, tokens = 0.0, 0
    for row in load_rows(parse_variant_address(options.data), "validation"):
        encoded = {name: torch.tensor([ids]) for name, ids in encode(tokenizer, dict(row)).items()}
        counted = int((encoded["labels"] >= 0).sum())
        with torch.no_grad():
            losses += float(loaded(**encoded).loss) * counted
        tokens += counted
    return round(losses / tokens, 6)


def short_models(plan: Plan) -> list[Model]:
    """The models that are tuned shortly on all candidates, on the first base and seed of development."""
    part = plan.development
    return [Model(part.bases[0], name, part.seeds[0], plan.predicting.contexts) for name in plan.candidates]


def models(plan: Development, names: Iterable[str]) -> list[Model]:
    """The models of candidates on all bases and seeds of a part of the plan."""
    return [Model(base, name, seed) for name in names for seed in plan.seeds for base in plan.bases]
