"""The results that lie in and below some folders, by their kind."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.heads import SCORES_FILE, TRACE, HeadScores
from synthctx_data.errors import DatasetError, UsageError, first_line
from training import run_folder
from training.answer_scores import Mean
from training.evaluate import ROWS
from training.predictions import PREDICTIONS, read_predictions

_PARTS = 2  # of a short name, at least


@dataclass(frozen=True)
class Answered:
    """The scores of a model on a data set, over all rows, by name; and its answers by row id.

    rows: the first score of each row, with a hash of the row's context, by row id. Evaluations of earlier versions have none.
    """

    folder: Path
    model: str
    data: str
    split: str
    fingerprint: str
    scores: dict[str, Mean]
    answers: dict[str, str]
    rows: dict[str, tuple[float, str]]


@dataclass(frozen=True)
class Changed:
    """F1 of a model with heads knocked out, or with outputs of another's heads: by condition, then by the number of heads.

    differences: how much more the highest heads cost, or bring, than each other condition, row by row: by that condition, then by the
    number of heads. Experiments of earlier versions have none.
    """

    folder: Path
    model: str
    data: str
    f1: dict[str, dict[int, Mean]]
    differences: dict[str, dict[int, Mean]]
    about: dict[str, Any]

    @property
    def ranked_on(self) -> str:
        """The data and the split that the heads of a knockout were ranked on."""
        of = self.about.get("of", {})
        data = of.get("data")
        return f"{data['address'] if isinstance(data, dict) else data} ({of.get('split')})"

    @property
    def is_ranked_there(self) -> bool:
        """True if the heads of a knockout were ranked on the same split of the same data."""
        return self.ranked_on == f"{self.data} ({self.about.get('split')})"


@dataclass(frozen=True)
class Traced:
    """Where heads of a model, named "LAYER-HEAD", look in rows of a data set: what analysis/trace.py found."""

    folder: Path
    model: str
    data: str
    heads: list[str]
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Found:
    """All results, in the order of their folders. runs: what run.json says of each folder, by its path."""

    evaluations: list[Answered] = field(default_factory=list)
    heads: list[tuple[Path, HeadScores]] = field(default_factory=list)
    knockouts: list[Changed] = field(default_factory=list)
    patches: list[Changed] = field(default_factory=list)
    comparisons: list[tuple[Path, dict[str, Any]]] = field(default_factory=list)
    traces: list[Traced] = field(default_factory=list)
    runs: dict[Path, dict[str, Any]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """True if there is no result."""
        return not any((self.evaluations, self.heads, self.knockouts, self.patches, self.comparisons, self.traces))


def collect(folders: Sequence[Path]) -> Found:
    """All results in and below the folders. Those of unfinished runs are left out.

    Raises: UsageError if a folder does not exist, or nothing is found; DatasetError if a file cannot be read.
    """
    found, seen = Found(), set()
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"expected folders of results, got {folder}, which is none")
        for name, take in _KINDS.items():
            for file in sorted(folder.rglob(name)):
                if file.resolve() not in seen:  # folders may lie in each other
                    seen.add(file.resolve())
                    _read(file, lambda one, take=take: take(found, one))  # type: ignore[misc]
    if found.is_empty:
        said = ", ".join(map(str, folders))
        raise UsageError(
            f"expected results of training/evaluate.py or of analysis/ in {said}, found none that is finished"
        )
    return found


def _read(file: Path, take: Callable[[Path], None]) -> None:
    try:
        take(file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, StopIteration) as error:
        raise DatasetError(f"{file}: expected what synthctx wrote: {first_line(error)}") from error


def _run(found: Found, file: Path) -> dict[str, Any] | None:
    """What run.json beside a file says; None if the run is not finished."""
    run: dict[str, Any] = run_folder.read(file.parent) if (file.parent / run_folder.RUN_FILE).is_file() else {}
    if not run.get("finished"):
        return None
    found.runs[file.parent] = run
    return run


def _evaluation(found: Found, file: Path) -> None:
    run = _run(found, file)
    if run is None:
        return
    scores = {name: Mean(**one) for name, one in json.loads(file.read_text())["all"]["all"].items()}
    answers = read_predictions(file.parent / PREDICTIONS)
    rows = _row_scores(file.parent / ROWS, next(iter(scores)))
    address, split = str(run["data"]["address"]), str(run.get("split"))
    made = str(run["data"].get("fingerprint"))
    found.evaluations.append(Answered(file.parent, _model(run), address, split, made, scores, answers, rows))


def _row_scores(file: Path, score: str) -> dict[str, tuple[float, str]]:
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as lines:
        return {row["id"]: (float(row[score]), row["context"]) for row in csv.DictReader(lines)}


def _heads(found: Found, file: Path) -> None:
    if _run(found, file) is not None:
        found.heads.append((file.parent, HeadScores.load(file)))


def _knockout(found: Found, file: Path) -> None:
    run, read = _run(found, file), json.loads(file.read_text())
    if run is not None:
        f1, lost = (
            {name: {int(n): Mean(**one) for n, one in points.items()} for name, points in read.get(key, {}).items()}
            for key in ("f1", "lost_more")
        )
        found.knockouts.append(Changed(file.parent, _model(run), str(run["data"]["address"]), f1, lost, read["about"]))


def _patch(found: Found, file: Path) -> None:
    run, read = _run(found, file), json.loads(file.read_text())
    if run is not None:
        sizes = {name: len(sets[0]) if sets else 0 for name, sets in read["about"]["heads"].items()}
        f1 = {name: {sizes.get(name, 0): Mean(**one)} for name, one in read["f1"].items()}
        gained = {name: {sizes["intersect"]: Mean(**one)} for name, one in read.get("gained", {}).items()}
        found.patches.append(Changed(file.parent, _model(run), str(run["data"]["address"]), f1, gained, read["about"]))


def _comparison(found: Found, file: Path) -> None:
    found.comparisons.append((file.parent, json.loads(file.read_text())))


def _trace(found: Found, file: Path) -> None:
    run, read = _run(found, file), json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse)
    for row in read["rows"]:
        read_with = [answer["attention"] for answer in row["answers"].values()]
        if not (row["documents"] and row["message"] and row["needles"] and row["all_right"] and all(read_with)):
            raise ValueError("a row without documents, text, needles or answers; trace it again")
    if run is not None:
        found.traces.append(
            Traced(file.parent, _model(run), str(run["data"]["address"]), list(read["heads"]), list(read["rows"]))
        )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _model(run: dict[str, Any]) -> str:
    return str(run.get("adapter") or run.get("model") or run.get("endpoint"))


def short_names(names: Iterable[str]) -> dict[str, str]:
    """A short name for each, which is that of a folder or a Hub id: its last parts, as many as tell all apart, but for "adapter"."""
    parts = {name: [part for part in name.split("/") if part not in ("", "adapter")] or [name] for name in names}
    for count in range(_PARTS, 1 + max(map(len, parts.values()), default=0)):
        short = {name: "/".join(own[-count:]) for name, own in parts.items()}
        if len({*short.values()}) == len(short):
            return short
    return {name: name for name in parts}


def labels(results: Sequence[Answered | Traced]) -> list[str]:
    """A short name for each result: that of its model, and of its folder too where a model comes several times."""
    models, folders = short_names(one.model for one in results), short_names(str(one.folder) for one in results)
    times = Counter(one.model for one in results)
    return [
        models[one.model] if times[one.model] == 1 else f"{models[one.model]} ({folders[str(one.folder)]})"
        for one in results
    ]


def by_data(evaluations: Iterable[Answered]) -> dict[str, list[Answered]]:
    """The evaluations on each split of a data set, in order, by the names of both; by the fingerprint too where a name is of several."""
    sets: dict[tuple[str, str], list[Answered]] = {}
    for one in evaluations:
        sets.setdefault((f"{one.data} ({one.split})", one.fingerprint), []).append(one)
    times = Counter(name for name, _ in sets)
    return {name if times[name] == 1 else f"{name}, made as {made}": group for (name, made), group in sets.items()}


_KINDS: dict[str, Callable[[Found, Path], None]] = {
    "scores.json": _evaluation,
    SCORES_FILE: _heads,
    "knockout.json": _knockout,
    "patch.json": _patch,
    "compare.json": _comparison,
    TRACE: _trace,
}
