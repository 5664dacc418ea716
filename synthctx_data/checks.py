"""Checks of the rows of a data set: faults that make it unfit to train on or to test with."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from synthctx_data.assemble import least_tokens
from synthctx_data.depths import DepthHistogram
from synthctx_data.floors import Floor
from synthctx_data.row_checks import Expected, Row, RowFindings, Told, check_row, short
from synthctx_data.rules import PLACES

# Every kind of fault, with what is true of a data set without it.
FAULT_KINDS = {
    "complete": "all rows, shards and splits that build.json promises are there",
    "spans": "documents follow each other, and every needle and answer reads as itself",
    "leak": "no answer stands outside its needle",
    "shortcut": "no document but a hop's own links its subject and its answer",
    "needles": "no two rows ask the same of the same needles",
    "distractors": "no document stands twice in one haystack",
    "contexts": "no more examples have the same documents than was asked for",
    "splits": "no fact is asked for in two splits",
    "depth": "the needles' depths are as asked for",
    "fill": "at least 99 % of max_tokens are used, and never more than all",
    "tokens": "num_tokens is what the tokenizer counts",
    "metric": "every gold answer is right by its own metric",
    "blind": "no rule that never reads the question finds the needles",
}
_UNLIKELY = 1e-4  # the probability below which depths are called skewed
_FILL_BINS = 10


@dataclass
class Report:
    """The findings in one variant: the number of rows by split, messages about faults by kind, and two histograms.

    fill: the number of rows whose fill is in each tenth of a percent from 99 to 100. The first also counts all rows below.
    depth: the number of needles in each tenth of the context.
    padded: True if needles stand in padding, where they stand out by design.
    """

    rows: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    fill: list[int] = field(default_factory=lambda: [0] * _FILL_BINS)
    depth: list[int] = field(default_factory=list)
    padded: bool = False

    @property
    def ok(self) -> bool:
        return not any(self.faults.values())


class Checker:
    """A checker of rows: call `add` with each row, or `take` with the findings in each, then `report`."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._report = Report()
        self._needles: dict[bytes, tuple[str, str]] = {}
        self._facts: dict[bytes, tuple[str, str]] = {}
        self._contexts: dict[bytes, list[tuple[str, int]]] = defaultdict(list)  # the ids and tokens of the rows of each
        self._depths = DepthHistogram()

    def add(self, split: str, row: Row) -> None:
        """Checks one row of a split."""
        self.take(split, check_row(self._expected, row, self._report.rows[split]))

    def take(self, split: str, found: RowFindings) -> None:
        """Takes the findings in the next row of a split."""
        self._identified(split, found)
        self._report.rows[split] += 1
        for kind, message in found.faults:
            self._fault(kind, message)
        if found.asked and found.fact and found.places:
            self._once("needles", self._needles, split, found.id, found.asked)
            self._once("splits", self._facts, split, found.id, found.fact)
            self._shared(found)
            self._depths.add(found.places)
            self._report.padded |= found.is_padded

    def report(self, floors: Sequence[Floor] = ()) -> Report:
        """The findings in all rows that were added, and in their floors."""
        for problem in self._missing():
            self._fault("complete", problem)
        self._check_fill()
        self._check_depth()
        for floor in floors:
            self._check_floor(floor)
        return self._report

    def _fault(self, kind: str, message: str) -> None:
        self._report.faults[kind].append(message)

    def _identified(self, split: str, found: RowFindings) -> None:
        asked = f"{self._expected.name}/{split}/{self._report.rows[split]:06d}"
        if self._expected.name and found.id != asked:
            self._fault(
                "complete", f"row {self._report.rows[split]} of {split} is {short(found.id)}, where {asked} belongs"
            )

    def _missing(self) -> Iterable[str]:
        if not self._report.rows:
            yield "there are no rows"
        asked = self._report.rows if self._expected.sizes is None else self._expected.sizes
        for split in sorted({*asked, *self._report.rows}):
            if asked.get(split, 0) != self._report.rows[split]:
                yield f"{asked.get(split, 0):,} rows of {split} are promised, and there are {self._report.rows[split]:,}"

    def _once(self, kind: str, known: dict[bytes, tuple[str, str]], split: str, name: str, told: Told) -> None:
        """Reports a text that an earlier row has too: as `splits` if that row is in another split, else as `kind`."""
        before = known.setdefault(told.key, (split, name))
        if before[1] == name:
            return
        if before[0] != split:
            self._fault("splits", f"{name}: the same fact as {before[1]}: {told.short}")
        elif kind != "splits":
            self._fault(kind, f"{name}: the same needle as {before[1]}: {told.short}")

    def _shared(self, found: RowFindings) -> None:
        context = self._contexts[found.context]
        if len(context) >= self._expected.questions:
            self._fault("contexts", f"{found.id}: the same documents as {context[0][0]}")
        context.append((found.id, found.tokens))

    def _check_fill(self) -> None:
        most = [max(tokens for _, tokens in rows) for rows in self._contexts.values()]
        budgets = self._expected.budgets or (self._expected.max_tokens or max(most, default=1),)
        for rows, longest in zip(self._contexts.values(), most, strict=True):
            budget = min((one for one in budgets if one >= longest), default=max(budgets))
            for name, tokens in rows:  # of rows on one context, that with the longest question fills the budget
                if longest < least_tokens(budget) or tokens > budget:
                    self._fault("fill", f"{name}: {tokens} tokens, {tokens / budget:.1%} of max_tokens {budget}")
                tenth = math.floor((tokens / budget - 0.99) * 100 * _FILL_BINS)
                self._report.fill[min(max(tenth, 0), _FILL_BINS - 1)] += 1

    def _check_floor(self, floor: Floor) -> None:
        by_design = (
            self._report.padded or self._expected.stands_out or (floor.rule in PLACES and self._expected.depths != ())
        )
        if floor.is_far and not floor.reads and not by_design:
            self._fault(
                "blind",
                f"the rule {floor.rule!r}, which never reads the question, finds {floor.score:.0%} of the needles' documents, where "
                f"chance finds {floor.chance:.0%} ({floor.rows} rows)",
            )

    def _check_depth(self) -> None:
        self._report.depth = self._depths.seen.astype(int).tolist()
        probability = self._depths.uniform_probability()
        if self._expected.depths == () and probability < _UNLIKELY:
            self._fault(
                "depth", f"depths are not uniform: chi-square over tenths of the context, p = {probability:.1e}"
            )
