"""Figures of means, and the axes that all figures are drawn into: readable in print, and for colour-blind people.

Each function draws into axes of matplotlib, or into new ones, and gives them back. `saved` makes axes for a file.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synthctx_data.files import whole
from training.answer_scores import Mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Size = tuple[float, float]  # width and height in inches
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # the palette of Okabe and Ito
_STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "synthctx",
    "legend.frameon": False,
    "text.parse_math": False,  # a path may hold a dollar sign
}
_LETTER = 0.07  # the mean width of a letter in inches


@contextmanager
def saved(file: Path, size: Size, title: str = "") -> Iterator["Axes"]:
    """Axes that are saved as FILE.svg and FILE.png at the end of `with`. The backend of matplotlib stays as it is."""
    with saved_grid(file, (1, 1), size, title) as grid:
        yield grid[0][0]


@contextmanager
def saved_grid(file: Path, shape: tuple[int, int], size: Size, title: str = "") -> Iterator[list[list["Axes"]]]:
    """A grid of axes (row, column), each of this size, that are saved as `saved` does."""
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "axes.prop_cycle": cycler(color=COLOURS)}):  # type: ignore[dict-item]
        width = shape[1] * size[0]
        figure = Figure(figsize=(width, shape[0] * size[1]), layout="constrained")
        FigureCanvasAgg(figure)
        lines = [part for line in title.split("\n") for part in textwrap.wrap(line, int(width / _LETTER)) or [""]]
        figure.suptitle("\n".join(lines), fontsize=8)
        yield figure.subplots(*shape, squeeze=False).tolist()
        file.parent.mkdir(parents=True, exist_ok=True)
        for kind, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 200})):
            with whole(file.with_name(f"{file.name}.{kind}")) as aside:
                figure.savefig(aside, format=kind, **options)


def axes_for(axes: "Axes | None", size: Size) -> "Axes":
    """The axes, or those of a new figure under pyplot, which a notebook shows."""
    if axes is not None:
        return axes
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]


def depths(scores: Mapping[str, Mean], label: str, ax: "Axes | None" = None) -> "Axes":
    """The axes, with means and their intervals by the depth of the needles in the context: the tenths "0.0" to "0.9"."""
    axes = axes_for(ax, (4.4, 2.8))
    means = list(scores.values())
    axes.errorbar(
        [float(depth) + 0.05 for depth in scores],
        [mean.mean for mean in means],
        yerr=_lengths(means),
        marker="o",
        capsize=3,
        linestyle="none",
    )
    axes.set(xlim=(0, 1), xlabel="depth of the needles in the context", ylabel=label)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    return axes


def bars(means: Mapping[str, Mean], label: str, ax: "Axes | None" = None) -> "Axes":
    """The axes, with a bar for each mean, and its interval if it has one."""
    axes, values = axes_for(ax, bars_size(means)), list(means.values())
    axes.bar(range(len(values)), [mean.mean for mean in values], yerr=_lengths(values), capsize=3, color=COLOURS[0])
    axes.set_xticks(range(len(values)), list(means), rotation=30, ha="right")
    axes.set_ylabel(label)
    low, high = axes.get_ylim()
    axes.set_ylim(min(0, low), max(1.02, high))
    return axes


def bars_size(means: Mapping[str, Mean]) -> Size:
    """The size of a figure in which each bar has room."""
    return 1.6 + 0.7 * len(means), 3.2


def side_by_side(sets: Mapping[str, Mapping[str, Mean]], label: str, ax: "Axes | None" = None) -> "Axes":
    """The axes, with the means of several models on each data set beside each other, and their intervals."""
    axes = axes_for(ax, side_by_side_size(sets))
    models = list(dict.fromkeys(model for means in sets.values() for model in means))
    for number, model in enumerate(models):
        at = [i for i, means in enumerate(sets.values()) if model in means]
        found = [means[model] for means in sets.values() if model in means]
        axes.bar(
            [i + (number + 0.5) / len(models) * 0.8 - 0.4 for i in at],
            [mean.mean for mean in found],
            0.8 / len(models),
            yerr=_lengths(found),
            capsize=2,
            label=model,
        )
    axes.set_xticks(range(len(sets)), list(sets), rotation=30, ha="right")
    axes.set_ylabel(label)
    axes.set_ylim(0, max(1.02, axes.get_ylim()[1]))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return axes


def side_by_side_size(sets: Mapping[str, Mapping[str, Mean]]) -> Size:
    """The size of a figure in which each bar has room."""
    return 4.6 + 0.3 * sum(map(len, sets.values())), 3.6


def _lengths(means: Sequence[Mean]) -> NDArray[np.float64]:
    """The lengths (2, mean) of intervals below and above their means; 0 where there is no interval."""
    below, above = [m.mean - m.low for m in means], [m.high - m.mean for m in means]
    return np.nan_to_num(np.maximum([below, above], 0))
