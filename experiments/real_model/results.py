"""The results of the run, read from the files that its jobs wrote."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.engine.conditions import name_of
from analysis.heads import Head, HeadScores
from experiments.real_model.tasks import UNTUNED, Study, test_rows
from synthctx_data.row_checks import documents_of
from training.answer_scores import Mean, mean, score
from training.predictions import PREDICTIONS, read_predictions

Values = NDArray[np.float64]


def read_json(file: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(file.read_text())


@dataclass(frozen=True)
class Results:
    """The results of a finished run. F1 is (context), since questions on one context are not independent: see `by_context`."""

    study: Study

    @cached_property
    def synthetic(self) -> list[str]:
        """The variants whose needles are made up."""
        return [name for name, one in self.study.plan.variants.items() if not one.is_real]

    @cached_property
    def tests(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of each test."""
        return {name: test_rows(self.study, name) for name in self.study.plan.tests}

    @property
    def main(self) -> str:
        """The name of the test on which heads are scored and changed."""
        return self.study.plan.main_test

    def by_context(self, values: Iterable[float], test: str | None = None) -> Values:
        """Values (question) of the first questions of a test, as sums (context), scaled so that their mean is that of the questions."""
        contexts: dict[str, list[float]] = {}
        for row, value in zip(self.tests[test or self.main], values, strict=False):
            contexts.setdefault(documents_of(row), []).append(value)
        questions = sum(map(len, contexts.values()))
        return np.array([sum(each) for each in contexts.values()]) * len(contexts) / questions

    def f1(self, folder: Path, test: str | None = None) -> Values:
        """The F1 (context) of the answers in a folder to the first questions of a test."""
        answers = read_predictions(folder / PREDICTIONS)
        rows = self.tests[test or self.main]
        return self.by_context([score(row, answers[row["id"]])["f1"] for row in rows if row["id"] in answers], test)

    def has(self, model: str, test: str) -> bool:
        """True if a model was asked a test."""
        return (self.study.at(model, test) / PREDICTIONS).exists()

    def model(self, model: str, test: str | None = None) -> Values:
        """The F1 (context) of a model."""
        return self.f1(self.study.at(model, test or self.main), test)

    def variant(self, variant: str, test: str | None = None) -> Values:
        """The F1 (context) after tuning on a variant, the mean over its seeds."""
        found = [self.model(f"{variant}/{seed}", test) for seed in self.study.plan.seeds]
        return np.asarray(np.mean(found, axis=0))

    @cached_property
    def floors(self) -> dict[str, Values]:
        """The F1 (context) of the rules, and of the model that is asked the question alone."""
        found = {name: self.by_context(values) for name, values in read_json(self.study.root / "floors.json").items()}
        return {**found, "the untuned model, asked without documents": self.closed_book}

    @cached_property
    def closed_book(self) -> Values:
        """The F1 (context) of the untuned model that is asked the question alone."""
        return self.f1(self.study.at(UNTUNED, "closed_book"))

    @cached_property
    def best(self) -> str:
        """The synthetic variant with the highest F1."""
        return max(self.synthetic, key=lambda variant: float(self.variant(variant).mean()))

    def heads(self, model: str, kind: str | None = None) -> HeadScores:
        """The scores of a model's heads: those that every model has, or those of a kind."""
        return HeadScores.load(self.study.at(model, "heads", kind or self.study.plan.heads.for_all))

    @cached_property
    def compared(self) -> dict[str, Any]:
        """The comparison of all models' heads with the reference's."""
        found: dict[str, Any] = read_json(self.study.root / "compared" / "compare.json")
        return found

    def measure(self, variant: str, name: str) -> float:
        """A measure of a variant's heads against the reference's, the mean over seeds. The reference itself is left out."""
        models = [f"{variant}/{seed}" for seed in self.study.plan.seeds] if variant != UNTUNED else [UNTUNED]
        values = [self.compared["models"][m][name]["value"] for m in models if m != self.study.reference]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else np.nan

    def knockout(self, model: str) -> tuple[Values, dict[int, tuple[Values, Values]]]:
        """The F1 (context) of a model with all heads, and, by number, without its highest heads and without as many random ones."""
        folder = self.study.at(model, "knockout")
        sets: dict[str, dict[str, list[list[Head]]]] = read_json(folder / "knockout.json")["heads"]
        without = {
            int(number): (self._mean(folder, highest), self._mean(folder, sets["same layers"][number]))
            for number, highest in sets["highest heads"].items()
            if number in sets["same layers"]
        }
        return self.f1(folder / "none"), without

    @cached_property
    def patched(self) -> dict[str, dict[str, tuple[Values, int]]]:
        """The F1 (context) of each recipient under each condition of patching, and the number of heads of the condition."""
        folders = {model: self.study.at(model, "patch") for model in self.study.models}
        return {model: self._patched(folder) for model, folder in folders.items() if (folder / "patch.json").exists()}

    def _patched(self, folder: Path) -> dict[str, tuple[Values, int]]:
        sets: dict[str, list[list[Head]]] = read_json(folder / "patch.json")["about"]["heads"]
        alone = {name: (self.f1(folder / name), 0) for name in ("recipient", "donor")}
        return {**alone, **{name: (self._mean(folder, drawn), len(drawn[0])) for name, drawn in sets.items()}}

    def _mean(self, folder: Path, sets: Iterable[Iterable[Head]]) -> Values:
        names = [name_of((layer, head) for layer, head in heads) for heads in sets]
        return np.asarray(np.mean([self.f1(folder / name) for name in names], axis=0))


def interval(values: Values, *name: str) -> Mean:
    """The mean of values (context) with its 95 % interval for other contexts."""
    return mean(values.tolist(), 1000, name)
