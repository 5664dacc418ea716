"""Writes the report: tables and figures of what was found, each figure also as SVG and as data."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from analysis.figures import curves, scatter, scatter_size
from analysis.heads import HeadScores
from analysis.reporting.collect import Answered, Changed, Found, by_data, labels
from analysis.reporting.differences import differences
from analysis.reporting.findings import findings
from analysis.reporting.head_map import head_map, highest_of
from analysis.reporting.looks import looks
from analysis.reporting.parts import Part, Section, Table, said
from analysis.reporting.runs import runs
from analysis.reporting.words import words
from synthctx_data import __version__
from synthctx_data.errors import DatasetError
from synthctx_data.files import whole
from synthctx_data.pages import rendered
from training.answer_scores import Mean
from training.plots import Size, bars, bars_size, saved

_HERE = Path(__file__).parent
_TOP = 10  # heads that a table shows
_AXES = ("heads knocked out", "F1")
_THRESHOLD = "recall@"  # how the names of recalls begin in a comparison
_CURVES = {name: f"random heads, {name}" for name in ("same layers", "other layers", "all layers")}
_CONDITIONS = {
    "highest heads": "highest heads: those with the highest scores",
    **{name: f"{label}: as many, as a control" for name, label in _CURVES.items()},
    "recipient": "recipient: the model as it is",
    "donor": "donor: the model whose heads are copied",
    "intersect": "intersect: outputs of the heads that are among the highest of both",
    "complement": "complement: outputs of the donor's highest heads that are not among the recipient's",
    "random": "random: outputs of as many random heads, as a control",
}


def write_report(found: Found, file: Path, title: str) -> Path:
    """The file of the report, whole or absent."""
    makers = (findings, _evaluations, _heads, _recall, _knockouts, _patches, differences, looks, runs, words)
    sections = [section for section in (_made(make, found) for make in makers) if section.parts or section.points]
    page = rendered(
        _HERE / "report.html.jinja",
        said=said,
        title=title,
        version=__version__,
        sections=sections,
        script=(_HERE / "looks.js").read_text(encoding="utf-8") if found.traces else "",
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as aside:
        aside.write_text(page, encoding="utf-8")
    return file


def _made(make: Callable[[Found], Section], found: Found) -> Section:
    try:
        return make(found)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, StopIteration) as error:
        name = make.__name__.strip("_")
        raise DatasetError(f"expected results as synthctx writes them, and some are not ({name}): {error!r}") from error


def _evaluations(found: Found) -> Section:
    parts = []
    for data, models in by_data(found.evaluations).items():
        called = labels(models)
        names = list(dict.fromkeys(name for one in models for name in one.scores))
        rows = [
            [label, *(one.scores.get(name) for name in names), _rows(one)]
            for label, one in zip(called, models, strict=True)
        ]
        first = {label: next(iter(one.scores.values())) for label, one in zip(called, models, strict=True)}
        figure = _drawn(bars_size(first), bars, first, names[0])
        parts.append(Part(data, figure, f"{names[0]} of each model", tables=[Table(["model", *names, "rows"], rows)]))
    says = (
        "Means over the rows of a data set, with 95 % intervals in brackets. F1 falls with each word that an answer has too many, so "
        "that short answers score higher; subspan_em does not."
    )
    return Section("scores", "Scores", says, parts)


def _heads(found: Found) -> Section:
    parts: list[Part] = []
    most: dict[Any, float] = {}
    for _, heads in found.heads:  # maps of one score have one scale
        most[heads.about.get("score")] = max(most.get(heads.about.get("score"), 0), highest_of(heads))
    for folder, heads in found.heads:
        low, high = heads.intervals()
        rows = [
            [f"{layer}-{head}", *(f"{float(of[layer, head]):.4f}" for of in (heads.values, low, high))]
            for layer, head in heads.ranked()
        ]
        every = Table(["head", "score", "low", "high"], rows)
        parts.append(
            Part(
                str(folder),
                head_map(heads, strongest := most[heads.about.get("score")]),
                "Map of heads",
                True,
                [every],
                f"{_scored(heads)} The strongest colour is a score of {strongest:.3g}. The table has all heads, the highest first.",
            )
        )
    says = (
        "A retrieval head looks back at the needle, the passage that answers the question, and copies from it while the model "
        "answers: it has a high score. Each cell of a map is a head: layer by row, head by column. Point at one for its name, its "
        "score and its 95 % interval, or read the table."
    )
    return Section("heads", "Heads", says, parts)


def _scored(heads: HeadScores) -> str:
    highest = ", ".join(f"{layer}-{head}" for layer, head in heads.top(_TOP))
    return f"Score {heads.about.get('score', '?')}, over {len(heads.examples)} rows. Highest: {highest}."


def _recall(found: Found) -> Section:
    """F1 against what the heads of models have in common with the reference's."""
    parts = []
    for folder, compared in found.comparisons:
        models = [name for name in compared.get("f1", {}) if name in compared["models"]]
        for measure, correlation in compared.get("correlations", {}).items():
            if not (models and measure.startswith(_THRESHOLD) and measure in compared["models"][models[0]]):
                continue
            x = [compared["models"][name][measure]["value"] for name in models]
            y = [compared["f1"][name] for name in models]
            figure = _drawn(scatter_size(models), scatter, x, y, models, (measure, "F1"))
            table = Table(
                ["model", measure, "F1"],
                [[name, f"{a:.3f}", f"{b:.3f}"] for name, a, b in zip(models, x, y, strict=True)],
            )
            parts.append(
                Part(f"{folder}: {measure}", figure, f"F1 by {measure}", tables=[table], note=_correlated(correlation))
            )
    says = (
        "Recall is the share of the reference's heads that are among a model's. Correlations are over models (seeds averaged): p is "
        "for other models, the interval for other rows. With few models they tell little."
    )
    return Section("recall", "F1 against recall of heads", says, parts)


