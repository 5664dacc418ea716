"""The picture in a card: histograms of the tokens of a variant's rows, and of the depths of their needles."""

from synthctx_data.files import Place, whole
from synthctx_data.survey import Survey

PLOT = "tokens_and_depths.png"
_TOKEN_BINS = 30
_DEPTH_BINS = 20


def draw_card_picture(survey: Survey, title: str, file: Place) -> None:
    """Writes the picture as PNG: the tokens of each row by split, and the depths of needles by hop."""
    from matplotlib.figure import Figure  # takes a third of a second, which other commands do not wait for
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    splits = list(survey.splits)
    left.hist([survey.splits[split].tokens for split in splits], bins=_TOKEN_BINS, stacked=True, label=splits)
    left.set(xlabel="tokens of a row", ylabel="rows")
    left.ticklabel_format(style="plain", useOffset=False)
    left.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    left.legend(frameon=False, loc="upper right")  # the best place takes long to find
    depths: dict[int, list[float]] = {}
    for split in survey.splits.values():
        for hop, mine in split.depths.items():
            depths.setdefault(hop, []).extend(mine)
    hops = sorted(depths)
    labels = [f"hop {hop}" for hop in hops]
    right.hist([depths[hop] for hop in hops], bins=_DEPTH_BINS, range=(0, 1), stacked=True, label=labels)
    right.set(xlabel="depth of a needle: 0 first document, 1 last", ylabel="needles")
    if len(hops) > 1:
        right.legend(frameon=False, loc="upper right")
    for axes in (left, right):
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.suptitle(title, fontsize="medium")
    with whole(file) as aside:
        figure.savefig(aside, format="png", dpi=120, metadata={"Software": None})
