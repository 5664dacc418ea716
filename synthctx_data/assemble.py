"""Contexts: documents that fill the token budget, needles placed by depth, and the spans of both."""

import string
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, islice, product
from operator import itemgetter
from typing import NamedTuple

from synthctx_data.errors import BudgetError, TokenizerError
from synthctx_data.example import Concept, Document, Page, PlacedNeedle, cite
from synthctx_data.layout import Frame, Layout
from synthctx_data.matching import comparable, comparables, holds
from synthctx_data.seeding import Stream

MIN_FILL = 0.99  # the share of max_tokens that every example uses at least
MOST_UNKNOWN = 0.01  # the largest share of tokens that the tokenizer does not know
_PROBED_PAGES = 32
_MOST_ROUNDS = 16
_VISIBLE = string.ascii_letters + string.digits + string.punctuation
_LOOKAHEAD = 7  # further documents that may be cut to the tokens that are left, where the next one cannot
_SPARES = 24  # further documents that others may be exchanged for, where none can be cut at the end of a sentence
_MOST_TRIES = 64  # failed attempts to cut a document to the tokens that are left, in one context


@dataclass(frozen=True, slots=True)
class Context:
    """A user message and its answer, with its documents and needles as spans in characters of the message.

    `edges` holds the start and the end of every document in turn. `num_tokens` is the number of tokens of the whole
    training sequence, and `planned` the number that it was planned to have.
    """

    prompt: str
    completion: str
    edges: "array[int]"
    needles: tuple[PlacedNeedle, ...]
    sources: tuple[tuple[str, str], ...]
    num_tokens: int = 0
    planned: int = 0


class Gap(NamedTuple):
    """The fewest and the most tokens that further documents may have, numbers included."""

    least: int
    most: int


def least_tokens(max_tokens: int) -> int:
    """The fewest tokens that an example of this budget may have."""
    return max_tokens - int(max_tokens * (1 - MIN_FILL))


def assemble(
    layout: Layout,
    concept: Concept,
    fillers: Iterator[Page],
    depths: Sequence[float],
    max_tokens: int,
    order: Stream,
    unseen: int = 0,
    margin: int = 0,
) -> Context:
    """The context of a concept: its needles among fillers, planned to have 99 to 100 % of `max_tokens`.

    `fillers` are taken in their order, the most wanted first. Those that were taken are then shuffled by `order`. `depths`
    holds a number in [0, 1] for every needle, the share of the fillers' tokens that stand before it. `unseen` is the number
    of tokens (possibly negative) that the whole has beyond the sum of its units: 0 where counts add up. `margin` is the
    number of tokens that are kept free at both ends of the budget.

    Raises: BudgetError if the needles alone are too long, or if the fillers cannot fill the rest.
    """
    if concept.cites:
        concept = replace(concept, completion=cite([_planned_number(max_tokens)] * len(concept.needles)))
    frame = layout.frame(concept)
    needles = [needle.page for needle in concept.needles]
    room = max_tokens - margin - unseen - frame.tokens - _cost(layout, needles)
    if room < 0:
        raise BudgetError(
            f"max_tokens is {max_tokens}, but the prompt and the needle documents of the question "
            f"{concept.question!r} alone have {max_tokens - room} tokens; raise --max-tokens"
        )
    chosen, left = _choose(layout, concept, fillers, room, max_tokens, 2 * margin)
    shuffled = [chosen[i] for i in order.order(len(chosen))]
    context = _render(layout, frame, concept, shuffled, depths)
    context = replace(context, num_tokens=max_tokens - margin - unseen - left, planned=max_tokens - margin - left)
    if not concept.cites:
        return context
    completion = cite(needle.document for needle in context.needles)
    grown = layout.frame(replace(concept, completion=completion)).tokens - frame.tokens
    return replace(context, completion=completion, num_tokens=context.num_tokens + grown)


