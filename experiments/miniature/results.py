"""The results of the run, read from the files that its jobs wrote."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset
from numpy.typing import NDArray

from analysis.heads import HeadScores
from experiments.miniature.corpus import guessing
from experiments.miniature.plan import REAL
from experiments.miniature.stages import Study, read_score
from training.answer_scores import Mean, mean

_RESAMPLES = 1000


def _read(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(file.read_text())
    return read


def _patched(read: dict[str, Any]) -> dict[str, tuple[float, int]]:
    sizes = {name: len(drawn[0]) for name, drawn in read["about"]["heads"].items()}
    return {name: (found["mean"], sizes.get(name, 0)) for name, found in read["f1"].items()}


def over(values: list[float], *name: str) -> Mean:
    """The mean of the values of some models, with its interval."""
    return mean(values, _RESAMPLES, name)


@dataclass(frozen=True)
class KnockoutResult:
    """The F1 of a model with all heads, without its retrieval heads, without each random set (by control), and without each layer."""

    heads: int
    none: float
    retrieval: float
    random: dict[str, list[float]]
    layers: list[float]


@dataclass(frozen=True)
class Results:
    """The results of a finished run. Lists have one entry for each tuned model, in the order of bases, then of seeds."""

    study: Study

    @cached_property
    def synthetic(self) -> list[str]:
        """The variants that are not real."""
        return [variant for variant in self.study.plan.variants if variant != REAL]

    def tuned(self, variant: str) -> list[float]:
        """The F1 of each model tuned on a variant."""
        return [read_score(folder / "f1") for folder in self.folders(variant)]

    def folders(self, variant: str) -> list[Path]:
        """The folders of the models tuned on a variant."""
        plan = self.study.plan
        return [self.study.at(base, variant, seed) for base in plan.bases for seed in plan.seeds]

    def bases(self, name: str, metric: str = "f1") -> list[float]:
        """A metric of each base. `name` says how the base reads: SHORT, RAW or THETA (see stages.py)."""
        return [read_score(self.study.at(base, name), metric) for base in self.study.plan.bases]

    def guessed(self, data: str) -> float:
        """The mean F1 of guessing an object of the asked relation."""
        place, variant = self.study.data(data).rsplit(":", 1)
        rows = load_dataset(place, variant, split="validation")
        return float(np.mean(guessing(self.study.corpus("test"), rows)))

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
        of_sets, of_layers = _read(folder / "knockout.json"), _read(folder / "layers.json")
        ((heads, retrieval),) = ((n, one) for n, one in of_sets["f1"]["highest heads"].items() if n != "0")
        draws = {control: of[heads] for control, of in of_sets["f1_of_each_draw"].items() if heads in of}
        none = of_sets["f1"]["highest heads"]["0"]["mean"]
        return KnockoutResult(int(heads), none, retrieval["mean"], draws, of_layers["f1"])

    def patched(self) -> dict[tuple[int, str], dict[str, tuple[float, int]]]:
        """The F1 and the number of patched heads under each condition of patching, by base and variant."""
        files = {
            (base, variant): self.study.at(base, variant, self.study.plan.seeds[0], "patch") / "patch.json"
            for base in self.study.plan.bases
            for variant in self.synthetic
        }
        return {key: _patched(_read(file)) for key, file in files.items() if file.exists()}

    def by_variant(self, base: int, heads: str, measure: str) -> NDArray[np.float64]:
        """A measure (variant, seed) of a base's models: "f1", "sum" (of the scores of all heads), or one that compares the heads
        with the reference's. `heads` says which scores: "heads" (on the test questions) or "own_heads" (on the variant's own data).
        """
        plan, compared = self.study.plan, _read(self.study.at(base, f"compared_{heads}") / "compare.json")

        def of(variant: str, seed: int) -> float:
            if measure == "f1":
                return float(compared["f1"][f"{variant}-{seed}"])
            if measure == "sum":
                return float(HeadScores.load(self.study.at(base, variant, seed, heads)).values.sum())
            return float(compared["models"][f"{variant}-{seed}"][measure]["value"])

        return np.array([[of(variant, seed) for seed in plan.seeds] for variant in plan.variants])
