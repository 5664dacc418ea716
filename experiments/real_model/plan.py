"""The plan of the experiment: plan.yaml, read and checked."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from analysis.options import ScoreName
from experiments.plans import Part, Whole, read_plan

HERE = Path(__file__).resolve().parent
REAL = "real"  # the variant that the synthetic variants stand in for


class TrainingSet(Part):
    """A data set to tune on: the builder's variant, its examples, and how often they are read.

    Variants of few examples are read several times, so that all are tuned on about as many. `options` are further ones of the builder, and
    the variants `also` have equal shares of the examples.
    """

    variant: str
    options: dict[str, int | str] = {}
    also: tuple[str, ...] = ()
    examples: int | None = None
    questions: int | None = None
    epochs: float = 1.0

    @property
    def is_real(self) -> bool:
        """True if its questions are real."""
        return self.variant.startswith("real")


class Tuning(Part):
    """The settings of tuning, which are the same for all variants. Tokens are those of a context with its longest question."""

    tokens: int
    questions: int
    examples: int
    accumulation: int
    learning_rate: float


class Test(Part):
    """A set of test questions: the task, the tokens of a context, the questions on each, and the rows that are answered.

    `models` are asked it; all of them if there are none.
    """

    task: Literal["mdqa_synth", "musique_synth", "summhay_synth"] = "mdqa_synth"
    tokens: int
    questions: int = 1
    rows: int
    models: tuple[str, ...] = ()
    options: dict[str, str] = {}


class Heads(Part):
    """The settings of scoring heads, on the first rows of the first test.

    Every model has the score `for_all`. The untuned model and the first real-tuned one, which is the reference, have all scores.
    """

    for_all: ScoreName
    rows: dict[ScoreName, int]
    thresholds: tuple[float, ...]
    threshold: float
    top: tuple[int, ...]


class Knockout(Part):
    """The settings of the knockout, on the first rows of the first test."""

    rows: int
    models: tuple[str, ...]
    heads: tuple[int, ...]
    draws: int


class Patching(Part):
    """The settings of patching from the first real-tuned model into the first model of each synthetic variant."""

    rows: int
    heads: int
    draws: int
    below: float


class Gates(Part):
    """The limits that the results must keep."""

    real_over_untuned: float
    real_over_closed_book: float
    retrieval_heads: int


class Plan(Whole):
    """The whole plan."""

    model: str
    held_out: int
    seeds: tuple[int, ...] = Field(min_length=1)
    variants: dict[str, TrainingSet]
    tuning: Tuning
    tests: dict[str, Test] = Field(min_length=1)
    new_tokens: int
    heads: Heads
    knockout: Knockout
    patching: Patching
    gates: Gates
    bound: float
    f1_span: float
    compared: tuple[tuple[str, str], ...] = ()  # pairs of variants: one over the other

    @model_validator(mode="after")
    def _has_real(self) -> Self:
        if REAL not in self.variants:
            raise ValueError(f"expected {REAL} among the variants, got {', '.join(self.variants)}")
        if self.tests[self.main_test].models or self.tests[self.main_test].task != "mdqa_synth":
            raise ValueError(f"expected a first test of mdqa_synth that all models are asked, got {self.main_test}")
        known = ["untuned", *(f"{variant}/{seed}" for variant in self.variants for seed in self.seeds)]
        named = [*self.knockout.models, *(model for test in self.tests.values() for model in test.models)]
        if missing := [variant for pair in self.compared for variant in pair if variant not in self.variants]:
            raise ValueError(f"expected variants of the plan to compare, got {', '.join(missing)}")
        if unknown := [model for model in named if model not in known]:
            raise ValueError(f"expected models such as {known[1]}, got {', '.join(unknown)}")
        return self

    @property
    def main_test(self) -> str:
        """The name of the first test, on which heads are scored and changed."""
        return next(iter(self.tests))


def load_plan(file: Path = HERE / "plan.yaml") -> Plan:
    """The plan in a file.

    Raises: UsageError if the file cannot be read, or holds no valid plan.
    """
    return read_plan(file, Plan, HERE / "plan.yaml")
