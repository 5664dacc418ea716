"""Comparisons of the heads of models, and correlations of these comparisons with the models' F1."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from analysis.correlation import Correlation, correlate, holm, kendall, pearson, spearman
from analysis.figures import matrix, scatter, scatter_size
from analysis.heads import Head, HeadScores, Scores, rank_heads
from analysis.options import CompareOptions
from synthctx_data.command import out, table, with_progress
from synthctx_data.errors import UsageError
from synthctx_data.files import write_json, write_text
from training.plots import saved

Measure = Callable[[Scores, Scores], float]
_CEILINGS_APART = 0.02  # ceilings that differ by more are said


@dataclass(frozen=True)
class Measured:
    """A measure over `n` heads, with its 95 % interval over resampled rows.

    `p`, and `corrected` for all models (Holm), are NaN if the measure is no correlation.
    """

    value: float
    low: float
    high: float
    n: int
    p: float = math.nan
    corrected: float = math.nan


def recall(reference: Sequence[Head], other: Sequence[Head]) -> float:
    """The share of the reference's heads that are among the other's, in [0, 1]; NaN if the reference has none."""
    return len(set(reference) & set(other)) / len(set(reference)) if reference else math.nan


def overlap(one: Sequence[Head], other: Sequence[Head]) -> float:
    """The number of heads in both, divided by the number in either (Jaccard), in [0, 1]; NaN if there are none."""
    either = set(one) | set(other)
    return len(set(one) & set(other)) / len(either) if either else math.nan


def cosine(one: Scores, other: Scores) -> float:
    """The cosine of two score vectors (layer, head), in [-1, 1]; NaN if one vector is zero."""
    left, right = (np.nan_to_num(values).ravel().astype(float) for values in (one, other))
    size = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / size if size else math.nan


def _top(values: Scores, most: int) -> list[Head]:
    """The `most` highest heads among those that score above 0. Heads that score 0 have nothing in common."""
    return rank_heads(values, min(most, int(np.count_nonzero(values > 0))))


def _above(values: Scores, threshold: float) -> list[Head]:
    """The heads with a score of at least the threshold; above 0 if that is 0."""
    return rank_heads(values, int(np.count_nonzero(values >= threshold if threshold else values > 0)))


def _spearman(one: Scores, other: Scores) -> float:
    both = ~(np.isnan(one) | np.isnan(other))
    return float(spearman(one[both].astype(float), other[both].astype(float)))


def measures(tops: Sequence[int], thresholds: Sequence[float]) -> dict[str, Measure]:
    """The measures that compare scores (layer, head) with a reference's, by name: `measure(reference, scores)`."""
    found: dict[str, Measure] = {}
    for top in tops:
        found[f"recall@{top}"] = lambda a, b, top=top: recall(_top(a, top), _top(b, top))  # type: ignore[misc]
        found[f"overlap@{top}"] = lambda a, b, top=top: overlap(_top(a, top), _top(b, top))  # type: ignore[misc]
    for at in thresholds:
        found[f"recall@>={at:g}" if at else "recall@>0"] = lambda a, b, at=at: recall(_above(a, at), _above(b, at))  # type: ignore[misc]
    return {**found, "cosine": cosine, "spearman": _spearman}


def compare(options: CompareOptions) -> Mapping[str, object]:
    """The measures of each model against the reference, their correlations with F1, and the measures between every two models.

    They and their figures are also written into the folder `output`.

    Raises: UsageError if the scores do not fit together.
    """
    heads = {name: HeadScores.load(place) for name, place in _named(options.heads, "--heads").items()}
    if options.reference not in heads:
        raise UsageError(f"--reference: expected one of {', '.join(heads)}, got {options.reference!r}")
    _require_alike(heads)
    wanted = measures(options.top, options.thresholds)
    reference, others = heads[options.reference], {n: h for n, h in heads.items() if n != options.reference}
    drawn = reference.resampled("reference")
    models = {
        name: _measure_all(wanted, reference, drawn, other, name)
        for name, other in with_progress(others.items(), "resampling", len(others))
    }
    f1 = {name: _f1(place) for name, place in _named(options.f1, "--f1").items()}
    unknown = sorted(set(f1) - set(heads))
    if unknown:
        raise UsageError(f"--f1: expected names of --heads, got {', '.join(unknown)}")
    _correct(models)
    correlations = _correlations(models, f1, options.reference)
    pairs = {
        m: np.array([[wanted[m](a.values, b.values) for b in heads.values()] for a in heads.values()])
        for m in wanted
        if not m.startswith("recall")
    }
    between = {m: {"models": list(heads), "values": values.tolist()} for m, values in pairs.items()}
    found = {
        "about": options.model_dump(),
        "ceilings": {name: scores.about.get("ceiling") for name, scores in heads.items()},
        "models": models,
        "f1": f1,
        "correlations": correlations,
        "between": between,
    }
    output = Path(options.output)
    _write(output, found, models, f1, correlations)
    _draw(output, options, heads, pairs, models, f1, correlations)
    return found


