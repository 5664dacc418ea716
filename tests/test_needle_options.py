"""Options that change one thing about a needle, its question or its answer, and nothing else at the same index."""

import re
from collections.abc import Sequence

import pytest

from builders.mdqa_synth.templated import Templated
from synthctx_data.checks import Checker
from synthctx_data.errors import UsageError
from synthctx_data.evidence import NUMBERS, answer_in, answer_of
from synthctx_data.example import Example
from synthctx_data.manifest import stands_out
from synthctx_data.options import Options, as_dict
from synthctx_data.prompts import wordings
from synthctx_data.row_checks import Expected
from synthctx_data.schema import to_table
from synthctx_data.survey import Survey
from synthctx_data.tokens import load_counter
from synthctx_data.wording import shared_words
from synthctx_data.world.entities import RELATIONS
from tests.conftest import every_example, examples_for
from training.answer_scores import score

MADE_UP = ["templated_haystack", "templated_padding", "symbolic_haystack", "symbolic_padding"]
ORDINALS = ("first", "second", "third", "fourth", "fifth")
EACH = [  # an option, and the variants that read it
    ({"question_wording": "near"}, MADE_UP[:2]),
    ({"question_wording": "far"}, MADE_UP[:2]),
    ({"rivals": 0}, MADE_UP[:1]),
    ({"rivals": 3}, MADE_UP[:1]),
    ({"needle_in": "sentence"}, MADE_UP),
    ({"needle_in": "passage"}, MADE_UP),
    ({"needle_format": "near-duplicates"}, MADE_UP),
    ({"needle_format": "list"}, MADE_UP),
    ({"needle_format": "count"}, MADE_UP),
    ({"completion": "evidence"}, MADE_UP),
    ({"needle_in": "passage", "needle_format": "list", "completion": "evidence"}, MADE_UP),
    ({"needle_in": "passage", "questions": 3}, MADE_UP),
    ({"rivals": 1, "questions": 3, "question_wording": "far", "completion": "evidence"}, MADE_UP[:1]),
]
CASES = [(options, variant) for options, variants in EACH for variant in variants]


def made(variant: str, **options: object) -> Sequence[Example]:
    return every_example(examples_for("mdqa_synth", variant, **{"max_tokens": 2048, **options}))


def needle(row: Example) -> str:
    """The text of a row's last needle."""
    return row.prompt[slice(*row.needles[-1].span)]


def rows(examples: Sequence[Example]) -> list[dict]:
    return to_table(examples).to_pylist()


@pytest.mark.parametrize(("options", "variant"), CASES)
def test_check_finds_no_fault_but_what_stands_out_by_design(options: dict, variant: str) -> None:
    examples = examples_for("mdqa_synth", variant, max_tokens=2048, train=24, **options)
    expected = Expected(
        2048,
        stands_out=stands_out(as_dict(examples.options)),
        counter=load_counter(),
        questions=options.get("questions", 1),
    )
    checker, survey = Checker(expected), Survey()
    for split, size in examples.sizes.items():
        for row in rows([examples.make(split, i) for i in range(size)]):
            checker.add(split, row)
            survey.add(split, row)
    assert dict(checker.report(survey.floors).faults) == {}


@pytest.mark.parametrize("variant", MADE_UP)
@pytest.mark.parametrize("options", [{"needle_in": "sentence"}, {"needle_in": "passage"}, {"completion": "evidence"}])
def test_the_fact_and_its_question_stay_the_same(variant: str, options: dict) -> None:
    for one, other in zip(made(variant), made(variant, **options), strict=True):
        assert (one.question, one.answers, needle(one)) == (other.question, other.answers, needle(other))


