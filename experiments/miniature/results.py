"""The results of the run, read from the files that its jobs wrote."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset
from numpy.typing import NDArray

from analysis.engine.conditions import name_of
from analysis.heads import Head, HeadScores
from experiments.miniature.corpus import guessing
from experiments.miniature.plan import REAL
from experiments.miniature.stages import Study, read_score
from training.answer_scores import score
from training.predictions import PREDICTIONS, read_predictions

Values = NDArray[np.float64]


def _read(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(file.read_text())
    return read


@dataclass(frozen=True)
class KnockoutResult:
    """The F1 (question) of a model with all heads, and without its highest heads or a control's random heads, by their number.

    A control's F1 is the mean over its draws. `layers` has the mean F1 without each layer.
    """

    none: Values
    highest: dict[int, Values]
    controls: dict[str, dict[int, Values]]
    layers: list[float]


@dataclass(frozen=True)
class PatchResult:
    """The F1 (question) of a recipient under each condition of patching, and the number of heads of each condition."""

    f1: dict[str, Values]
    heads: dict[str, int]


@dataclass(frozen=True)
class Results:
    """The results of a finished run. Bases and seeds are in the order of the plan, and questions in that of the test rows."""

    study: Study

    @cached_property
    def synthetic(self) -> list[str]:
        """The variants that are not real."""
        return [variant for variant in self.study.plan.variants if variant != REAL]

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The test questions."""
        return list(self._rows("test"))

    def _rows(self, data: str) -> Any:
        place, variant = self.study.data(data).rsplit(":", 1)
        return load_dataset(place, variant, split="validation")

    def f1(self, folder: Path) -> Values:
        """The F1 (question) of the answers in a folder."""
        answers = read_predictions(folder / PREDICTIONS)
        return np.array([score(row, answers[row["id"]])["f1"] for row in self.rows if row["id"] in answers])

    def tuned(self, variant: str) -> Values:
        """The F1 (base, question) after tuning on a variant, the mean over its seeds."""
        plan = self.study.plan
        by_seed = [[self.f1(self.study.at(base, variant, seed, "f1")) for seed in plan.seeds] for base in plan.bases]
        return np.asarray(np.array(by_seed).mean(1))

    def folders(self, variant: str) -> list[Path]:
        """The folders of the models tuned on a variant."""
        plan = self.study.plan
        return [self.study.at(base, variant, seed) for base in plan.bases for seed in plan.seeds]

    def bases(self, name: str, metric: str = "f1") -> list[float]:
        """A metric of each base. `name` says how the base reads: SHORT, RAW or THETA (see stages.py)."""
        return [read_score(self.study.at(base, name), metric) for base in self.study.plan.bases]

    def guessed(self, data: str) -> float:
        """The mean F1 of guessing an object of the asked relation."""
        return float(np.mean(guessing(self.study.corpus("test"), self._rows(data))))

    def heads(self, variant: str) -> list[HeadScores]:
        """The scores of the heads of each model tuned on a variant, on the test questions."""
        return [HeadScores.load(folder / "heads") for folder in self.folders(variant)]

    def retrieval_heads(self, scores: HeadScores) -> list[list[int]]:
        """The retrieval heads of each layer: those with a score of at least the threshold."""
        above = scores.above(self.study.plan.measuring.threshold)
        return [sorted(head for at, head in above if at == layer) for layer in range(self.study.plan.base.layers)]

    def knockout(self, base: int) -> KnockoutResult:
        """The results of knocking out heads of the first real-tuned model of a base."""
        folder = self.study.at(base, REAL, self.study.plan.seeds[0], "knockout")
        sets: dict[str, dict[str, list[list[Head]]]] = _read(folder / "knockout.json")["heads"]
        found = {
            name: {int(number): self._without(folder, drawn) for number, drawn in by_number.items()}
            for name, by_number in sets.items()
        }
        return KnockoutResult(
            self.f1(folder / "none"), found.pop("highest heads"), found, _read(folder / "layers.json")["f1"]
        )

    def _without(self, folder: Path, sets: Iterable[Iterable[Head]]) -> Values:
        """The F1 (question) of conditions that a set of heads names, the mean over the sets."""
        names = [name_of((layer, head) for layer, head in heads) for heads in sets]
        return np.asarray(np.mean([self.f1(folder / name) for name in names], axis=0))

    @cached_property
    def patched(self) -> dict[tuple[int, str], PatchResult]:
        """The results of patching, by base and variant."""
        folders = {
            (base, variant): self.study.at(base, variant, self.study.plan.seeds[0], "patch")
            for base in self.study.plan.bases
            for variant in self.synthetic
        }
        return {key: self._patched(folder) for key, folder in folders.items() if (folder / "patch.json").exists()}

    def _patched(self, folder: Path) -> PatchResult:
        sets: dict[str, list[list[Head]]] = _read(folder / "patch.json")["about"]["heads"]
        alone = {name: self.f1(folder / name) for name in ("recipient", "donor")}
        with_heads = {name: self._without(folder, drawn) for name, drawn in sets.items()}
        return PatchResult({**alone, **with_heads}, {name: len(drawn[0]) for name, drawn in sets.items()})

    def by_variant(self, base: int, heads: str, measure: str) -> Values:
        """A measure (variant) of a base's models, the mean over seeds: "f1", "sum" (of the scores of all heads), or one that
        compares the heads with the reference's. `heads` says which: "heads" (on the test questions) or "own_heads" (on the variant's
        own data).
        """
        plan, compared = self.study.plan, _read(self.study.at(base, f"compared_{heads}") / "compare.json")

        def of(variant: str, seed: int) -> float:
            if measure == "f1":
                return float(compared["f1"][f"{variant}/{seed}"])
            if measure == "sum":
                return float(HeadScores.load(self.study.at(base, variant, seed, heads)).values.sum())
            value = compared["models"][f"{variant}/{seed}"][measure]["value"]
            return np.nan if value is None else float(value)

        return np.asarray(np.array([[of(variant, seed) for seed in plan.seeds] for variant in plan.variants]).mean(1))
