"""All that is decided before the run: plan.yaml, read and checked."""

from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field

HERE = Path(__file__).resolve().parent
REAL = "real"  # the variant that the others stand in for
REFERENCE = (
    "reference"  # the seed of the real-tuned model that the others are held against, and that is no point itself
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Phase(_Part):
    """Steps of a base's training on contexts of so many tokens: shares of copying, of kinds of lessons, of dropped layers."""

    steps: int
    tokens: int
    batch: int
    copying: float
    drop: float = 0.0
    kinds: dict[Literal["real", "templated", "symbolic", "plain"], float] = Field(default={"plain": 1.0})

    def kind(self, at: float) -> str:
        """The kind of lesson at a number in [0, 1), each as often as its share says."""
        ends = np.cumsum(list(self.kinds.values()))
        return list(self.kinds)[int(np.searchsorted(ends, at * ends[-1], "right"))]


class Base(_Part):
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
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def phase(self, step: int) -> Phase:
        """The phase of a step."""
        for phase in self.phases:
            step -= phase.steps
            if step < 0:
                return phase
        raise IndexError(step)


class Variant(_Part):
    """A data set to tune on: the builder's variant, and whether real passages are its haystack."""

    variant: str
    among_real: bool = False


class Tuning(_Part):
    """How each variant is tuned on; the same for all."""

    tokens: int
    examples: int
    validation: int
    learning_rate: float
    epochs: float
    batch_size: int


class Measuring(_Part):
    """On how much of the held-out data each measure is taken, and how."""

    evaluated: int
    scored: int
    intervened: int
    score: Literal["wu", "wu_forced"]
    threshold: float
    draws: int
    patched_below: float
    patched_heads: int


class Gates(_Part):
    """What must hold."""

    base_exact: float
    base_over_guessing: float
    base_beyond: float
    real_over_theta: float
    real_over_guessing: float
    real_over_synthetic: float
    layers: int
    knockout_share: float
    layer_share: float


class Plan(_Part):
    """The whole plan."""

    bases: tuple[int, ...]
    seeds: tuple[int, ...]
    base: Base
    variants: dict[str, Variant]
    distractors: Literal["bm25", "random"]
    tuning: Tuning
    measuring: Measuring
    gates: Gates
    f1_span: float
    recall_values: int


def load_plan(file: Path = HERE / "plan.yaml") -> Plan:
    """The plan of a file."""
    return Plan.model_validate(yaml.safe_load(file.read_text()))
