"""Gates and claims of an experiment, the words of verdicts, and the tables of a report."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan

PAPER, OURS = "the paper's", "our question"  # the paper found no order of variants that holds for every task and model
HOLDS, FAILS, UNTESTED = "holds", "not shown", "cannot be tested here"
OPPOSITE, SAME = "the opposite is shown", "no difference"


@dataclass(frozen=True)
class Gate:
    """A gate: the measured quantity, the required value, the value seen, True if it is met, and the claims that rest on it."""

    what: str
    asked: str
    seen: str
    met: bool
    bears: str


@dataclass(frozen=True)
class Claim:
    """A claim, the evidence, the sample size, the verdict, and whose claim it is: the paper's or our question."""

    says: str
    shows: str
    n: str
    verdict: str
    whose: str = PAPER


def at_least(what: str, seen: float, asked: float, bears: str) -> Gate:
    """The gate that a quantity is no less than what is asked."""
    return Gate(what, f">= {asked:g}", f"{seen:.3f}".rstrip("0").rstrip("."), seen >= asked, bears)


def gated(verdict: str, unmet: Sequence[Gate]) -> str:
    """The verdict; or the gate that it rests on and that is not met. Then only what cannot be tested at all keeps its verdict."""
    return f"gate not met: {unmet[0].what}" if unmet and not verdict.startswith(UNTESTED) else verdict


def judge(low: float, high: float, bound: float) -> str:
    """The verdict on a difference with this interval: above 0, below 0, within the bound, or none of these."""
    if -bound <= low and high <= bound:
        return f"{SAME} above {bound:g}"
    return HOLDS if low > 0 else OPPOSITE if high < 0 else FAILS


def with_interval(mean: float, low: float, high: float) -> str:
    """A difference with its interval, if it has one."""
    return f"{mean:+.3f}" if isnan(low) else f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def section(title: str, columns: Sequence[str], caption: str = "") -> Iterable[str]:
    """The lines of a section of a report, up to the head of its table."""
    yield from ("", f"## {title}", "")
    if caption:
        yield from (caption, "")
    yield from (row(*columns), row(*["---"] * len(columns)))


def row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"
