"""Figures of heads, each as SVG and PNG: readable in print, and in colours that colour-blind people can tell apart."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.heads import HeadScores
from synthctx_data.files import whole
from training.answer_scores import Mean

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # the palette of Okabe and Ito
_MARKERS = "osD^vPX"
_MEANINGS = {
    "wu": "wu: share of the answer that is copied",
    "wu_forced": "wu_forced: share of the answer that is copied",
    "mass": "mass: attention on the needles",
    "logit": "logit: added to the answer's logits",
    "edge": "edge: log-probability lost (nats)",
    "ablate": "ablate: log-probability lost (nats)",
}
_STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "synthctx",
    "legend.frameon": False,
}


@contextmanager
def _drawn(file: Path, size: tuple[float, float]) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes, which are saved as FILE.svg and FILE.png at the end of `with`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from cycler import cycler
    from matplotlib import pyplot as plt

    with mpl.rc_context({**_STYLE, "axes.prop_cycle": cycler(color=_COLOURS)}):  # type: ignore[dict-item]
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        try:
            yield figure, axes
            file.parent.mkdir(parents=True, exist_ok=True)
            for kind, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 200})):
                with whole(file.with_name(f"{file.name}.{kind}")) as aside:
                    figure.savefig(aside, format=kind, **options)
        finally:
            plt.close(figure)


def meaning(heads: HeadScores) -> str:
    """A label for the scores: their name and meaning in a few words."""
    score = str(heads.about.get("score", "score"))
    return _MEANINGS.get(score, score)


def heatmap(heads: HeadScores, file: Path, title: str = "") -> None:
    """Draws a map of the scores of all heads, one row for each layer. If scores are signed, 0 is white."""
    values = heads.values
    layers, count = values.shape
    signed = bool(np.nanmin(values) < 0)
    most = float(np.nanmax(np.abs(values))) or 1.0
    with _drawn(file, (min(1.8 + 0.22 * count, 11), min(1.2 + 0.2 * layers, 9))) as (figure, axes):
        image = axes.imshow(
            values,
            cmap="PuOr_r" if signed else "cividis",
            vmin=-most if signed else 0,
            vmax=most,
            aspect="auto",
            interpolation="none",
        )
        axes.set(xlabel="head", ylabel="layer", title=title)
        axes.set_xticks(_ticks(count))
        axes.set_yticks(_ticks(layers))
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.colorbar(image, ax=axes, label=meaning(heads), shrink=0.9)


def _ticks(count: int) -> range:
    return range(0, count, max(1, count // 16))


def histogram(heads: HeadScores, file: Path, title: str = "") -> None:
    """Draws a histogram of the scores of all heads."""
    values = heads.values[~np.isnan(heads.values)]
    with _drawn(file, (4, 2.6)) as (_, axes):
        axes.hist(values, bins=40)
        axes.set_yscale("log")
        axes.set(xlabel=meaning(heads), ylabel="heads", title=title)


def matrix(values: NDArray[np.float64], names: Sequence[str], file: Path, label: str) -> None:
    """Draws a matrix (model, model) with its numbers, in colours from 0 to 1."""
    size = 1.8 + 0.55 * len(names)
    with _drawn(file, (size + 0.8, size)) as (figure, axes):
        image = axes.imshow(values, cmap="cividis", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        for (row, column), value in np.ndenumerate(values):
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                color="black" if value > 0.5 else "white",
                fontsize=7,
            )
        figure.colorbar(image, ax=axes, label=label, shrink=0.8)


def scatter(
    x: Sequence[float], y: Sequence[float], names: Sequence[str], file: Path, labels: tuple[str, str], title: str
) -> None:
    """Draws a point with a name for each model."""
    with _drawn(file, (4, 3)) as (_, axes):
        for i, (left, right, name) in enumerate(zip(x, y, names, strict=True)):
            axes.plot(
                left, right, marker=_MARKERS[i % len(_MARKERS)], linestyle="none", color=_COLOURS[i % len(_COLOURS)]
            )
            axes.annotate(name, (left, right), textcoords="offset points", xytext=(4, 4), fontsize=6)
        axes.margins(0.15)
        axes.set(xlabel=labels[0], ylabel=labels[1], title=title)


def curves(lines: Mapping[str, Mapping[int, Mean]], file: Path, labels: tuple[str, str], title: str = "") -> None:
    """Draws lines of means with their intervals. `lines` has the points of each line by name: its means by their x."""
    with _drawn(file, (4.4, 3)) as (_, axes):
        for i, (name, points) in enumerate(lines.items()):
            at = sorted(points)
            means = [points[x] for x in at]
            axes.fill_between(at, [m.low for m in means], [m.high for m in means], alpha=0.15, linewidth=0)
            axes.plot(at, [m.mean for m in means], marker=_MARKERS[i % len(_MARKERS)], markersize=4, label=name)
        axes.set(ylim=(-0.02, 1.02), xlabel=labels[0], ylabel=labels[1], title=title)
        axes.legend(fontsize=7)


def depths(scores: Mapping[str, Mean], file: Path, label: str, title: str = "") -> None:
    """Draws mean scores with their intervals by the depth of the needles in the context: the tenths "0.0" to "0.9"."""
    at = [float(depth) + 0.05 for depth in scores]
    means = list(scores.values())
    with _drawn(file, (4.4, 2.8)) as (_, axes):
        below, above = [max(m.mean - m.low, 0) for m in means], [max(m.high - m.mean, 0) for m in means]
        axes.errorbar(at, [m.mean for m in means], yerr=[below, above], marker="o", capsize=3, linestyle="none")
        axes.set(xlim=(0, 1), xlabel="depth of the needles in the context", ylabel=label, title=title)
        axes.set_ylim(bottom=min(0, *axes.get_ylim()))


def bars(means: Mapping[str, Mean], file: Path, label: str, title: str = "") -> None:
    """Draws a bar for each mean, with its interval."""
    with _drawn(file, (1.2 + 0.7 * len(means), 2.8)) as (_, axes):
        for i, mean in enumerate(means.values()):
            below, above = max(mean.mean - mean.low, 0), max(mean.high - mean.mean, 0)
            axes.bar(i, mean.mean, yerr=[[below], [above]], capsize=3, color=_COLOURS[i % len(_COLOURS)])
        axes.set_xticks(range(len(means)), means, rotation=30, ha="right")
        axes.set(ylim=(0, 1.02), ylabel=label, title=title)
