from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from synthctx_data.prompts import ROOT, render, template, wording, wordings
from synthctx_data.world.entities import RELATIONS

text = st.text(min_size=1, max_size=20)


@given(text, text)
def test_filling_is_rendering_and_spans_read_what_was_filled_in(title: str, body: str) -> None:
    form = wording("mdqa_synth/_example", "document", "title", "text")
    filled = form.fill(title=title, text=body)
    assert filled == render("mdqa_synth/_example", "document", title=title, text=body)
    for slot, value in (("title", title), ("text", body)):
        span = form.span(slot, title=title, text=body)
        assert filled[span.start : span.end] == value


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("mdqa_synth/_example", "question")


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
def test_every_relation_has_wordings_for_both_splits(relation) -> None:
    said = wordings("mdqa_synth/templated", relation.name, "subject", "object")
    asked = wordings("mdqa_synth/templated", f"ask_{relation.name}", "subject")
    assert len(set(said)) >= 8
    assert len(set(asked)) >= 6
    assert all(sorted(way.slots) == ["object", "subject"] for way in said)
    assert all(way.slots == ("subject",) for way in asked)


def test_every_template_compiles() -> None:
    files = list(Path(ROOT).rglob("*.jinja"))
    assert files
    for file in files:
        assert template(str(file.relative_to(ROOT).with_suffix(""))).blocks