def _named(pairs: Sequence[str], flag: str) -> dict[str, str]:
    named = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if len(named) < len(pairs) or not all(named) or not all(named.values()):
        raise UsageError(f"{flag}: expected different NAME=FOLDER, each a word of its own; got {' '.join(pairs)}")
    return named


def _require_alike(heads: Mapping[str, HeadScores]) -> None:
    first_name, first = next(iter(heads.items()))
    for name, other in heads.items():
        for what, mine, theirs in (
            ("layers and heads", first.values.shape, other.values.shape),
            *((name, first.about.get(name), other.about.get(name)) for name in ("score", "span", "calibrate")),
        ):
            if mine != theirs:
                raise UsageError(
                    f"--heads: expected the same {what} in all, got {mine} in {first_name} and {theirs} in {name}"
                )


def _f1(place: str) -> float:
    file = Path(place) / "scores.json" if Path(place).is_dir() else Path(place)
    try:
        f1 = float(json.loads(file.read_text())["all"]["all"]["f1"]["mean"])
        if not 0 <= f1 <= 1:
            raise ValueError(f"expected an F1 in [0, 1], got {f1}")
        return f1
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = "its scores.json has no mean F1" if isinstance(error, KeyError | TypeError) else error
        raise UsageError(
            f"--f1: expected the folder of an evaluation (python training/evaluate.py), got {place}: {said}"
        ) from error


def _measure_all(
    wanted: Mapping[str, Measure], reference: HeadScores, drawn: Scores, other: HeadScores, name: str
) -> dict[str, Measured]:
    """All measures of a model. `drawn` holds the reference's resampled means (resample, layer, head)."""
    pairs = list(zip(drawn, other.resampled(name), strict=True))
    return {what: _measured(wanted[what], reference, other, pairs, name, what) for what in wanted}


def _measured(
    measure: Measure,
    reference: HeadScores,
    other: HeadScores,
    pairs: Sequence[tuple[Scores, Scores]],
    name: str,
    what: str,
) -> Measured:
    value = measure(reference.values, other.values)
    drawn = [] if math.isnan(value) else [measure(*pair) for pair in pairs]
    kept = [v for v in drawn if not math.isnan(v)]
    low, high = np.quantile(kept, [0.025, 0.975]) if kept else (math.nan, math.nan)
    p = math.nan
    if what == "spearman" and not math.isnan(value):
        both = ~(np.isnan(reference.values) | np.isnan(other.values))
        p = correlate(spearman, reference.values[both].astype(float), other.values[both].astype(float), "heads", name).p
    return Measured(value, float(low), float(high), int(np.sum(~np.isnan(other.values))), p)


def _correct(models: dict[str, dict[str, Measured]]) -> None:
    """Corrects the p-values of all models for each other."""
    tested = [(name, what) for name, by in models.items() for what in by]
    for (name, what), corrected in zip(tested, holm([models[n][w].p for n, w in tested]), strict=True):
        models[name][what] = replace(models[name][what], corrected=corrected)


def variant_of(name: str) -> str:
    """The variant in the name of a model: what stands before its last slash, or all of it."""
    return name.rpartition("/")[0] or name


def _correlations(
    models: Mapping[str, Mapping[str, Measured]], f1: Mapping[str, float], reference: str
) -> dict[str, dict[str, Correlation]]:
    """The correlations over variants, by measure and kind. Seeds of a variant count as one: the mean of them.

    The variant of the reference is left out, because its models are compared with a model of their own kind.
    """
    seeds: dict[str, list[str]] = {}
    for name in models:
        if name in f1 and variant_of(name) != variant_of(reference):
            seeds.setdefault(variant_of(name), []).append(name)
    if len(seeds) < 3:
        return {}
    y = np.array([fmean(f1[name] for name in names) for names in seeds.values()])
    found: dict[str, dict[str, Correlation]] = {}
    for measure in next(iter(models.values())):
        x = np.array([fmean(models[name][measure].value for name in names) for names in seeds.values()])
        found[measure] = {
            kind.__name__: correlate(kind, x, y, measure, kind.__name__) for kind in (spearman, kendall, pearson)
        }
    tested = [(measure, kind) for measure, kinds in found.items() for kind in kinds]
    for (measure, kind), corrected in zip(tested, holm([found[m][k].p for m, k in tested]), strict=True):
        found[measure][kind] = replace(found[measure][kind], corrected=corrected)
    return found


