"""Figures of heads. Each function draws into axes of matplotlib, or into new ones, and gives them back."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.heads import HeadScores, Scores
from training.answer_scores import Mean
from training.plots import COLOURS, Size, axes_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "osD^vPX"
_NAMED = 6  # points that have their names beside them, at most
_MEANINGS = {
    "wu": "wu: copied tokens per token of the answer",
    "wu_forced": "wu_forced: share of the answer that is copied",
    "mass": "mass: attention on the needles",
    "qrhead": "qrhead: attention on the documents",
    "logit": "logit: added to the answer's logits",
    "edge": "edge: log-probability lost (nats)",
    "ablate": "ablate: log-probability lost (nats)",
}


def meaning(heads: HeadScores) -> str:
    """A label for the scores: their name and meaning in a few words."""
    score = str(heads.about.get("score", "score"))
    return _MEANINGS.get(score, score)


def map_size(heads: HeadScores) -> Size:
    """The size of a map of the scores, in which each head has room."""
    layers, count = heads.values.shape
    return min(2.4 + 0.22 * count, 11), max(min(1.2 + 0.2 * layers, 9), 2.6)


def plain_map(values: Scores, axes: "Axes", most_ticks: int = 16) -> Any:
    """The image of scores (layer, head) in axes, without a scale. If scores are signed, 0 is white."""
    signed = bool(np.nanmin(values) < 0)
    most = float(np.nanmax(np.abs(values))) or 1.0
    axes.set(
        xlabel="head",
        ylabel="layer",
        xticks=_ticks(values.shape[1], most_ticks),
        yticks=_ticks(values.shape[0], most_ticks),
    )
    axes.spines[:].set_visible(False)
    return axes.imshow(
        values,
        cmap="PuOr_r" if signed else "cividis",
        vmin=-most if signed else 0,
        vmax=most,
        aspect="auto",
        interpolation="none",
    )


def heatmap(heads: HeadScores, ax: "Axes | None" = None) -> "Axes":
    """The axes, with a map of the scores of all heads, one row for each layer. If scores are signed, 0 is white."""
    axes = axes_for(ax, map_size(heads))
    image = plain_map(heads.values, axes)
    label = "\n".join(textwrap.wrap(meaning(heads), 28))
    axes.get_figure().colorbar(image, ax=axes, label=label, shrink=0.9)  # type: ignore[union-attr]
    return axes


def _ticks(count: int, most: int) -> list[int]:
    return list(range(0, count, -(-count // most)))


def histogram(heads: HeadScores, ax: "Axes | None" = None) -> "Axes":
    """The axes, with a histogram of the scores of all heads."""
    axes = axes_for(ax, (4, 2.6))
    axes.hist(heads.values[~np.isnan(heads.values)], bins=40)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")  # the usual one writes powers as mathematics, which is switched off
    axes.yaxis.set_minor_formatter("")
    axes.set(xlabel="\n".join(textwrap.wrap(meaning(heads), 40)), ylabel="heads")
    return axes


def matrix(values: NDArray[np.float64], names: Sequence[str], label: str, ax: "Axes | None" = None) -> "Axes":
    """The axes, with a matrix (model, model) and its numbers, in colours from 0 to 1, or from -1 if a number is below 0."""
    axes = axes_for(ax, (2.6 + 0.55 * len(names), 1.8 + 0.55 * len(names)))
    least = -1 if np.nanmin(values) < 0 else 0
    image = axes.imshow(values, cmap="cividis", vmin=least, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > (1 + least) / 2 else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)
    axes.get_figure().colorbar(image, ax=axes, label=label, shrink=0.8)  # type: ignore[union-attr]
    return axes


def scatter_size(names: Sequence[str]) -> Size:
    """The size of a scatter of points with these names: with room for a legend, where they are many."""
    if len(names) <= _NAMED:
        return 4.4, 3.2
    return 4.4 + 0.07 * max(map(len, names)), max(3.2, 0.8 + 0.13 * len(names))


def scatter(
    x: Sequence[float], y: Sequence[float], names: Sequence[str], labels: tuple[str, str], ax: "Axes | None" = None
) -> "Axes":
    """The axes, with a point and a name for each model."""
    axes = axes_for(ax, (4, 3))
    for i, (left, right, name) in enumerate(zip(x, y, names, strict=True)):
        axes.plot(left, right, marker=_MARKERS[i % len(_MARKERS)], linestyle="none", color=COLOURS[i % len(COLOURS)])
        if len(names) <= _NAMED:
            axes.annotate(name, (left, right), textcoords="offset points", xytext=(4, 4), fontsize=6)
    if len(names) > _NAMED:  # beside each other, they could not be read
        axes.legend(names, fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.margins(0.15)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    return axes


def curves(lines: Mapping[str, Mapping[int, Mean]], labels: tuple[str, str], ax: "Axes | None" = None) -> "Axes":
    """The axes, with lines of means and their intervals. `lines` has the points of each line by name: its means by their x."""
    axes = axes_for(ax, (4.4, 3))
    for i, (name, points) in enumerate(lines.items()):
        at = sorted(points)
        means = [points[x] for x in at]
        axes.fill_between(at, [m.low for m in means], [m.high for m in means], alpha=0.15, linewidth=0)
        axes.plot(at, [m.mean for m in means], marker=_MARKERS[i % len(_MARKERS)], markersize=4, label=name)
    axes.set(ylim=(-0.02, 1.02), xlabel=labels[0], ylabel=labels[1])
    axes.legend(fontsize=7, loc="upper right")
    return axes
