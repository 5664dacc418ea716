"""The plot of an evaluation."""

from collections.abc import Mapping
from pathlib import Path

from synthctx_data.files import whole
from training.answer_scores import Mean


def depth_plot(groups: Mapping[str, Mapping[str, Mean]], file: Path, title: str) -> None:
    """Writes the plot of F1 by depth, with intervals, as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    at = [float(group) + 0.05 for group in groups]
    f1 = [means["f1"] for means in groups.values()]
    axes.fill_between(at, [m.low for m in f1], [m.high for m in f1], alpha=0.2, linewidth=0)
    axes.plot(at, [m.mean for m in f1], marker="o")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="depth of the needles in the context", ylabel="F1")
    axes.set_title(title, fontsize=8)
    with whole(file) as aside:
        figure.savefig(aside, dpi=150, format="png")
    plt.close(figure)
