"""One pass over all rows of a variant, which finds their faults and makes a survey of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from synthctx_data.checks import Checker, Expected, Report
from synthctx_data.dataset import BuiltVariant
from synthctx_data.manifest import MIXED, Manifest, sizes_in, stands_out
from synthctx_data.options import UNIFORM, parse_depth
from synthctx_data.survey import Survey
from synthctx_data.tokens import load_counter


@dataclass(frozen=True)
class Examined:
    """The faults that were found, a survey of the rows, and whether their tokens were counted again.

    fingerprint: the fingerprint of the manifest that the rows were compared with; empty if there was none.
    """

    report: Report
    survey: Survey
    recounted: bool
    fingerprint: str

    @property
    def faults(self) -> str:
        """The kinds of faults with the number of each, in words; empty if there are none."""
        return ", ".join(f"{kind} ({len(found)})" for kind, found in self.report.faults.items() if found)


def expected(
    manifest: Manifest, max_tokens: int | None = None, depth: str | None = None, tokenizer: str | None = None
) -> Expected:
    """The properties that rows are checked against: those of the arguments, or else of the manifest."""
    counter = load_counter(tokenizer)
    recount = tokenizer is not None or manifest.get("tokenizer") == counter.identity
    return Expected(
        max_tokens if max_tokens is not None else manifest.get("max_tokens"),
        _depths(depth if depth is not None else manifest.get("depth", UNIFORM)),
        stands_out(manifest),
        counter if recount else None,
        int(manifest.get("questions", 1)),
        tuple(manifest.get("budgets", ())) if max_tokens is None else (),
        f"{manifest['task']}/{manifest['variant']}" if manifest else "",
        manifest.get("fingerprint", ""),
        sizes_in(manifest) if manifest else None,
    )


def _depths(depth: str) -> tuple[float, ...] | None:
    """The depths that were asked for; None if those of a mixture's parts differ."""
    return None if depth == MIXED else parse_depth(depth)


class Examiner:
    """An examiner of rows: call `add` with the rows of each split in the order of their indices, then `done`."""

    def __init__(self, asked: Expected) -> None:
        self._asked = asked
        self._checker = Checker(asked)
        self._survey = Survey()

    def add(self, rows: Iterable[tuple[str, dict[str, Any]]], progress: Callable[[int], None]) -> None:
        """Examines rows, each with its split. `progress` is called with the number of further rows that were examined."""
        for split, row in rows:
            self._checker.add(split, row)
            self._survey.add(split, row)
            progress(1)

    def done(self) -> Examined:
        """The findings in all rows that were added."""
        return Examined(
            self._checker.report(self._survey.floors),
            self._survey,
            self._asked.counter is not None,
            self._asked.fingerprint,
        )


def examine(variant: BuiltVariant, asked: Expected, progress: Callable[[int], None]) -> Examined:
    """The findings in all rows of a variant."""
    examiner = Examiner(asked)
    examiner.add(variant.rows(), progress)
    found = examiner.done()
    found.report.faults["complete"] = list(dict.fromkeys([*variant.missing(), *found.report.faults["complete"]]))
    return found
