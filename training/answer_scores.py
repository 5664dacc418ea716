"""Scores of predictions: for each row, and as means with intervals, over all rows and by depth, hops and tokens."""

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from statistics import fmean

import numpy as np

from synthctx_data.depths import places
from synthctx_data.evidence import answer_in
from synthctx_data.files import whole
from synthctx_data.metrics import answer_f1, best_subspan_em, citation_score, exact_match
from synthctx_data.row_checks import Row, cites, documents_of
from synthctx_data.seeding import rng

_LEVEL = 0.95
LOSSES = ("context_loss", "answer_loss")  # which stand beside the scores if they were taken


@dataclass(frozen=True)
class Mean:
    """A mean over rows with its 95 % bootstrap interval, for other rows or other contexts."""

    mean: float
    low: float
    high: float
    rows: int


def score(row: Row, prediction: str) -> dict[str, float]:
    """The scores of one prediction, each in [0, 1]: those of citations if the answer is citations, else of a short answer."""
    if cites(row):
        found = citation_score(prediction, row["completion"][0]["content"])
        return {"f1": found.f1, "precision": found.precision, "recall": found.recall, "em": float(found.f1 == 1)}
    answers, prediction = row["answers"], answer_in(row, prediction)
    return {
        "f1": answer_f1(prediction, answers),
        "em": exact_match(prediction, answers),
        "subspan_em": best_subspan_em(prediction, answers),
    }


def depth(row: Row) -> str:
    """The mean depth of the needles, rounded down to a tenth of the context: "0.0" to "0.9"; "none" without needles."""
    if not row["needles"]:
        return "none"
    return f"{min(int(10 * fmean(places(row).needles)), 9) / 10:.1f}"


def hops(row: Row) -> str:
    """The number of hops of the question, or of documents that its answer cites."""
    return str(len(row["needles"]))


def tokens(row: Row) -> str:
    """The number of tokens of the row, rounded up to a power of two."""
    count = int(row["num_tokens"])
    return str(1 << (count - 1).bit_length()) if count else "0"


def task(row: Row) -> str:
    """The task of a row of a benchmark."""
    return str(row["task"])


Groups = Mapping[str, Callable[[Row], str]]
GROUPS: Groups = {"depth": depth, "hops": hops, "tokens": tokens}
BENCHMARK_GROUPS: Groups = {"task": task, "tokens": tokens}


def summarise(
    rows: Sequence[Row],
    scores: Sequence[dict[str, float]],
    resamples: int,
    grouped_by: Groups = GROUPS,
) -> dict[str, dict[str, dict[str, Mean]]]:
    """The means, by grouping ("all", and the names of `grouped_by`), then by group, then by metric. Intervals are for other contexts.

    scores: those of each row, by metric.
    """
    members: dict[str, dict[str, list[tuple[str, dict[str, float]]]]] = defaultdict(lambda: defaultdict(list))
    for row, own in zip(rows, scores, strict=True):
        scored = documents_of(row), own
        members["all"]["all"].append(scored)
        for name, group in grouped_by.items():
            members[name][group(row)].append(scored)
    return {
        name: {
            group: _means(groups[group], resamples, (name, group))
            for group in sorted(groups, key=lambda group: (len(group), group))
        }
        for name, groups in members.items()
    }


def write_rows(file: Path, rows: Sequence[Row], scores: Sequence[dict[str, float]], grouped_by: Groups) -> None:
    """Writes the scores of each row as CSV: its id, a hash of its context, its groups, and its scores."""
    with whole(file) as aside, aside.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["id", "context", *grouped_by, *(scores[0] if scores else ())])
        for row, own in zip(rows, scores, strict=True):
            context = blake2b(documents_of(row).encode(errors="surrogatepass"), digest_size=8).hexdigest()
            writer.writerow([row["id"], context, *(group(row) for group in grouped_by.values()), *own.values()])


def _means(members: Sequence[tuple[str, dict[str, float]]], resamples: int, name: tuple[str, ...]) -> dict[str, Mean]:
    """The means of each metric, from the context and the scores of each row."""
    contexts = [context for context, _ in members]
    return {
        metric: mean([scores[metric] for _, scores in members], resamples, (*name, metric), contexts)
        for metric in members[0][1]
    }


def mean(
    values: Sequence[float], resamples: int, name: tuple[str, ...] = (), contexts: Sequence[str] | None = None
) -> Mean:
    """The mean of the values, with its 95 % bootstrap interval. `name` names the random stream of the resamples.

    Rows with the same context are not independent: they are drawn together, if `contexts` has the context of each value.
    """
    numbers = {context: i for i, context in enumerate(dict.fromkeys(contexts))} if contexts else {}
    clusters = [numbers[context] for context in contexts] if contexts else range(len(values))
    sums, sizes = np.bincount(clusters, values), np.bincount(clusters)
    drawn = rng("bootstrap", *name).integers(len(sums), len(sums) * resamples)
    chosen = np.asarray(drawn).reshape(resamples, -1)
    means = sums[chosen].sum(1) / sizes[chosen].sum(1)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Mean(float(np.mean(values)), float(low), float(high), len(values))
