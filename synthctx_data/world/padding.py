"""Padding: a few sentences, repeated until the context is full."""

from collections.abc import Iterator
from itertools import repeat

from synthctx_data.example import Document, Page
from synthctx_data.layout import Layout

# Plain sentences about nothing in particular, without a name or a number that a question could ask for.
_SENTENCES = (
    "The morning was quiet and the streets were still wet from the rain.",
    "Somebody had left a window open, and the curtain moved a little.",
    "On the table lay a cup, a spoon and a folded newspaper.",
    "Outside, people walked by on their way to work.",
    "After a while the sun came out, and it grew warmer.",
)


def padding(layout: Layout) -> Iterator[Page]:
    """Endless copies of one page of padding sentences."""
    return repeat(layout.page(Document("", " ".join(_SENTENCES))))
