"""The plan of a run, with all that is decided before it: plan.yaml, read and checked."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from experiments.plans import Part, Whole, read_plan

HERE = Path(__file__).resolve().parent
REAL = "real"  # the variant that the synthetic variants stand in for
REFERENCE = "reference"  # the seed of the real-tuned model that all others are compared with; it is in no mean


class Phase(Part):
    """A phase of a base's training: its steps, the tokens of its lessons, the shares of their kinds, and the heads that take part.

    It ends early if the mean loss of 100 steps is below `until`, because a model learns some things suddenly and at a random step.
    In each layer but the first, `heads` heads take part; in a share `fewer` of the lessons, only the first few of these. Each layer
    in `without` is left out of its share of the lessons. No lesson is without two layers.
    """

    steps: int
    until: float = 0.0
    tokens: int
    batch: int
    copying: float
    heads: int
    fewer: float
    without: dict[int, float] = {}
    kinds: dict[Literal["real", "templated", "symbolic", "plain"], float] = Field(default={"plain": 1.0})

    def kind(self, at: float) -> str:
        """The kind of conversation at a number in [0, 1). Each kind covers its share of this range."""
        ends = np.cumsum(list(self.kinds.values()))
        return list(self.kinds)[int(np.searchsorted(ends, at * ends[-1], "right"))]


class Base(Part):
    """The shape and the training of the base models."""

    layers: int
    heads: int
    head_dimension: int
    width: int
    feed_forward: int
    tokens: int
    theta: float
    look_back: tuple[int, ...]
    learning_rate: float
    phases: tuple[Phase, ...]

    @property
    def steps(self) -> list[int]:
        """The largest number of steps of each phase."""
        return [phase.steps for phase in self.phases]


class TrainingSet(Part):
    """A data set to tune on: the builder's variant. With `among_real`, its haystack is real passages."""

    variant: str
    among_real: bool = False


class Tuning(Part):
    """The settings of tuning, which are the same for all variants."""

    tokens: int
    examples: int
    validation: int
    learning_rate: float
    epochs: float
    batch_size: int


class Measuring(Part):
    """The settings of the measures, and the number of held-out rows for each."""

    evaluated: int
    scored: int
    intervened: int
    score: Literal["wu", "wu_forced"]
    threshold: float
    knocked_out: tuple[int, ...]
    draws: int
    patched_below: float
    patched_heads: int


class Gates(Part):
    """The limits that the results of a run must keep."""

    base_exact: float
    base_over_guessing: float
    base_beyond: float
    real_over_theta: float
    real_over_guessing: float
    real_over_synthetic: float
    layers: int
    layer_share: float


class Plan(Whole):
    """The whole plan. If it has the folder of a trained `checkpoint`, this is the only base."""

    bases: tuple[int, ...]
    checkpoint: str | None = None
    seeds: tuple[int, ...]
    base: Base
    variants: dict[str, TrainingSet]
    distractors: Literal["bm25", "random"]
    tuning: Tuning
    measuring: Measuring
    gates: Gates
    bound: float
    f1_span: float
    recall_values: int

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if REAL not in self.variants:
            raise ValueError(f"expected {REAL} among the variants, got {', '.join(self.variants)}")
        if self.checkpoint and len(self.bases) != 1:
            raise ValueError(f"expected one base with a checkpoint, got {len(self.bases)}")
        return self


def load_plan(file: Path = HERE / "plan.yaml") -> Plan:
    """The plan in a file. The folder of its checkpoint is relative to the file.

    Raises: UsageError if the file cannot be read, or holds no valid plan.
    """
    plan = read_plan(file, Plan, HERE / "plan.yaml")
    return plan.model_copy(update={"checkpoint": str(file.parent / plan.checkpoint)}) if plan.checkpoint else plan
