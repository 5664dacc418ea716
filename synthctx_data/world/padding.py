"""Padding: a few sentences, repeated until the context is full."""

from collections.abc import Iterator, Mapping
from itertools import repeat

from synthctx_data.example import Document, Page
from synthctx_data.layout import Layout

# Sentences about nothing in particular, without a name or a number that a question could ask for.
PADDING_TEXTS: Mapping[str, str] = {
    "own": "The morning was quiet and the streets were still wet from the rain. Somebody had left a window open, and the curtain moved a "
    "little. On the table lay a cup, a spoon and a folded newspaper. Outside, people walked by on their way to work. After a while the "
    "sun came out, and it grew warmer.",
    # Source: the passkey task of Mohtashami and Jaggi 2023 (arXiv 2305.16300), and RULER (arXiv 2404.06654).
    "stock": "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.",
}


def padding(layout: Layout, text: str) -> Iterator[Page]:
    """Endless copies of one page of padding sentences. `text` is a key of PADDING_TEXTS."""
    return repeat(layout.page(Document("", PADDING_TEXTS[text])))