def _planned_number(max_tokens: int) -> int:
    """The document index that a citation is planned with until the real ones are known. A document has 30 tokens or more."""
    return min(99, max_tokens // 30) if max_tokens < 4096 else 998


def fit(
    layout: Layout,
    concept: Concept,
    fillers: Callable[[], Iterator[Page]],
    depths: Sequence[float],
    max_tokens: int,
    order: Callable[[], Stream],
    adds_up: bool,
) -> Context:
    """The context of a concept, assembled anew until its tokens keep the budget.

    One round is enough in most cases. More are needed if the tokenizer's counts do not add up (then the whole is counted),
    or if the answer cites document numbers that turn out shorter or longer than the planned ones.

    Raises: BudgetError as `assemble` does, and if 16 rounds do not end within the budget.
    """
    least = least_tokens(max_tokens)
    unseen = margin = 0
    for _ in range(_MOST_ROUNDS):
        context = assemble(layout, concept, fillers(), depths, max_tokens, order(), unseen, margin)
        if not adds_up:
            tokens = layout.counter.conversation(context.prompt, context.completion)
            context = replace(context, num_tokens=tokens)
        if least <= context.num_tokens <= max_tokens:
            return context
        unseen += context.num_tokens - context.planned
        margin = (max_tokens - least) // 4
    raise BudgetError(
        f"max_tokens is {max_tokens}, but under this tokenizer the tokens of a text are not the sum of its documents', "
        f"and {_MOST_ROUNDS} attempts ended at {context.num_tokens}; take a larger --max-tokens or another --tokenizer"
    )


def _choose(
    layout: Layout, concept: Concept, fillers: Iterator[Page], room: int, max_tokens: int, reserved: int
) -> tuple[list[Page], int]:
    """Fillers of at most `room` tokens, numbers included, and the tokens left over: at most 1 % of `max_tokens`, less `reserved`.

    Whole documents are taken as long as they fit. If too many tokens are left over then, the next documents are cut at the end
    of a sentence, and only where no sentence ends at the right place, one is cut inside of a sentence.
    """
    spare = max_tokens - least_tokens(max_tokens) - reserved
    before = len(concept.needles)
    chosen, left, page = _take_whole(layout, fillers, before, room)
    if left <= spare:
        return chosen, left
    waiting = [page, *islice(fillers, _LOOKAHEAD)] if page is not None else []
    pieces = _pieces(layout, waiting, before + len(chosen), Gap(left - spare, left))
    if not pieces and chosen and waiting:
        last = chosen[-1].tokens + layout.number_tokens(before + len(chosen) - 1)
        pieces = _pieces(
            layout, [chosen[-1], *waiting], before + len(chosen) - 1, Gap(left + last - spare, left + last)
        )
        if pieces:
            chosen.pop()
            left += last
    if pieces:
        numbers = (layout.number_tokens(before + len(chosen) + i) for i in range(len(pieces)))
        return chosen + pieces, left - sum(piece.tokens for piece in pieces) - sum(numbers)
    spares = [*waiting, *islice(fillers, _SPARES)]
    exchanged, rest = _exchanged(layout, chosen, spares, before, left)
    if rest <= spare:
        return exchanged, rest
    return _cut_anywhere(layout, concept, chain(spares, fillers), chosen, left, max_tokens, spare)


def _pieces(layout: Layout, pages: Sequence[Page], at: int, gap: Gap) -> list[Page]:
    """One or two of the pages, whole or cut at the end of a sentence, that fill the gap together; none if nothing does.

    `at` is the index of the first of them among the documents of the context.
    """
    first, second = layout.number_tokens(at), layout.number_tokens(at + 1)
    tried: list[list[Page]] = []
    for page in pages:
        pieces = [page, *layout.cut_at_sentences(page)]
        for piece in pieces:
            if gap.least <= piece.tokens + first <= gap.most:
                return [piece]
        for earlier in tried:
            for one, two in product(earlier, pieces):
                if gap.least <= one.tokens + two.tokens + first + second <= gap.most:
                    return [one, two]
        tried.append(pieces)
    return []


def _exchanged(
    layout: Layout, chosen: list[Page], spares: Sequence[Page], before: int, left: int
) -> tuple[list[Page], int]:
    """The chosen pages with some of the later ones exchanged for longer ones, and the tokens that are left over then.

    Entries are all about as long, so that no end of an entry may be at the right place; but their tokens differ a little.
    """
    pages = list(chosen)
    waiting = sorted(spares, key=lambda page: page.tokens)
    number = layout.number_tokens(before + len(pages))
    pieces = [piece for page in waiting[:1] for piece in layout.cut_at_sentences(page) if piece.tokens + number <= left]
    if pieces:  # the longest of them: what is left is less than an entry
        pages.append(pieces[0])
        left -= pieces[0].tokens + number
    for at in sorted(range(len(chosen) // 2, len(chosen)), key=lambda i: chosen[i].tokens):
        longer = [page for page in waiting[1:] if 0 < page.tokens - chosen[at].tokens <= left]
        if not longer:
            break
        waiting.remove(longer[-1])
        pages[at] = longer[-1]
        left -= longer[-1].tokens - chosen[at].tokens
    return pages, left


def _cut_anywhere(
    layout: Layout,
    concept: Concept,
    fillers: Iterator[Page],
    chosen: list[Page],
    left: int,
    max_tokens: int,
    spare: int,
) -> tuple[list[Page], int]:
    """As `_choose`, with documents that are cut between words, or even inside of them, until at most `spare` tokens are left."""
    before = len(concept.needles)
    page = next(fillers, None)
    tries = 0
    while page is not None and left > spare and tries < _MOST_TRIES:
        number = layout.number_tokens(before + len(chosen))
        fitting: Page | None = page
        if page.tokens + number > left:
            fitting = _cut(layout, concept, page, left - number, left - number - spare)
        if fitting is not None:
            chosen.append(fitting)
            left -= fitting.tokens + number
            page = next(fillers, None)
            continue
        tries += 1
        if not chosen:
            page = next(fillers, None)
            continue
        last = chosen.pop()
        number = layout.number_tokens(before + len(chosen))
        left += last.tokens + number
        half = _cut(layout, concept, last, min(left // 2, last.tokens - 1), 0)
        if half is not None:
            chosen.append(half)
            left -= half.tokens + number
    if left > spare:
        raise BudgetError(_underfull(max_tokens, left, len(chosen), exhausted=page is None and tries == 0))
    return chosen, left


def _take_whole(layout: Layout, fillers: Iterator[Page], before: int, room: int) -> tuple[list[Page], int, Page | None]:
    """The fillers before the first that does not fit, the tokens left over, and that filler (None if they ran out)."""
    chosen: list[Page] = []
    numbers = layout.numbers(before).tokens
    for page in fillers:
        at = before + len(chosen)
        cost = page.tokens + (numbers[at] if at < len(numbers) else layout.number_tokens(at))
        if cost > room:
            return chosen, room, page
        room -= cost
        chosen.append(page)
    return chosen, room, None


def _cut(layout: Layout, concept: Concept, page: Page, most: int, least: int) -> Page | None:
    """The page cut by `layout.cut`, and cut further while a word that was cut makes an answer ("10" of "1066")."""
    answers = comparables(concept.answers)
    piece = layout.cut(page, most, least)
    while piece is not None and holds(comparable(piece.body), answers):
        piece = layout.cut(page, piece.tokens - 1, 0)
    return piece


def _underfull(max_tokens: int, left: int, documents: int, exhausted: bool) -> str:
    if exhausted:
        return (
            f"max_tokens is {max_tokens}, but there are documents for {max_tokens - left} tokens only "
            f"({documents} that may stand in this context); give a larger --corpus (or --pool-size), or lower --max-tokens"
        )
    return (
        f"max_tokens is {max_tokens}, and beside {documents or 'no'} other documents the needles leave {left} tokens: more than "
        "1 %, and too few for any document; raise --max-tokens"
    )


def _cost(layout: Layout, pages: Sequence[Page]) -> int:
    return sum(page.tokens for page in pages) + sum(layout.numbers(len(pages)).tokens[: len(pages)])


def _render(
    layout: Layout,
    frame: Frame,
    concept: Concept,
    fillers: Sequence[Page],
    depths: Sequence[float],
) -> Context:
    pages, at = _place(concept, fillers, depths)
    lines = layout.numbers(len(pages)).lines
    parts = [frame.head, *chain.from_iterable(zip(lines, [page.body for page in pages], strict=False)), frame.tail]
    ends = list(accumulate(map(len, parts)))
    starts = ends[1:-1:2]  # of the bodies: each starts where the line above it ends
    edges = array(
        "i", chain.from_iterable((start, start + page.text.end) for start, page in zip(starts, pages, strict=True))
    )
    if concept.cites:
        needles = [
            PlacedNeedle(i, 0, needle.span.shift(starts[i]), layout.number_span(i).shift(starts[i] - len(lines[i])))
            for i, needle in sorted(zip(at, concept.needles, strict=True), key=itemgetter(0))
        ]
    else:
        needles = [
            PlacedNeedle(i, hop, needle.span.shift(starts[i]), needle.answer.shift(starts[i]))
            for hop, (i, needle) in enumerate(zip(at, concept.needles, strict=True))
        ]
    sources = dict.fromkeys((page.document.source, page.document.license) for page in pages)
    sources.pop(("", ""), None)
    return Context("".join(parts), concept.completion, edges, tuple(needles), tuple(sources))


def _place(concept: Concept, fillers: Sequence[Page], depths: Sequence[float]) -> tuple[list[Page], list[int]]:
    """The pages of a context in order, and the index of every needle among them, in hop order."""
    if concept.apart:
        return _place_apart(concept, fillers, depths)
    ends = [0, *accumulate(page.tokens for page in fillers)]
    slots = sorted((_slot(ends, d), d, hop) for hop, d in enumerate(depths))
    pages: list[Page] = []
    at = [0] * len(slots)
    taken = 0
    for slot, _, hop in slots:
        pages += fillers[taken:slot]
        taken = slot
        at[hop] = len(pages)
        pages.append(concept.needles[hop].page)
    pages += fillers[taken:]
    return pages, at


def _place_apart(concept: Concept, fillers: Sequence[Page], depths: Sequence[float]) -> tuple[list[Page], list[int]]:
    """As `_place`, with each needle placed among all pages that are there, the needles before it included."""
    pages = list(fillers)
    for needle, depth in zip(concept.needles, depths, strict=True):
        pages.insert(_slot([0, *accumulate(page.tokens for page in pages)], depth), needle.page)
    return pages, [next(i for i, page in enumerate(pages) if page is needle.page) for needle in concept.needles]


def _slot(ends: Sequence[int], depth: float) -> int:
    """The number of fillers before a needle at this depth, where the first i fillers have `ends[i]` tokens together."""
    wanted = depth * ends[-1]
    after = bisect_left(ends, wanted)
    return after - (after > 0 and wanted - ends[after - 1] < ends[after] - wanted)


def require_known(layout: Layout, concept: Concept, fillers: Iterator[Page]) -> None:
    """Raises: TokenizerError if more than 1 % of the tokens of a concept's first pages are unknown to the tokenizer."""
    pages = [needle.page for needle in concept.needles] + list(islice(fillers, _PROBED_PAGES))
    unknown = layout.counter.unknown("".join(page.body for page in pages))
    if unknown > MOST_UNKNOWN:
        raise TokenizerError(
            f"--tokenizer: expected one that knows these texts, but {unknown:.0%} of their tokens are unknown to it; take another"
        )


def counts_add_up(layout: Layout, concept: Concept, fillers: Iterator[Page]) -> bool:
    """True if the tokens of a context are the sum of the tokens of its units.

    This is tried on one text: the start of a context, and documents that begin and end with each visible ASCII character.
    """
    frame = layout.frame(concept)
    pages = [needle.page for needle in concept.needles] + list(islice(fillers, _PROBED_PAGES))
    pages += layout.pages([Document("", f"{character} x {character}") for character in _VISIBLE])
    lines = layout.numbers(len(pages)).lines
    text = frame.head + "".join(line + page.body for line, page in zip(lines, pages, strict=False)) + frame.tail
    return layout.counter.conversation(text, concept.completion) == frame.tokens + _cost(layout, pages)
