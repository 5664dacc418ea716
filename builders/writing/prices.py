"""What answers cost: a table of prices, and an account of spending that never exceeds its budget."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from builders.writing.store import Answer
from synthctx_data.errors import UsageError, WriterError, first_line

BUNDLED_PRICES = Path(__file__).resolve().parent / "prices.yaml"
_MILLION = 1e6


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens of requests and of answers; `batch` is the share of them that a batch costs."""

    input: float
    output: float
    batch: float = 1.0

    def of(self, prompt_tokens: float, completion_tokens: float, batch: bool = False) -> float:
        """US dollars for these tokens."""
        return (
            (self.batch if batch else 1.0) * (self.input * prompt_tokens + self.output * completion_tokens) / _MILLION
        )


def find_price(model: str, file: Path | None) -> Price | None:
    """The price of a model in a table (None takes the bundled one); None if it is not there.

    Raises: UsageError if the file is no such table.
    """
    path = file.expanduser() if file else BUNDLED_PRICES
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--prices: expected a YAML file of prices: {first_line(error)}") from error
    if not isinstance(table, dict):
        raise UsageError(f"--prices: expected {path} to hold a table such as 'my-model: {{input: 0.5, output: 1.5}}'")
    return None if model not in table else _price(model, table[model], path)


def _price(model: str, entry: Any, path: Path) -> Price:
    known = {"input", "output", "batch"}
    right = isinstance(entry, Mapping) and {"input", "output"} <= entry.keys() <= known
    if not right or not all(_is_price(value) for value in entry.values()):
        raise UsageError(f"--prices: expected {model} in {path} to be like {{input: 0.5, output: 1.5}}, got {entry!r}")
    return Price(**entry)


def _is_price(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


class Spending:
    """What was spent, and what requests that are under way may still cost; `settle` ends what `reserve` began.

    price: None if it is not known: then nothing is counted.
    budget: US dollars that are not to be passed, even if every answer is as long as it may be; None is no limit.
    """

    def __init__(self, price: Price | None, budget: float | None = None, batch: bool = False) -> None:
        self.price = price
        self.budget = budget
        self.batch = batch
        self.spent = 0.0
        self.reserved = 0.0
        self.under_way = 0  # requests for which something is set aside

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """What these tokens cost."""
        return self.price.of(prompt_tokens, completion_tokens, self.batch) if self.price else 0.0

    def reserve(self, most: float) -> bool:
        """Whether the budget has room for this much, which is then set aside."""
        if self.budget is not None and self.spent + self.reserved + most > self.budget:
            return False
        self.reserved += most
        self.under_way += 1
        return True

    def refusal(self, most: float) -> WriterError:
        """Why nothing more is asked for, where the next answer may cost this much."""
        return WriterError(
            f"--budget-usd {self.budget}: {self.spent:.4f} are spent, and the next answer may cost {most:.4f}; what was answered is kept: "
            "call again with a higher budget"
        )

    def settle(self, reserved: float, answer: Answer | None) -> None:
        """Ends what was set aside for one request: with what its answer cost, or with nothing if there was none."""
        self.reserved -= reserved
        self.under_way -= 1
        if answer:
            self.spend(answer)

    def spend(self, answer: Answer) -> None:
        """Counts what an answer cost."""
        self.spent += self.cost(answer.prompt_tokens, answer.completion_tokens)

    def release(self) -> None:
        """Ends all that was set aside."""
        self.reserved, self.under_way = 0.0, 0
