"""Several questions on one context: rows in turn that have the same documents, each with needles of its own."""

from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.arrangement import arrange
from builders.hub.versions import differences
from synthctx_data.checks import Checker
from synthctx_data.errors import UsageError
from synthctx_data.example import Concept, Document, Needle, Page, Span
from synthctx_data.matching import comparable, comparables, holds
from synthctx_data.options import Options
from synthctx_data.row_checks import Expected
from synthctx_data.schema import to_table
from synthctx_data.tokens import load_counter
from tests.conftest import IDS, VARIANTS, every_example, examples_for

MDQA = [variant for task, variant in VARIANTS if task == "mdqa_synth"]


@pytest.mark.parametrize("variant", MDQA)
@pytest.mark.parametrize("questions", [2, 3])
def test_rows_in_turn_share_documents_and_no_answer(variant: str, questions: int) -> None:
    examples = examples_for("mdqa_synth", variant, questions=questions, train=7, max_tokens=2048)
    rows = every_example(examples)
    groups = [list(group) for _, group in groupby(rows, lambda row: row.prompt[: row.edges[-1]])]
    assert max(map(len, groups)) == questions
    assert len(groups) < len(rows) / 1.5
    for group in groups:
        places = [needle for row in group for needle in row.needles]
        assert len({needle.document for needle in places}) == len(places)
        assert {needle.hop for needle in places} == {0}
        for row in group:
            texts = [row.prompt[start:end] for start, end in row.documents]
            holding = [i for i, text in enumerate(texts) if holds(comparable(text), comparables(row.answers))]
            assert holding == [row.needles[0].document]
            assert row.prompt[slice(*row.needles[0].answer)] == row.completion
    assert [row.id for row in rows] == [row.id for row in every_example(examples_for("mdqa_synth", variant, train=7))]


@pytest.mark.parametrize("variant", MDQA)
def test_check_finds_no_fault(variant: str) -> None:
    examples = examples_for("mdqa_synth", variant, questions=4, train=8, max_tokens=2048)
    rows = {split: to_table([examples.make(split, i) for i in range(n)]) for split, n in examples.sizes.items()}
    budget = examples.options.max_tokens
    checker = Checker(Expected(budget, counter=load_counter(), questions=4))
    once = Checker(Expected(budget))
    for split, table in rows.items():
        for row in table.to_pylist():
            checker.add(split, row)
            once.add(split, row)
    faults = checker.report().faults
    assert not {kind: found for kind, found in faults.items() if found and kind != "depth"}
    assert once.report().faults["contexts"]  # nobody asked for more than one


def test_a_row_does_not_depend_on_those_made_before() -> None:
    examples = examples_for("mdqa_synth", "real_haystack", questions=3, train=9)
    forward = [examples.make("train", i) for i in range(9)]
    assert [examples.make("train", i) for i in reversed(range(9))] == forward[::-1]


@pytest.mark.parametrize(("task", "variant"), [pair for pair in VARIANTS if pair[0] != "mdqa_synth"],
    ids=[name for name in IDS if not name.startswith("mdqa")])  # fmt: skip
def test_other_tasks_refuse_it(task: str, variant: str) -> None:
    with pytest.raises(UsageError, match=f"--questions: {variant} does not read it"):
        examples_for(task, variant, questions=2)


def concept(text: str, answer: str) -> Concept:
    page = Page(Document("", text), text, Span(0, len(text)), 1)
    return Concept(f"{text}?", answer, (answer,), (Needle(page, Span(0, len(text)), Span(0, 1)),))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=14), st.integers(1, 4))
def test_an_arrangement_is_whole_and_without_clashes(drawn: list[tuple[int, int]], questions: int) -> None:
    """Needles name two of six words; one is the answer. Groups hold all concepts, and nothing is given away."""
    words = ["amber", "birch", "cedar", "delta", "ember", "fjord"]
    concepts = [concept(f"text {i} {words[a]} {words[b]}", words[a]) for i, (a, b) in enumerate(drawn)]
    groups = arrange(concepts, questions, 100)
    assert sorted(i for group in groups for i in group) == list(range(len(concepts)))
    assert all(1 <= len(group) <= questions for group in groups)
    for group in groups:
        for one in group:
            others = [concepts[other].needles[0].page.body for other in group if other != one]
            assert not any(holds(comparable(text), concepts[one].answers) for text in others)


def test_a_group_is_filled_before_another_begins() -> None:
    words = ("amber", "birch", "cedar", "delta", "ember")
    assert arrange([concept(f"text {word}", word) for word in words], 2, 100) == [[0, 1], [2, 3], [4]]


def test_concepts_that_are_apart_are_never_together() -> None:
    concepts = [concept(f"text {word}", word) for word in ("amber", "birch", "cedar", "delta")]
    assert arrange(concepts, 4, 100, lambda one, other: one // 2 != other // 2) == [[0, 1], [2, 3]]


def test_needles_leave_room_for_others() -> None:
    """Pages here have a token each."""
    concepts = [concept(f"text {word}", word) for word in ("amber", "birch", "cedar", "delta", "ember")]
    assert arrange(concepts, 4, 2) == [[0, 1], [2, 3], [4]]
    assert arrange(concepts, 4, 0) == [[0], [1], [2], [3], [4]]  # one alone is left to the budget of the context


def test_long_passages_share_a_small_context_with_fewer() -> None:
    examples = examples_for("mdqa_synth", "real_haystack", questions=12, train=36, validation=0)
    for row in every_example(examples):
        assert 0.98 * 1024 < row.num_tokens <= 1024


@pytest.mark.parametrize("key_style", ["integer", "word", "uuid"])
@pytest.mark.parametrize(("max_tokens", "questions"), [(600, 64), (1023, 64), (256, 5)])
def test_where_one_question_fits_so_do_several(key_style: str, max_tokens: int, questions: int) -> None:
    options = {"key_style": key_style, "max_tokens": max_tokens, "train": 40, "validation": 0}
    for number in (1, questions):
        rows = every_example(examples_for("mdqa_synth", "symbolic_haystack", questions=number, **options))
        assert max(row.num_tokens for row in rows) <= max_tokens


def test_given_depths_and_several_questions_are_refused_together() -> None:
    with pytest.raises(UsageError, match="--questions: the needles of one context cannot all stand at the depths"):
        Options(questions=2, depth="0.5")


def test_more_rows_of_shared_contexts_are_other_rows() -> None:
    alone = {"variant": "v", "content": "2.0.0", "train": 10}
    shared = {**alone, "questions": 5}
    for before, part in ((alone, "grown"), (shared, "replaced")):
        (found,) = differences({"v": before}, {"v": {**before, "train": 20}})
        assert str(found).startswith(f"`v` {part}")
