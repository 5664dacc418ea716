"""A ranking of data sets by what a short tuning on each does to the heads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.engine.compare import cosine
from analysis.engine.detect import find_heads
from analysis.heads import HeadScores
from analysis.options import DetectOptions, RankOptions
from synthctx_data.command import err, out, table
from synthctx_data.dataset import Address, has_split, parse_variant_address
from synthctx_data.errors import SynthctxError, UsageError
from synthctx_data.files import write_json
from training.answer_scores import Mean
from training.finetune import finetune
from training.options import ModelOptions, Recipe
from training.plots import bars, bars_size, saved
from training.sequences import parse_mixture

BASE, TARGET = "none", "target"
_HIGH = 0.5  # the reach of an untuned model from which on the heads tell little
_SURE = 0.95


@dataclass(frozen=True)
class Ranked:
    """A candidate: its reach, what that is over the untuned model's with its 95 % interval, its cosine with the reference, and the share
    of resamples in which it is first.
    """

    name: str
    reach: float
    over: float
    low: float
    high: float
    cosine: float
    sure: float


def rank_data(options: RankOptions) -> list[Ranked]:
    """The candidates and the untuned model, the highest reach first.

    Raises: UsageError if model or data cannot be loaded, or if the target is a candidate too.
    """
    names = [str(part.address) for part in parse_mixture(options.data)]
    if len(names) < 2:
        raise UsageError(f"--data: expected two candidates or more, got {' '.join(options.data)}")
    target = parse_variant_address(options.target, "--target")
    _require_target(target, options.target_split)
    if str(target) in names:
        raise UsageError(
            f"--target: expected data that no candidate is, since nothing comes nearer to it; leave {target} out of --data"
        )
    err.print(f"rank: the target and the untuned model: {target}", soft_wrap=True)
    reference = _tuned(options, options.target, TARGET) if has_split(target, "train") else None
    candidates = {BASE: _scores(options, BASE, None)}
    for number, (name, data) in enumerate(zip(names, options.data, strict=True)):
        err.print(f"rank: candidate {number + 1} of {len(names)}: {data}", soft_wrap=True)
        candidates[name] = _tuned(options, data, f"{number}")
    ranked = order(candidates, BASE, reference or candidates[BASE])
    output = Path(options.output)
    about = {**options.model_dump(), "reference": options.target if reference else BASE}
    write_json(output / "ranking.json", {"about": about, "ranked": ranked})
    means = {one.name: Mean(one.over, one.low, one.high, options.limit) for one in ranked}
    with saved(output / "ranking", bars_size(means), options.target) as axes:
        bars(means, "reach over that of the untuned model", axes)
    return ranked


def _require_target(target: Address, split: str) -> None:
    """Raises: UsageError if the target has no such split: before anything is trained."""
    try:
        if not has_split(target, split):
            raise UsageError(f"{target} cannot be read, or has no split {split}")
    except SynthctxError as error:
        raise UsageError(f"--target: {str(error).removeprefix('--data: ')}") from error


def _tuned(options: RankOptions, data: str, name: str) -> HeadScores:
    return _scores(options, name, _tune(options, data, name))


def _tune(options: RankOptions, data: str, name: str) -> Path:
    """The folder of the adapter of a short tuning on a data set."""
    chosen = {field: getattr(options, field) for field in Recipe.model_fields}
    return finetune(
        Recipe(**{**chosen, "data": [data], "output": str(Path(options.output) / "runs" / name), "push_to": None})
    )


def _scores(options: RankOptions, name: str, adapter: Path | None) -> HeadScores:
    """The scores of the heads of a tuned model, or of the untuned model, on the rows of the target."""
    model = (
        {"adapter": str(adapter)}
        if adapter
        else {field: getattr(options, field) for field in ModelOptions.model_fields}
    )
    return find_heads(
        DetectOptions(
            **model,
            data=options.target,
            split=options.target_split,
            limit=options.limit,
            score=options.score,
            output=str(Path(options.output) / "heads" / name),
        )
    )


def order(candidates: Mapping[str, HeadScores], untuned: str, reference: HeadScores) -> list[Ranked]:
    """The candidates, the highest reach first, with intervals over resampled rows. One of them is the `untuned` model."""
    reaches = {name: reach(heads, reference) for name, heads in candidates.items()}
    resampled = {name: _resampled_reaches(heads, reference) for name, heads in candidates.items()}
    first = np.argmax(np.stack(list(resampled.values())), axis=0)
    found = []
    for number, (name, heads) in enumerate(candidates.items()):
        low, high = np.quantile(resampled[name] - resampled[untuned], [0.025, 0.975])
        over, sure = reaches[name] - reaches[untuned], float((first == number).mean())
        alike = cosine(reference.values, heads.values)
        found.append(Ranked(name, reaches[name], over, float(low), float(high), alike, sure))
    return sorted(found, key=lambda r: -r.reach)


def reach(heads: HeadScores, reference: HeadScores) -> float:
    """The scalar product of the scores with the reference's, divided by that of the reference with itself; 1 for the same scores.

    Raises: UsageError if no head of the reference scores anything.
    """
    own = float(np.nansum(reference.values.astype(float) ** 2))
    if not own:
        raise UsageError(
            "--target: expected heads that retrieve in the reference, and none scores anything; raise --max-steps or --learning-rate"
        )
    return float(np.nansum(heads.values.astype(float) * reference.values)) / own


def _resampled_reaches(heads: HeadScores, reference: HeadScores) -> NDArray[np.float64]:
    """The reach in each resample of the rows. Both scores draw the same rows if they have the same number of rows."""
    theirs, mine = (h.resampled("ranking").reshape(-1, reference.values.size).astype(float) for h in (reference, heads))
    own = np.nansum(theirs**2, axis=1)
    return np.asarray(np.nansum(mine * theirs, axis=1) / np.where(own, own, np.inf))


def show_ranking(ranked: list[Ranked], output: Path) -> None:
    """Prints the ranking as a table, and what keeps it from telling much."""
    rows = [
        (
            r.name,
            f"{r.over:+.2f}",
            f"[{r.low:+.2f}, {r.high:+.2f}]",
            f"{r.reach:.2f}",
            f"{r.cosine:.2f}",
            f"{r.sure:.0%}",
        )
        for r in ranked
    ]
    columns = ("over untuned", "95 %", "reach", "cosine", "sure")
    shown = table({"train on": "left", **dict.fromkeys(columns, "right")}, rows)
    shown.columns[0].no_wrap = False
    out.print(shown)
    for line in caveats(ranked):
        out.print(line, soft_wrap=True)
    out.print(f"{output}: ranking.json, ranking.svg, ranking.png, runs/, heads/", soft_wrap=True)


def caveats(ranked: Sequence[Ranked]) -> list[str]:
    """What keeps a ranking from telling much, in words; empty if nothing does."""
    untuned = next(one for one in ranked if one.name == BASE)
    best = next(one for one in ranked if one.name != BASE)
    found = []
    if untuned.reach >= _HIGH:
        found.append(
            f"The model already reaches {untuned.reach:.2f} untuned: it has most of these heads, so they tell little about the data. "
            "Compare F1 after a full tuning instead (training/evaluate.py)."
        )
    if best.sure < _SURE:
        found.append(
            f"{best.name} comes first in only {best.sure:.0%} of the resamples: take this for a tie, or give more rows (--limit)."
        )
    return found