def _correlated(correlation: dict[str, Any]) -> str:
    one = correlation.get("spearman")
    if not one or one.get("value") is None:
        return ""
    p = f", p {one['p']:.3f}" if one.get("p") is not None else ""
    corrected = f" ({one['corrected']:.3f} corrected)" if one.get("corrected") is not None else ""
    return f"Spearman {one['value']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}] over {one['n']} models{p}{corrected}."


def _knockouts(found: Found) -> Section:
    parts = [
        Part(
            f"{one.model} on {one.data}",
            _drawn((4.8, 3.2), curves, {_CURVES.get(name, name): line for name, line in one.f1.items()}, _AXES),
            "F1 by the number of heads that are knocked out",
            tables=[_conditions(one)],
            note=_knocked(one),
        )
        for one in found.knockouts
    ]
    says = (
        "F1 of a model that answers without some heads. What it loses without its highest heads is to be held against what it loses "
        "without as many random ones."
    )
    return Section("knockout", "Knockout", says, parts)


def _knocked(one: Changed) -> str:
    """How heads were knocked out, and by which scores and on which rows they were chosen."""
    return (
        f"Heads are ranked by {one.about.get('heads', '?')}, over {one.ranked_on}. Mode {one.about.get('mode')}, phase "
        f"{one.about.get('phase')}. Each control is the mean of {one.about.get('seeds', '?')} draws."
    )


def _patches(found: Found) -> Section:
    parts = [
        Part(
            f"{one.model} on {one.data}",
            _drawn(bars_size(_flat(one)), bars, _flat(one), "F1"),
            "F1 under each condition",
            tables=[_conditions(one)],
            note=f"The donor is {one.about['options'].get('donor_adapter') or one.about['options'].get('donor_model')}.",
        )
        for one in found.patches
    ]
    says = "F1 of a model (recipient) with outputs of another model's heads (donor) in place of its own."
    return Section("patching", "Patching", says, parts)


def _flat(one: Changed) -> dict[str, Mean]:
    return {name: next(iter(points.values())) for name, points in one.f1.items()}


def _conditions(one: Changed) -> Table:
    rows = [
        [_CONDITIONS.get(name, name), number, mean, mean.rows]
        for name, points in one.f1.items()
        for number, mean in points.items()
    ]
    return Table(["condition", "heads", "F1", "rows"], rows)


def _rows(one: Answered) -> int:
    return next(iter(one.scores.values())).rows


def _drawn(size: Size, draw: Callable[..., object], *values: object) -> str:
    """The SVG of a figure that `draw` draws of some values into axes."""
    with TemporaryDirectory() as folder:
        with saved(Path(folder) / "figure", size) as axes:
            draw(*values, axes)
        return (Path(folder) / "figure.svg").read_text(encoding="utf-8")