def _write(
    output: Path,
    found: Mapping[str, object],
    models: Mapping[str, Mapping[str, Measured]],
    f1: Mapping[str, float],
    correlations: Mapping[str, Mapping[str, Correlation]],
) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--output: expected a folder that can be made, got {output}: {error}") from error
    write_json(output / "compare.json", found)
    rows = [
        {"model": name, "f1": f1.get(name, ""), "measure": what, **asdict(measured)}
        for name, by in models.items()
        for what, measured in by.items()
    ]
    _write_csv(output / "models.csv", ["model", "f1", "measure", *Measured.__annotations__], rows)
    _write_csv(
        output / "correlations.csv",
        ["measure", "correlation", *Correlation.__annotations__],
        [
            {"measure": what, "correlation": kind, **asdict(c)}
            for what, by in correlations.items()
            for kind, c in by.items()
        ],
    )


def _write_csv(file: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(file, text.getvalue())


def _draw(
    output: Path,
    options: CompareOptions,
    heads: Mapping[str, HeadScores],
    pairs: Mapping[str, NDArray[np.float64]],
    models: Mapping[str, Mapping[str, Measured]],
    f1: Mapping[str, float],
    correlations: Mapping[str, Mapping[str, Correlation]],
) -> None:
    labels = {f"overlap@{top}": f"overlap_{top}" for top in options.top} | {"cosine": "cosine", "spearman": "spearman"}
    size = 1.8 + 0.55 * len(heads)
    for name, file in labels.items():
        with saved(output / file, (size + 0.8, size)) as axes:
            matrix(pairs[name], list(heads), f"{name} of scores", axes)
    both = [name for name in models if name in f1]
    for kind in (*(f"recall@{top}" for top in options.top), "cosine") if both else ():
        title = ""
        if correlations:
            c = correlations[kind]["spearman"]
            title = f"Spearman {c.value:.2f}, n = {c.n}, p = {c.p:.3f} ({c.corrected:.3f} corrected)"
        x, y = [models[name][kind].value for name in both], [f1[name] for name in both]
        with saved(output / f"f1_{kind.replace('@', '_')}", scatter_size(both), title) as axes:
            scatter(x, y, both, (f"{kind}, against {options.reference}", "F1"), axes)


def show_comparison(found: Mapping[str, object], output: Path) -> None:
    """Prints tables: a row for each model, and a row for each correlation."""
    models: Mapping[str, Mapping[str, Measured]] = found["models"]  # type: ignore[assignment]
    f1: Mapping[str, float] = found["f1"]  # type: ignore[assignment]
    correlations: Mapping[str, Mapping[str, Correlation]] = found["correlations"]  # type: ignore[assignment]
    measured = list(next(iter(models.values()))) if models else []
    shown = [name for name in measured if name.startswith("recall@") and ">" not in name] + ["cosine", "spearman"]
    rows = [
        (name, *([f"{f1[name]:.3f}" if name in f1 else "-"] if f1 else []), *(f"{by[m].value:.2f}" for m in shown))
        for name, by in models.items()
    ]
    out.print(table({"": "left", **dict.fromkeys((*(["F1"] if f1 else []), *shown), "right")}, rows))
    if correlations:
        rows = [
            (what, f"{c.value:.2f}", f"[{c.low:.2f}, {c.high:.2f}]", f"{c.p:.3f}", f"{c.corrected:.3f}", str(c.n))
            for what, c in ((what, kinds["spearman"]) for what, kinds in correlations.items())
        ]
        columns = {"with F1": "left", **dict.fromkeys(("spearman", "95 %", "p", "corrected", "n"), "right")}
        out.print(table(columns, rows))
    elif f1:
        out.print("expected F1 of three variants or more besides the reference's for correlations: there are none")
    ceilings = [ceiling for ceiling in found["ceilings"].values() if ceiling is not None]  # type: ignore[attr-defined]
    if ceilings and max(ceilings) - min(ceilings) > _CEILINGS_APART:
        out.print(
            f"the highest possible scores differ, from {min(ceilings):.2f} to {max(ceilings):.2f} (compare.json): score all models on the "
            "same rows before you compare how many heads they have",
            soft_wrap=True,
        )
    out.print(f"{output}: compare.json, models.csv, correlations.csv and figures", soft_wrap=True)
