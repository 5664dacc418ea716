"""How many documents contain an insight: the same in every variant, if the budget has room for them."""

from collections.abc import Sequence

from synthctx_data.example import Concept, Needle, Page, Span
from synthctx_data.seeding import rng
from synthctx_data.task import Setting

MOST = 10  # documents that are cited


def draw_citations(setting: Setting, split: str, index: int) -> int:
    """The documents that an example cites, 1 to 10, each number as likely."""
    return 1 + rng(setting.options.seed, setting.task, split, index, "citations").below(MOST)


def citing_concept(setting: Setting, insight: str, found: Sequence[tuple[Page, Span]], writer: str = "") -> Concept:
    """The concept that asks which documents contain an insight; `found` are these, and where in their bodies they state it.

    `writer` is the model that wrote them, if one did. Of documents that would take more than half of the budget, the last ones are left
    out.
    """
    needles: list[Needle] = []
    tokens = 0
    for page, span in found:
        tokens += page.tokens
        if needles and tokens > setting.options.max_tokens // 2:
            break
        needles.append(Needle(page, span, span))
    return Concept(insight, "", (), tuple(needles), cites=True, writer=writer)
