"""What the run found, read from what its tasks wrote."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset

from analysis.heads import HeadScores
from analysis.mini.corpus import guessing
from analysis.mini.plan import REAL
from analysis.mini.tasks import Study, read_score
from training.scores import Mean, mean

_RESAMPLES = 1000


def _read(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(file.read_text())
    return read


def over(values: list[float], *name: str) -> Mean:
    """The mean of some models' values, with its interval."""
    return mean(values, _RESAMPLES, name)


@dataclass(frozen=True)
class Results:
    """The numbers of a finished run; lists have one number a tuned model, base by base, and in each seed by seed."""

    study: Study

    @cached_property
    def synthetic(self) -> list[str]:
        """The variants that are not real."""
        return [variant for variant in self.study.plan.variants if variant != REAL]

    def tuned(self, variant: str) -> list[float]:
        """F1 of the models tuned on a variant."""
        return [read_score(folder / "f1") for folder in self.folders(variant)]

    def folders(self, variant: str) -> list[Path]:
        """The folders of the models tuned on a variant."""
        plan = self.study.plan
        return [self.study.at(base, variant, seed) for base in plan.bases for seed in plan.seeds]

    def bases(self, name: str, metric: str = "f1") -> list[float]:
        """A metric of each base, by the name of how it is to read (see tasks.py)."""
        return [read_score(self.study.at(base, name), metric) for base in self.study.plan.bases]

    def guessed(self, data: str) -> float:
        """The F1 of guessing an object of the asked relation."""
        place, variant = self.study.data(data).rsplit(":", 1)
        rows = load_dataset(place, variant, split="validation")
        return float(np.mean(guessing(self.study.corpus("test"), rows)))

    def heads(self, variant: str) -> list[HeadScores]:
        """The scores of heads of the models tuned on a variant, on the test questions."""
        return [HeadScores.load(folder / "heads") for folder in self.folders(variant)]

    def retrieval_heads(self, scores: HeadScores) -> list[list[int]]:
        """By layer, the heads that score as much as a retrieval head does."""
        above = scores.above(self.study.plan.measuring.threshold)
        return [sorted(head for at, head in above if at == layer) for layer in range(self.study.plan.base.layers)]

    def knockout(self, base: int) -> dict[str, Any]:
        """F1 of the first real-tuned model of a base without some heads: see tasks.knock_out."""
        return _read(self.study.at(base, REAL, self.study.plan.seeds[0], "knockout") / "sets.json")

    def patched(self) -> dict[tuple[int, str], dict[str, float]]:
        """By base and variant, the F1 of recipient, donor, and recipient with heads of the donor."""
        files = {
            (base, variant): self.study.at(base, variant, self.study.plan.seeds[0], "patch") / "patch.json"
            for base in self.study.plan.bases
            for variant in self.synthetic
        }
        return {
            key: {name: found["mean"] for name, found in _read(file)["f1"].items()}
            for key, file in files.items()
            if file.exists()
        }

    def compared(self, base: int, heads: str) -> dict[str, Any]:
        """The comparison of a base's models by their `heads` (on the test questions) or `own_heads`."""
        return _read(self.study.at(base, f"compared_{heads}") / "compare.json")
