"""The results of the run, read from the files that its jobs wrote, and the choices that the plan leaves to them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.correlation import Correlation, correlate, holm, spearman
from analysis.crossed import CrossedMean, crossed_mean
from experiments.recipe.plan import REAL, Candidate, Development, ranked, real_alone, with_real
from experiments.recipe.tasks import DENSE, DEVELOPMENT, FEW, JUDGING, SHORT, UNTUNED, Model, Study, short_models

Values = NDArray[np.float64]
PREDICTORS = ("F1", "loss", "reach", "cosine", "recall")


@dataclass(frozen=True)
class Results:
    """The results of a run. Values have the shape (base, question), and are means over seeds."""

    study: Study

    def values(self, test: str, part: Development, name: str) -> Values:
        """The F1 (base, question) of a candidate on a test."""
        by_seed = [[self.study.f1(test, Model(base, name, seed)) for base in part.bases] for seed in part.seeds]
        return np.asarray(np.array(by_seed).mean(0))

    def developed(self, name: str) -> Values:
        """The F1 (base, question) of a candidate in development."""
        return self.values(DEVELOPMENT, self.study.plan.development, name)

    def judged(self, name: str) -> Values:
        """The F1 (base, question) of a candidate in judging."""
        return self.values(JUDGING, self.study.plan.judging, name)

    @cached_property
    def first_seed(self) -> Development:
        """What judges, with the first seed alone."""
        part = self.study.plan.judging
        return part.model_copy(update={"seeds": part.seeds[:1]})

    def on_curve(self, name: str) -> Values:
        """The F1 (base, question) of a candidate in judging, with the first seed alone."""
        return self.values(JUDGING, self.first_seed, name)

    def untuned(self, test: str, part: Development) -> Values:
        """The F1 (base, question) of the bases themselves, at their own length or extended."""
        return np.array([self.study.f1(test, Model(base, UNTUNED, 0)) for base in part.bases])

    @cached_property
    def gains(self) -> dict[str, float]:
        """The gain of each axis in development: its mean F1 over that of templated_haystack."""
        plain = self.developed(self.study.plan.plain[0]).mean()
        return {name: float(self.developed(name).mean() - plain) for name in self.study.plan.axes}

    @cached_property
    def combined(self) -> dict[str, Candidate]:
        """The combinations of the best axes."""
        return self.study.plan.combinations(self.gains)

    @cached_property
    def plain(self) -> str:
        """The plain variant that was best in development."""
        return ranked({name: float(self.developed(name).mean()) for name in self.study.plan.plain})[0]

    @cached_property
    def kept(self) -> dict[str, Candidate]:
        """The constructions that go on to be judged, the best in development first."""
        tried = {**self.study.plan.axes, **self.combined}
        best = ranked({name: float(self.developed(name).mean()) for name in tried})[: self.study.plan.combining.kept]
        return {name: tried[name] for name in best}

    @property
    def best(self) -> str:
        """The construction that was best in development."""
        return next(iter(self.kept))

    @cached_property
    def to_judge(self) -> dict[str, Candidate]:
        """All that is judged, by name: real data, the plain variants, what is kept, and the best with fewer rows."""
        plan, best = self.study.plan, self.kept[self.best]
        plain = {name: plan.candidates[name] for name in (REAL, *plan.plain)}
        dense = {self.dense: Candidate(variant="real_haystack", options={"questions": DENSE})}
        fewer = best.model_copy(update={"rows": plan.tuning.contexts // (1 + len(best.also))})
        return {**plain, **dense, **self.kept, self.as_many_rows: fewer}

    @cached_property
    def curve(self) -> dict[str, Candidate]:
        """The best construction with some real rows besides, and these rows alone, by name. They have one seed."""
        plan, best = self.study.plan, self.kept[self.best]
        mixed = {self.mixed(rows): with_real(best, rows) for rows in plan.judging.real_rows}
        return {
            **mixed,
            **{self.alone(rows): real_alone(rows, plan.tuning.contexts) for rows in plan.judging.real_rows},
        }

    @staticmethod
    def mixed(rows: int) -> str:
        """The name of the best construction with some real rows besides."""
        return f"best+real-{rows}"

    @staticmethod
    def alone(rows: int) -> str:
        """The name of some real rows alone."""
        return f"real-{rows}-alone"

    @property
    def as_many_rows(self) -> str:
        """The name of the best construction with as many rows as real data."""
        return "best-as-many-rows"

    @property
    def dense(self) -> str:
        """The name of real data with several questions on each context, and so with several times as many rows."""
        return f"real-questions-{DENSE}"

    def exact(self, base: int) -> float:
        """The share of questions that a base answers exactly at its own length."""
        return float((self.study.f1(SHORT, Model(base, UNTUNED, 0)) == 1).mean())

    def over_half_way(self, name: str) -> CrossedMean:
        """F1 of a candidate over that half way between the best plain variant and real data, on what judges."""
        half = self.study.plan.closed
        return crossed_mean(self.judged(name) - (1 - half) * self.judged(self.plain) - half * self.judged(REAL))

    def share_closed(self, name: str) -> float:
        """The share of the gap between the best plain variant and real data that a candidate closes, on what judges; NaN without a gap."""
        plain, real = self.judged(self.plain).mean(), self.judged(REAL).mean()
        return float((self.judged(name).mean() - plain) / (real - plain)) if real > plain else float("nan")

    @cached_property
    def predicted(self) -> list[str]:
        """The synthetic candidates with one change or none, which predictors are judged on."""
        return [name for name in self.study.plan.candidates if name != REAL]

    def predictor(self, name: str, of: Iterable[str]) -> Values:
        """A predictor (candidate) after the short tuning; the higher, the better the candidate should be."""
        found = {one: self._measured(one) for one in (*of, REAL)}
        reference = found.pop(REAL)
        if name == "F1":
            return np.array([one["f1"].mean() for one in found.values()])
        if name == "loss":
            return np.array([-one["loss"] for one in found.values()])
        return np.array([self._alike(name, one["heads"], reference["heads"]) for one in found.values()])

    def _measured(self, name: str) -> dict[str, Any]:
        model = next(one for one in short_models(self.study.plan) if one.name == name)
        folder = self.study.kept(FEW, model)
        heads = np.array(json.loads((folder / "heads.json").read_text()))
        return {"f1": self.study.f1(FEW, model), "loss": json.loads((folder / "loss.json").read_text()), "heads": heads}

    def _alike(self, measure: str, heads: Values, reference: Values) -> float:
        mine, real = heads.ravel(), reference.ravel()
        if measure == "recall":
            count = self.study.plan.predicting.heads
            return len({*np.argsort(-mine)[:count]} & {*np.argsort(-real)[:count]}) / count
        size = (real @ real) if measure == "reach" else np.sqrt((real @ real) * (mine @ mine))
        return float(mine @ real / size) if size else 0.0

    @cached_property
    def correlations(self) -> dict[str, Correlation]:
        """How well each predictor orders the candidates by their F1 in development: Spearman's correlations, corrected for all."""
        f1 = np.array([self.developed(name).mean() for name in self.predicted])
        found = {
            name: correlate(spearman, self.predictor(name, self.predicted), f1, "recipe", name) for name in PREDICTORS
        }
        corrected = holm([one.p for one in found.values()])
        return {
            name: Correlation(one.value, one.low, one.high, one.p, one.n, p)
            for (name, one), p in zip(found.items(), corrected, strict=True)
        }
