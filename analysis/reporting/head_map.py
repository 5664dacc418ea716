"""A map of heads as SVG, each of whose cells names its head, its score and the interval."""

import math
from html import escape

from analysis.figures import meaning
from analysis.heads import HeadScores

_CELL, _GAP, _LEFT, _TOP = 18, 2, 44, 20  # in pixels
_PALE, _STRONG = (242, 245, 250), (0, 76, 153)  # of 0 and of the highest score
_NEGATIVE = (178, 60, 0)


def highest_of(heads: HeadScores) -> float:
    """The score farthest from 0; 1 if all are 0."""
    return max((abs(float(value)) for value in heads.values.flat if not math.isnan(value)), default=1.0) or 1.0


def head_map(heads: HeadScores, most: float) -> str:
    """The SVG: a row for each layer, a column for each head, and in each cell a title such as "23-2: 0.471 [0.402, 0.533]".

    A score of `most` has the strongest colour, so that several maps may have one scale.
    """
    values, (low, high) = heads.values, heads.intervals()
    layers, count = values.shape
    cells = [
        _cell(layer, head, (float(values[layer, head]), float(low[layer, head]), float(high[layer, head])), most)
        for layer in range(layers)
        for head in range(count)
    ]
    step = _CELL + _GAP
    width, height = _LEFT + count * step, _TOP + layers * step
    rows = [_label(_LEFT - 6, _TOP + layer * step + 13, "end", layer) for layer in range(layers)]
    columns = [_label(_LEFT + head * step + _CELL / 2, _TOP - 6, "middle", head) for head in range(count)]
    about = f"{escape(meaning(heads))}: {layers} layers of {count} heads; the strongest colour is {most:.3g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{about}" font-family="sans-serif" font-size="10">{"".join([*rows, *columns, *cells])}</svg>'
    )


def _cell(layer: int, head: int, scored: tuple[float, float, float], most: float) -> str:
    value, low, high = scored
    x, y = _LEFT + head * (_CELL + _GAP), _TOP + layer * (_CELL + _GAP)
    said = "no score" if math.isnan(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
    return (
        f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" fill="{_colour(value, most)}">'
        f"<title>{layer}-{head}: {said}</title></rect>"
    )


def _colour(value: float, most: float) -> str:
    if math.isnan(value):
        return "none"
    end, share = _NEGATIVE if value < 0 else _STRONG, abs(value) / most
    red, green, blue = (round(pale + (strong - pale) * share) for pale, strong in zip(_PALE, end, strict=True))
    return f"rgb({red},{green},{blue})"


def _label(x: float, y: float, anchor: str, number: int) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="currentColor">{number}</text>'
