import re
from dataclasses import replace
from itertools import cycle, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthctx_data.assemble import assemble, counts_add_up, least_tokens
from synthctx_data.errors import BudgetError
from synthctx_data.example import Concept, Document, Needle, Span
from synthctx_data.layout import Layout
from synthctx_data.matching import comparable, mentions
from synthctx_data.seeding import rng
from synthctx_data.tokens import load_counter

LAYOUT = Layout("mdqa_synth", load_counter())


def concept(text: str = "The answer is 10.", layout: Layout = LAYOUT) -> Concept:
    page = layout.page(Document("Gold", text))
    at = page.body.index("10")
    return Concept("which?", "10", ("10",), (Needle(page, page.text, Span(at, at + 2)),))


def test_the_least_is_99_percent_rounded_up() -> None:
    assert [least_tokens(n) for n in (512, 1000, 32768)] == [507, 990, 32441]


def test_needles_that_are_too_long_are_an_error_that_says_how_long() -> None:
    with pytest.raises(BudgetError, match=r"max_tokens is 512, but .* alone have \d+ tokens"):
        assemble(
            LAYOUT, concept("10 " + "word " * 600), repeat(LAYOUT.page(Document("", "x"))), [0.5], 512, rng("order")
        )


def test_fillers_that_run_out_are_an_error_that_says_how_many() -> None:
    pages = [LAYOUT.page(Document("", f"Filler number {i}.")) for i in range(7)]
    with pytest.raises(BudgetError, match=r"documents for \d+ tokens only \(7 that"):
        assemble(LAYOUT, concept(), iter(pages), [0.5], 2048, rng("order"))


def test_a_cut_makes_no_answer() -> None:
    """Cutting inside a word is a last resort, and "1066" must not become "1"."""
    asked = replace(concept(), completion="1", answers=("1",))
    for budget in range(512, 700):
        fillers = [LAYOUT.page(Document("Words", "1066 " * words)) for words in range(40, 0, -1)]
        context = assemble(LAYOUT, asked, cycle(fillers), [0.0], budget, rng("order"))
        outside = re.sub(r"Document \[\d+\]", "", context.prompt[context.edges[1] :])
        assert not mentions(comparable(outside), ("1",))


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=400),
        min_size=1,
        max_size=4,
    ),
    max_tokens=st.integers(512, 900),
)
def test_any_text_can_be_cut_to_fill_the_budget(texts: list[str], max_tokens: int) -> None:
    """Whatever the script: words that do not end, combining characters, no spaces at all."""
    pages = [LAYOUT.page(Document("", text)) for text in texts if not mentions(comparable(text), ("10",))]
    fillers = (page for _ in repeat(None) for page in [*pages, LAYOUT.page(Document("", "Plain words. " * 9))])
    context = assemble(LAYOUT, concept(), fillers, [0.5], max_tokens, rng("order"))
    tokens = LAYOUT.counter.conversation(context.prompt, "10")
    assert tokens == context.num_tokens
    assert least_tokens(max_tokens) <= tokens <= max_tokens


@pytest.mark.parametrize(
    ("make", "adds_up"), [("byte_level", True), ("characters", True), ("metaspace", True), ("across_lines", False)]
)
def test_the_probe_finds_tokenizers_whose_counts_do_not_add_up(tokenizers, make: str, adds_up: bool) -> None:
    layout = Layout("mdqa_synth", load_counter(tokenizers[make]))
    fillers = repeat(layout.page(Document("The other", "This sentence ends.")))
    assert counts_add_up(layout, concept(layout=layout), fillers) == adds_up