@pytest.mark.parametrize("variant", MADE_UP[:2])
def test_wordings_ask_for_the_same_fact_nearer_and_farther(variant: str) -> None:
    wordings = {wording: made(variant, train=40, question_wording=wording) for wording in ("near", "far")}
    plain, near, far = made(variant, train=40), wordings["near"], wordings["far"]
    for row in zip(plain, near, far, strict=True):
        assert len({(needle(one), one.answers) for one in row}) == 1
    shared = [[shared_words(one.question, [needle(one)]) or 0 for one in each] for each in (near, plain, far)]
    assert sum(shared[0]) > sum(shared[1]) > sum(shared[2]) == 0
    mixed = made(variant, train=40, question_wording="near:1,far:3")
    asked_far = sum(one.question == other.question for one, other in zip(mixed, far, strict=True))
    assert len(far) * 0.55 < asked_far < len(far) * 0.95


@pytest.mark.parametrize("relation", [relation.name for relation in RELATIONS])
def test_a_far_question_names_its_subject_and_shares_no_word_with_any_statement(relation: str) -> None:
    address = "mdqa_synth/templated"
    stated = [one.fill(subject="Zyx", object="Qqq") for one in wordings(address, relation, "subject", "object")]
    for far in wordings(f"{address}_far", f"far_{relation}", "subject"):
        question = far.fill(subject="Zyx")
        assert re.fullmatch(r"[^?]*\bZyx\b[^?]*\?", question)
        assert not shared_words(question, stated)


@pytest.mark.parametrize("rivals", [0, 1, 4])
def test_no_more_documents_than_asked_for_could_be_taken_for_the_needles(rivals: int) -> None:
    examples = examples_for("mdqa_synth", "templated_haystack", max_tokens=4096, rivals=rivals)
    expression = examples.expression
    assert isinstance(expression, Templated)
    counts = []
    for index in range(examples.sizes["train"]):
        chapter, number, relation = expression._pick("train", index)
        row = examples.make("train", index)
        texts = [row.prompt[start:end] for start, end in row.documents]
        known = {f"{one.document.title}\n{one.document.text}": one for one in chapter.articles}
        mine = chapter.articles[number].entity
        parts = {*chapter.world.entities[mine].parts}
        others = [known[text] for i, text in enumerate(texts) if i != row.needles[0].document and text in known]
        assert len(others) >= len(texts) - 3  # one or two are cut
        assert mine not in {one.entity for one in others}
        entities = [chapter.world.entities[one.entity] for one in others]
        kind = chapter.world.entities[mine].kind
        like = [
            relation in one.statements or (entity.kind == kind and parts & {*entity.parts})
            for one, entity in zip(others, entities, strict=True)
        ]
        counts.append(sum(map(bool, like)))
    assert max(counts) <= rivals
    assert sum(counts) >= rivals * len(counts) * 0.8


def test_a_needle_in_a_passage_leaves_the_passage_its_kind_and_length() -> None:
    own, moved = made("templated_haystack", train=30), made("templated_haystack", train=30, needle_in="passage")
    sizes = {"own": [], "passage": []}
    for name, examples in (("own", own), ("passage", moved)):
        for row in examples:
            start, end = row.documents[row.needles[0].document]
            sizes[name].append(end - start)
            title = row.prompt[start:end].split("\n")[0]
            assert (title in needle(row)) == (name == "own")  # it stands in another subject's article
            if name == "passage":
                assert row.prompt[start:end].rindex(needle(row)) > len(title) + 1  # behind a sentence of that article
    assert 0.8 < sum(sizes["passage"]) / sum(sizes["own"]) < 1.25


@pytest.mark.parametrize("variant", MADE_UP)
def test_one_of_several_needles_is_asked_for_by_its_place(variant: str) -> None:
    for plain, row in zip(made(variant), made(variant, needle_format="near-duplicates"), strict=True):
        assert row.question.startswith(plain.question)
        assert (row.answers, needle(row), len(row.needles)) == (plain.answers, needle(plain), 1)
        before, after = needle(row).split(row.completion)
        alike = [
            number
            for number, (start, end) in enumerate(row.documents)
            if re.search(re.escape(before) + r"[^.\n]+?" + re.escape(after), row.prompt[start:end])
        ]
        assert 2 <= len(alike) <= 1 + len(NUMBERS)
        place = ORDINALS[alike.index(row.needles[0].document)]
        assert f"give the {place} of their answers" in row.question


