"""The cost of answers: a table of prices, and an account of spending that never exceeds its budget."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.writing.store import Answer
from synthctx_data.errors import UsageError, WriterError
from synthctx_data.files import read_yaml

BUNDLED_PRICES = Path(__file__).resolve().parent / "prices.yaml"
_MILLION = 1e6


@dataclass(frozen=True)
class Price:
    """A price in US dollars for a million tokens of requests (`input`) and of answers (`output`).

    A batch costs the share `batch` of it.
    """

    input: float
    output: float
    batch: float = 1.0

    def of(self, prompt_tokens: float, completion_tokens: float, batch: bool = False) -> float:
        """The price of these tokens in US dollars."""
        return (
            (self.batch if batch else 1.0) * (self.input * prompt_tokens + self.output * completion_tokens) / _MILLION
        )


def find_price(model: str, file: Path | None) -> Price | None:
    """The price of a model, or None if the table does not have it. `file` is the table; None takes the bundled one.

    Raises: UsageError if the file is not a table of prices.
    """
    path = file or BUNDLED_PRICES
    table = read_yaml(path, "--prices: expected a table such as 'my-model: {input: 0.5, output: 1.5}'")
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
    """An account of US dollars: those that were spent, and those reserved for requests under way.

    `reserve` begins a reservation, and `settle` ends it.

    price: None if it is not known; then every cost is 0.
    budget: the US dollars that are never exceeded, even if every answer is as long as it may be; None means no limit.
    """

    def __init__(self, price: Price | None, budget: float | None = None, batch: bool = False) -> None:
        self.price = price
        self.budget = budget
        self.batch = batch
        self.spent = 0.0
        self.reserved = 0.0
        self.under_way = 0  # the number of open reservations

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """The cost of these tokens in US dollars; 0 if the price is not known."""
        return self.price.of(prompt_tokens, completion_tokens, self.batch) if self.price else 0.0

    def reserve(self, most: float) -> bool:
        """True if the budget has room for this many US dollars, which are reserved then."""
        if self.budget is not None and self.spent + self.reserved + most > self.budget:
            return False
        self.reserved += most
        self.under_way += 1
        return True

    def refusal(self, most: float) -> WriterError:
        """The error for a budget without room for the next answer, which may cost this many US dollars."""
        return WriterError(
            f"--budget-usd {self.budget}: {self.spent:.4f} are spent, and the next answer may cost {most:.4f}; what was answered is kept: "
            "call again with a higher budget"
        )

    def settle(self, reserved: float, answer: Answer | None) -> None:
        """Ends the reservation for one request. The cost of its answer, if there is one, is counted as spent."""
        self.reserved -= reserved
        self.under_way -= 1
        if answer:
            self.spend(answer)

    def spend(self, answer: Answer) -> None:
        """Counts the cost of an answer as spent."""
        self.spent += self.cost(answer.prompt_tokens, answer.completion_tokens)

    def release(self) -> None:
        """Ends all reservations."""
        self.reserved, self.under_way = 0.0, 0
