"""Which data promise most, by what a short tuning on each does to the heads."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.comparison import cosine
from analysis.config import Detection, Ranking
from analysis.detection import find
from analysis.figures import bars
from analysis.heads import HeadScores
from synthctx_data.errors import UsageError
from training import runs
from training.config import Extended, Recipe
from training.data import has_split, parse_address, parse_addresses
from training.finetune import finetune
from training.scores import Mean

BASE, TARGET = "none", "target"


@dataclass(frozen=True)
class Ranked:
    """A candidate: its reach with interval, the cosine of its scores with the reference's, and how often it comes first."""

    name: str
    reach: float
    low: float
    high: float
    cosine: float
    sure: float


def rank(options: Ranking) -> list[Ranked]:
    """The candidates and the untuned model, those first that promise most.

    Raises: UsageError if model or data cannot be had.
    """
    names = [str(address) for address in parse_addresses(options.data)]
    if len(names) < 2:
        raise UsageError(f"--data: expected two candidates or more, got {' '.join(options.data)}")
    target = parse_address(options.target)
    reference = _tuned(options, options.target, TARGET) if has_split(target, "train") else None
    candidates = {BASE: _scores(options, BASE, None)}
    for number, (name, data) in enumerate(zip(names, options.data, strict=True)):
        candidates[name] = reference if reference and name == str(target) else _tuned(options, data, f"{number}")
    ranked = order(candidates, reference or candidates[BASE])
    output = Path(options.output)
    about = {**options.model_dump(), "reference": options.target if reference else BASE}
    runs.write(
        output / "ranking.json", json.dumps({"about": about, "ranked": [asdict(r) for r in ranked]}, indent=1) + "\n"
    )
    bars(
        {r.name: Mean(r.reach, r.low, r.high, options.limit) for r in ranked},
        output / "ranking",
        "reach",
        options.target,
    )
    return ranked


def _tuned(options: Ranking, data: str, name: str) -> HeadScores:
    return _scores(options, name, _tune(options, data, name))


def _tune(options: Ranking, data: str, name: str) -> Path:
    """The adapter of a short tuning on a data set."""
    chosen = {field: getattr(options, field) for field in Recipe.model_fields}
    return finetune(
        Recipe(**{**chosen, "data": [data], "output": str(Path(options.output) / "runs" / name), "push_to": None})
    )


def _scores(options: Ranking, name: str, adapter: Path | None) -> HeadScores:
    """The scores of the heads of a tuned model, or of the model itself, on the rows of the target."""
    model = (
        {"adapter": str(adapter)} if adapter else {field: getattr(options, field) for field in Extended.model_fields}
    )
    return find(
        Detection(
            **model,
            data=options.target,
            split=options.target_split,
            limit=options.limit,
            score=options.score,
            output=str(Path(options.output) / "heads" / name),
        )
    )


def order(candidates: Mapping[str, HeadScores], reference: HeadScores) -> list[Ranked]:
    """The candidates by their reach, with what resampling the rows (the same ones for all) makes of it."""
    reaches = {name: reach(heads, reference) for name, heads in candidates.items()}
    resampled = {name: _resampled_reaches(heads, reference) for name, heads in candidates.items()}
    first = np.argmax(np.stack(list(resampled.values())), axis=0)
    found = []
    for number, (name, heads) in enumerate(candidates.items()):
        low, high = np.quantile(resampled[name], [0.025, 0.975])
        alike = cosine(reference.values, heads.values)
        found.append(Ranked(name, reaches[name], float(low), float(high), alike, float((first == number).mean())))
    return sorted(found, key=lambda r: -r.reach)


def reach(heads: HeadScores, reference: HeadScores) -> float:
    """How much of the reference's scores these have, head by head: 1 for the same, 0 for none; it may be above 1.

    Raises: UsageError if no head of the reference scores anything.
    """
    own = float(np.nansum(reference.values.astype(float) ** 2))
    if not own:
        raise UsageError(
            "--target: expected heads that retrieve in the reference, and none scores anything; raise --max-steps or --learning-rate"
        )
    return float(np.nansum(heads.values.astype(float) * reference.values)) / own


def _resampled_reaches(heads: HeadScores, reference: HeadScores) -> NDArray[np.float64]:
    """The reach over resampled rows: the same ones in both, where both count as many."""
    theirs, mine = (h.resampled("ranking").reshape(-1, reference.values.size).astype(float) for h in (reference, heads))
    own = np.nansum(theirs**2, axis=1)
    return np.asarray(np.nansum(mine * theirs, axis=1) / np.where(own, own, np.inf))


def show(ranked: list[Ranked], output: Path) -> None:
    """Prints the ranking."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("train on", "reach", "95 %", "cosine", "sure"):
        table.add_column(column, justify="left" if column == "train on" else "right", no_wrap=column != "train on")
    for r in ranked:
        table.add_row(r.name, f"{r.reach:.2f}", f"[{r.low:.2f}, {r.high:.2f}]", f"{r.cosine:.2f}", f"{r.sure:.0%}")
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"{output}: ranking.json, ranking.svg, ranking.png, runs/, heads/", soft_wrap=True)
