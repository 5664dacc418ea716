"""The plan of a run, with all that is decided before it: plan.yaml, read and checked."""

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthctx_data.errors import UsageError
from synthctx_data.files import read_yaml

HERE = Path(__file__).resolve().parent
REAL = "real"  # the variant that the synthetic variants stand in for
REFERENCE = "reference"  # the seed of the real-tuned model that all others are compared with; it is in no mean


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Phase(_Part):
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
    def steps(self) -> list[int]:
        """The largest number of steps of each phase."""
        return [phase.steps for phase in self.phases]


class TrainingSet(_Part):
    """A data set to tune on: the builder's variant. With `among_real`, its haystack is real passages."""

    variant: str
    among_real: bool = False


class Tuning(_Part):
    """The settings of tuning, which are the same for all variants."""

    tokens: int
    examples: int
    validation: int
    learning_rate: float
    epochs: float
    batch_size: int


class Measuring(_Part):
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


class Gates(_Part):
    """The limits that the results of a run must keep."""

    base_exact: float
    base_over_guessing: float
    base_beyond: float
    real_over_theta: float
    real_over_guessing: float
    real_over_synthetic: float
    layers: int
    layer_share: float


class Plan(_Part):
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

    def flat(self) -> dict[str, Any]:
        """All decisions of the plan, by names such as `tuning.epochs`."""
        parts = self.model_dump(mode="json")
        return {
            f"{part}.{name}" if name else part: one
            for part, value in parts.items()
            for name, one in (value.items() if isinstance(value, dict) else [("", value)])
        }


def load_plan(file: Path = HERE / "plan.yaml") -> Plan:
    """The plan in a file. A plan that is `like` another states only the differences, and null for entries to remove.

    Raises: UsageError if the file cannot be read, or holds no valid plan.
    """
    expected = f"--plan: expected a plan such as {HERE / 'plan.yaml'}"
    read = read_yaml(file, expected)
    if "like" in read:
        read = _patched(read_yaml(file.parent / read.pop("like"), expected), read)
    if read.get("checkpoint"):
        read["checkpoint"] = str(file.parent / read["checkpoint"])
    try:
        return Plan.model_validate(read)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        got = f", got {first['input']!r}" if where else ""
        raise UsageError(f"--plan: {where or 'the whole'}: {first['msg']}{got} in {file}") from error


def _patched(old: Any, new: Any) -> Any:
    """The old value under a JSON merge patch (RFC 7396)."""
    if not isinstance(new, dict):
        return new
    kept = dict(old) if isinstance(old, dict) else {}
    for key, value in new.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = _patched(kept.get(key), value)
    return kept
