"""The plan of the experiment: plan.yaml, read and checked. Tuning and our own tests are those of experiments/real_model."""

from pathlib import Path

from pydantic import Field

from experiments.plans import Part, read_plan
from experiments.real_model import plan as real_model

HERE = Path(__file__).resolve().parent


class Benchmark(Part):
    """A benchmark of others: its address, as of training/evaluate.py, whose path begins in `rows`, and the rows that are asked."""

    data: str
    rows: int

    @property
    def address(self) -> str:
        """The address with the whole path."""
        kind, _, path = self.data.partition(":")
        return f"{kind}:{HERE / 'rows' / path}"


class Plan(real_model.Plan):
    """The whole plan."""

    benchmarks: dict[str, Benchmark] = Field(min_length=1)


def load_plan(file: Path = HERE / "plan.yaml") -> Plan:
    """The plan in a file.

    Raises: UsageError if the file cannot be read, or holds no valid plan.
    """
    return read_plan(file, Plan, HERE / "plan.yaml")
