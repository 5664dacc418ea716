"""The plan of the experiment: plan.yaml, read and checked, and the models that it compares."""

from pathlib import Path
from typing import Any, Literal

from experiments.plans import DTYPE, Part, Whole, read_plan

HERE = Path(__file__).resolve().parent
KINDS = {"real": "real_haystack", "symbolic": "symbolic_haystack"}
# The models that are asked, and how their positions are extended. The last two are tuned.
AS_IT_WAS, WHOLE, SKIPPED = "as it was", "tuned at whole positions", "tuned at skipped positions"
MODELS = (AS_IT_WAS, "theta", "yarn", WHOLE, SKIPPED)
TUNED: dict[str, Literal["whole", "skip"]] = {WHOLE: "whole", SKIPPED: "skip"}


class Tuning(Part):
    """The settings of tuning. Examples are those of each kind."""

    tokens: int
    questions: int
    examples: int
    accumulation: int
    learning_rate: float
    seed: int


class Plan(Whole):
    """The whole plan. The window and the target are in tokens. `rows` are asked, of each kind, at each number of tokens."""

    model: str
    window: int
    target: int
    rows: dict[int, int]
    questions: int
    new_tokens: int
    held_out: int
    tuning: Tuning
    bound: float

    def extension(self, model: str) -> dict[str, Any]:
        """The options that extend the positions of a model that is not tuned."""
        trained = self.target if model == AS_IT_WAS else self.window
        rope = {} if model == AS_IT_WAS else {"rope": model}
        return {"model": self.model, "dtype": DTYPE, "max_tokens": self.target, "trained_tokens": trained, **rope}


def load_plan(file: Path = HERE / "plan.yaml") -> Plan:
    """The plan in a file.

    Raises: UsageError if the file cannot be read, or holds no valid plan.
    """
    return read_plan(file, Plan, HERE / "plan.yaml")
