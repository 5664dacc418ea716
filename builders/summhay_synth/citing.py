"""The number of documents that contain an insight. It is the same in every variant, if the budget has room for them."""

from collections.abc import Sequence

from synthctx_data.example import Concept, Needle, Page, Span
from synthctx_data.seeding import Stream, rng
from synthctx_data.task import Setting

MOST = 10  # documents that are cited
_SHARE = 3  # the documents that are cited have at most this part of the budget


def draw_citations(setting: Setting, split: str, index: int) -> int:
    """The number of documents that an example cites, from 1 to 10, all equally likely."""
    return 1 + rng(setting.options.seed, setting.task, split, index, "citations").below(MOST)


def draw_rival_citations(stream: Stream, most: int) -> int:
    """The number of documents that contain an insight which is not asked for, from 1 to 10, but at most `most`."""
    return min(1 + stream.below(MOST), most)


def most_citations(setting: Setting, concept: Concept) -> int:
    """About the number of documents that a third of the budget holds, if all have the tokens of the first needle."""
    return max(setting.options.max_tokens // _SHARE // concept.needles[0].page.tokens, 1)


def citing_concept(setting: Setting, insight: str, found: Sequence[tuple[Page, Span]], writer: str = "") -> Concept:
    """The concept that asks which documents contain an insight.

    `found` holds the page of each of these documents, with the span of the insight in characters of its body. `writer` is
    the language model that wrote them, if any. If they need more tokens than a third of the budget, the last ones are
    left out: so there is room for as many documents of other insights.
    """
    needles: list[Needle] = []
    tokens = 0
    for page, span in found:
        tokens += page.tokens
        if needles and tokens > setting.options.max_tokens // _SHARE:
            break
        needles.append(Needle(page, span, span))
    return Concept(insight, "", (), tuple(needles), cites=True, writer=writer)