@pytest.mark.parametrize("variant", MADE_UP)
def test_all_needles_are_listed_in_order_or_counted(variant: str) -> None:
    for listed, counted in zip(made(variant, needle_format="list"), made(variant, needle_format="count"), strict=True):
        said = [listed.prompt[slice(*one.answer)] for one in listed.needles]
        assert [one.document for one in listed.needles] == sorted({one.document for one in listed.needles})
        assert listed.completion == ", ".join(said)
        assert len({*said}) == len(said) == len(counted.needles)
        assert counted.completion == NUMBERS[len(said) - 2]
        assert "Several of them answer" in listed.prompt[:120]


@pytest.mark.parametrize(
    ("task", "variant"),
    [("mdqa_synth", "templated_haystack"), ("musique_synth", "templated_haystack"), ("musique_synth", "real_haystack")],
)
def test_evidence_is_quoted_and_metrics_read_the_answer(task: str, variant: str) -> None:
    examples = every_example(examples_for(task, variant, max_tokens=2048, completion="evidence"))
    for example, row in zip(examples, rows(examples), strict=True):
        completion = row["completion"][0]["content"]
        *quoted, last = completion.split("\n")
        sentences = [" ".join(example.prompt[slice(*one.span)].split()) for one in example.needles]
        assert quoted == [f'"{sentence}"' for sentence in sentences]
        assert last == f"Answer: {answer_of(completion)}"
        assert answer_of(completion) in row["answers"]
        assert score(row, completion)["f1"] == score(row, answer_of(completion))["f1"] == 1
        assert score(row, f'"Something else."\nAnswer: {answer_of(completion)}')["em"] == 1
        assert score(row, quoted[0])["em"] == 0


def test_an_answer_without_evidence_is_read_as_it_is() -> None:
    row = {"completion": [{"content": "Rome"}], "answers": ["Rome"]}
    assert answer_in(row, "one\nAnswer: Rome") == "one\nAnswer: Rome"


@pytest.mark.parametrize(
    ("variant", "options", "message"),
    [
        (
            "templated_padding",
            {"rivals": 2},
            r"--rivals: templated_padding does not read it, only templated_haystack does",
        ),
        (
            "real_haystack",
            {"needle_in": "passage"},
            r"--needle-in: real_haystack does not read it, only templated_haystack, ",
        ),
        ("llm_haystack", {"needle_format": "list"}, r"--needle-format: llm_haystack does not read it"),
    ],
)
def test_a_variant_refuses_what_it_does_not_read(variant: str, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        examples_for("mdqa_synth", variant, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"needle_format": "list", "questions": 2},
            "--needle-format: a context with several needles for a question has one question",
        ),
        ({"question_wording": "nearly"}, "--question-wording: expected some of near, far"),
        ({"rivals": -1}, "--rivals: expected greater than or equal to 0, got -1"),
        ({"needle_in": "sentences"}, "--needle-in: expected 'own', 'sentence' or 'passage', got 'sentences'"),
        ({"completion": "quote"}, "--completion: expected 'answer' or 'evidence'"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Options(**options)


@pytest.mark.slow
def test_no_needle_comes_twice() -> None:
    """Rows 16,384 and up are about subjects of their own; before them, a sentence that was asked for is not asked for again.

    (With all sentences allowed, row 22,203 asked for one a second time.)
    """
    rows = 16384 + 2048
    expression = examples_for("mdqa_synth", "templated_padding", max_tokens=256, train=rows, validation=0).expression
    concepts = [expression.concept("train", index) for index in range(rows)]
    assert len({concept.needles[0].sentence for concept in concepts}) == rows
    first, further = ({concept.question for concept in some} for some in (concepts[:16384], concepts[16384:]))
    assert not first & further


def test_more_rows_than_there_are_needles_for_are_refused() -> None:
    examples = examples_for("mdqa_synth", "templated_padding", max_tokens=256, train=10**7)
    with pytest.raises(UsageError, match=r"--train: expected at most 1,\d\d\d,\d\d\d examples"):
        examples.description()
