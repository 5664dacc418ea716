"""All that is decided before the run: plan.yaml, read and checked."""

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthctx_data.errors import UsageError

HERE = Path(__file__).resolve().parent
REAL = "real"  # the variant that the others stand in for
REFERENCE = (
    "reference"  # the seed of the real-tuned model that the others are held against, and that is no point itself
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Phase(_Part):
    """Steps of a base's training on lessons of so many tokens: shares of copying and of the kinds of conversations; what is left out.

    It ends early once the loss (the mean of 100 steps) is below `until`: what is learned all at once comes sooner or later by chance.
    Of each layer but the first, `heads` take part, and in a share `fewer` of the lessons only the first few of these. Of the layers in
    `without`, each is left out of its share of the lessons, no two of the same.
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
    def steps(self) -> list[int]:
        """The steps of each phase, at most."""
        return [phase.steps for phase in self.phases]


class TrainingSet(_Part):
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
    """The whole plan; with the folder of a trained `checkpoint`, that is the only base."""

    bases: tuple[int, ...]
    checkpoint: str | None = None
    seeds: tuple[int, ...]
    base: Base
    variants: dict[str, TrainingSet]
    distractors: Literal["bm25", "random"]
    tuning: Tuning
    measuring: Measuring
    gates: Gates
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
        """Everything that is decided, by names like `tuning.epochs`."""
        parts = self.model_dump(mode="json")
        return {
            f"{part}.{name}" if name else part: one
            for part, value in parts.items()
            for name, one in (value.items() if isinstance(value, dict) else [("", value)])
        }


def load_plan(file: Path = HERE / "plan.yaml") -> Plan:
    """The plan of a file; one that is `like` another need only say what is different, and null for what is not there.

    Raises: UsageError if it cannot be read, or says what no plan can.
    """
    read = _read(file)
    if "like" in read:
        read = _patched(_read(file.parent / read.pop("like")), read)
    if read.get("checkpoint"):
        read["checkpoint"] = str(file.parent / read["checkpoint"])
    try:
        return Plan.model_validate(read)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        got = f", got {first['input']!r}" if where else ""
        raise UsageError(f"--plan: {where or 'the whole'}: {first['msg']}{got} in {file}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"--plan: expected a plan such as {HERE / 'plan.yaml'}: {error}") from error
    if not isinstance(read, dict):
        raise UsageError(f"--plan: expected a plan such as {HERE / 'plan.yaml'}, got {type(read).__name__} in {file}")
    return read


def _patched(old: Any, new: Any) -> Any:
    """A JSON merge patch (RFC 7396)."""
    if not isinstance(new, dict):
        return new
    kept = dict(old) if isinstance(old, dict) else {}
    for key, value in new.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = _patched(kept.get(key), value)
    return kept
