import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthctx_data.metrics import (
    answer_f1,
    answer_recall,
    best_subspan_em,
    citation_score,
    citations,
    exact_match,
    normalize_answer,
    set_score,
)


def slow_normal(text: str) -> str:
    """SQuAD's four steps, one after the other."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Beatles!", "beatles"),
        ("an  apple, a day", "apple day"),
        ("A", ""),
        ("U.S.A.", "usa"),
        ("Röntgen\n(Wilhelm)", "röntgen wilhelm"),
        ("theatre", "theatre"),
    ],
)
def test_normal_form(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


@given(st.text())
def test_normal_form_equals_squads(text: str) -> None:
    assert normalize_answer(text) == slow_normal(text)


@pytest.mark.parametrize(
    ("prediction", "answers", "em", "f1", "subspan"),
    [
        ("The Beatles", ["beatles!"], 1, 1, 1),
        ("the Beatles in 1962", ["Beatles", "The Who"], 0, 0.5, 1),
        ("four", ["10"], 0, 0, 0),
        ("it was\nWilhelm Röntgen", ["Wilhelm Röntgen"], 0, 2 / 3, 0),
        ("a b b c", ["b c c"], 0, 2 * 2 / (3 + 3), 0),
        ("", ["x"], 0, 0, 0),
        ("The", ["a"], 1, 1, 1),
        ("x", [], 0, 0, 0),
    ],
)
def test_answers_score_as_in_the_originals(
    prediction: str, answers: list, em: float, f1: float, subspan: float
) -> None:
    assert exact_match(prediction, answers) == em
    assert answer_f1(prediction, answers) == pytest.approx(f1)
    assert best_subspan_em(prediction, answers) == subspan


def slow_f1(prediction: str, answer: str) -> float:
    """Word by word, each of the answer's taken off a list."""
    mine, theirs = normalize_answer(prediction).split(), normalize_answer(answer).split()
    if not mine or not theirs:
        return float(mine == theirs)
    left, shared = list(theirs), 0
    for word in mine:
        if word in left:
            left.remove(word)
            shared += 1
    if not shared:
        return 0.0
    precision, recall = shared / len(mine), shared / len(theirs)
    return 2 * precision * recall / (precision + recall)


some_words = st.lists(st.sampled_from(["a", "the", "red", "Red", "blue!", "x"]), max_size=6).map(" ".join)


@given(some_words, st.lists(some_words, min_size=1, max_size=3))
def test_f1_equals_the_slow_one_and_is_the_best_of_the_answers(prediction: str, answers: list[str]) -> None:
    assert answer_f1(prediction, answers) == pytest.approx(max(slow_f1(prediction, answer) for answer in answers))
    assert exact_match(prediction, answers) <= answer_f1(prediction, answers) <= 1
    assert exact_match(prediction, answers) <= best_subspan_em(prediction, answers)


@pytest.mark.parametrize(
    "text", ["", " ", "the a an", "!?.", "\x00\ufffd\ud800", "x" * 10**6, "a " * 500_000, "[" * 10**6, "[1" * 10**5]
)
def test_hostile_texts_have_scores(text: str) -> None:
    for metric in (exact_match, answer_f1, answer_recall, best_subspan_em):
        assert 0 <= metric(text, ["x", ""]) <= 1
        assert 0 <= metric("x", [text]) <= 1
    assert 0 <= citation_score(text, "[1]").f1 <= 1


@given(st.text())
def test_any_text_is_its_own_answer(text: str) -> None:
    assert exact_match(text, [text]) == answer_f1(text, [text]) == 1
    assert citation_score(text, text).f1 == 1


numbers = st.frozensets(st.integers(1, 9))


@given(numbers, numbers)
def test_citations_score_like_sets(predicted: frozenset[int], gold: frozenset[int]) -> None:
    written = "".join(f"[{number}]" for number in sorted(predicted))
    assert citations(written) == predicted
    score = set_score(predicted, gold)
    assert score == citation_score(f"Insight. {written}", "".join(f"[{number}]" for number in gold))
    swapped = set_score(gold, predicted)
    assert (score.precision, score.recall, score.f1) == (swapped.recall, swapped.precision, pytest.approx(swapped.f1))
    assert (score.f1 == 1) == (predicted == gold)


def test_citations_are_read_in_the_ways_people_write_them() -> None:
    assert citations("so [3][17, 22]; and [4 ; 5] but not [x], (6) or [" + "9" * 12 + "]") == {3, 17, 22, 4, 5}


@pytest.mark.parametrize(
    ("prediction", "answers", "recall"),
    [
        ("Paris, I think", ["Paris"], 1),
        ("the Eiffel", ["The Eiffel Tower"], 0.5),
        ("tower tower", ["tower"], 1),
        ("tower", ["tower tower"], 0.5),
        ("x", ["a b", "x y"], 0.5),
        ("", ["The"], 1),
        ("x", [], 0),
    ],
)
def test_recall_is_the_share_of_an_answers_words(prediction: str, answers: list[str], recall: float) -> None:
    assert answer_recall(prediction, answers) == recall
