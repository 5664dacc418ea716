"""What may be used of an answer, and what counts as a copy."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.musique_synth.llm import Chain, check_chain
from builders.summhay_synth.llm import Insight, check_insight, check_not_stated
from builders.writing.checks import Written, WrittenDocuments, check_without, clean, find_answer
from builders.writing.grounded import Reply
from builders.writing.requests import PassageCopies, RejectedError, parse_answer, sketch
from builders.writing.store import Answer


def answer(text: str, finish_reason: str = "stop") -> Answer:
    return Answer("key", "template", "unit", text, finish_reason, "m", "m", "e", 1, 1, 0.0)


@given(st.text())
def test_clean_text_is_clean(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == clean(cleaned)
    assert all(character.isprintable() for character in cleaned)
    assert cleaned.split(" ") == cleaned.split() or cleaned == ""


@pytest.mark.parametrize(
    "text",
    [
        '<think>{maybe} {"answer": "no"}</think>\n```json\n{"answer": "yes {1}"}\n```',
        '{"answer": "yes {1}"} {"answer": "no"}',
        'As {asked}: {"answer": "yes {1}"}',
    ],
)
def test_the_first_object_after_the_thoughts_is_the_answer(text: str) -> None:
    assert parse_answer(Reply, answer(text)).answer == "yes {1}"


@given(st.text(), st.sampled_from(["stop", "length", "none", "content_filter"]))
def test_no_text_makes_a_judge_raise_anything_but_a_rejection(text: str, finish_reason: str) -> None:
    for one in (text, "{" + text + "}", json.dumps({"documents": [{"title": text, "passage": text}]})):
        try:
            parsed = parse_answer(WrittenDocuments, answer(one, finish_reason))
        except RejectedError as error:
            assert str(error)
            assert len(str(error)) < 300
        else:
            assert parsed.documents[0].title == clean(text)


@given(st.permutations(range(60)), st.integers(0, 55))
def test_a_passage_with_a_few_words_changed_is_a_copy_and_another_one_is_not(order: list[int], at: int) -> None:
    words = [f"word{i}" for i in order]
    changed = [*words[:at], "other", *words[at + 1 :]]
    copies = PassageCopies()
    copies.add("needles", [sketch(" ".join(words))])
    assert copies.has_near("needles", sketch(" ".join(words).upper()))
    assert not copies.has_near("pool", sketch(" ".join(words)))
    assert not copies.has_near("needles", sketch(" ".join(f"another{i}" for i in order)))
    shared = sketch(" ".join(words)) & sketch(" ".join(changed))
    assert copies.has_near("needles", sketch(" ".join(changed))) == (len(shared) >= 8)


def document(passage: str, title: str = "T") -> dict[str, str]:
    return {
        "title": title,
        "passage": f"{passage} " + " ".join(f"w{abs(hash(passage)) % 97}x{i}" for i in range(45)) + ".",
    }


def chain(**changes: object) -> Chain:
    first = {
        **document("Alan Branby settled in Veldmouth early"),
        "question": "Where did Alan Branby settle?",
        "answer": "Veldmouth",
    }
    last = {
        **document("Veldmouth keeps the Amber Anchor in a hall"),
        "question": "What is kept at Veldmouth?",
        "answer": "Amber Anchor",
    }
    return Chain.model_validate({"question": "What is kept where Alan Branby lived?", "hops": [first, last], **changes})


def test_a_chain_that_holds_passes() -> None:
    check_chain(chain(), ["Alan Branby", "Veldmouth"])


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"question": "What is kept in Veldmouth, where Alan Branby lived?"}, "gives it away"),
        ({"question": "What is kept there?"}, "other question"),
        ({"question": "What is kept where Alan Branby lived"}, "other question"),
        ({"question": "What is kept where Alan Branby settled in the end?"}, None),
        ({"question": "Who settled in earlier years, Alan Branby aside, and kept what?"}, None),
        ({"hops": chain().hops[:1]}, "other count"),
        ({"hops": chain().hops[::-1]}, "no subject"),
        ({"hops": [chain().hops[0], {**chain().hops[1].model_dump(), **document("Veldmouth and Alan Branby have the Amber Anchor")}]},
         "holds the answer"),
        ({"hops": [{**chain().hops[0].model_dump(), **document("Alan Branby saw the Amber Anchor in Veldmouth")}, chain().hops[1]]},
         "holds the answer"),
        ({"hops": [{**chain().hops[0].model_dump(), "answer": "early"}, chain().hops[1]]}, "other chain"),
    ],
)  # fmt: skip
def test_a_chain_that_can_be_cut_short_is_rejected(changes: dict, kind: str | None) -> None:
    if kind is None:
        check_chain(chain(**changes), ["Alan Branby", "Veldmouth"])
        return
    with pytest.raises(RejectedError) as caught:
        check_chain(chain(**changes), ["Alan Branby", "Veldmouth"])
    assert caught.value.kind == kind


def test_an_answer_stands_as_a_whole_word() -> None:
    written = Written(title="T", passage="In Veld it was 1066, and 1066 ships with forty oars came, one oarsman each.")
    assert find_answer("forty oars", written, "Veld") == (41, 51)
    kinds = {
        "fort": "not in passage", "the": "other answer", "one": "other answer", "Veld": "other answer", "1066": "said twice",
    }  # fmt: skip
    for absent, kind in kinds.items():
        with pytest.raises(RejectedError) as caught:
            find_answer(absent, written, "Veld")
        assert caught.value.kind == kind
    with pytest.raises(RejectedError, match="contains 'oars'"):
        check_without([written], ["oars"])


def insight(*statements: str) -> Insight:
    documents = [{**document(statement), "statement": statement} for statement in statements]
    return Insight.model_validate(
        {"insight": "The Red Lantern was moved twice because of floods in spring.", "documents": documents}
    )


def test_an_insight_is_stated_in_other_words_each_time() -> None:
    other = "Spring floods forced The Red Lantern to change places two times"
    third = "On two occasions high water made its keepers carry The Red Lantern elsewhere"
    check_insight(insight(other, third), "The Red Lantern")
    for statements in ((other, other + " then"), ("The Red Lantern was moved twice because of the spring floods",)):
        with pytest.raises(RejectedError) as caught:
            check_insight(insight(*statements), "The Red Lantern")
        assert caught.value.kind == "same words"
    with pytest.raises(RejectedError, match="seems to state"):
        check_not_stated(insight(other).documents, "Spring floods forced change")
