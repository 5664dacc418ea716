"""The plan of the experiment: plan.yaml, read and checked. The base, its tuning and the questions are those of experiments/recipe."""

from pathlib import Path

from pydantic import Field

from experiments.plans import read_plan
from experiments.recipe import plan as recipe

HERE = Path(__file__).resolve().parent


class Plan(recipe.Plan):
    """The whole plan. `rows` are answered with and without `heads` heads, which are scored on the first `scored` of them."""

    base: int
    tuned_on: str
    rows: int
    scored: int
    heads: int
    seeds: tuple[int, ...] = Field(min_length=1)
    learning_rates: tuple[float, ...] = Field(min_length=1)
    beta: float


def load_plan(file: Path = HERE / "plan.yaml") -> Plan:
    """The plan in a file.

    Raises: UsageError if the file cannot be read, or holds no valid plan.
    """
    return read_plan(file, Plan, HERE / "plan.yaml")
