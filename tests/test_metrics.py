import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthctx_data.metrics import holds, mentions, normalize_answer, normalize_answers


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


words = st.lists(st.sampled_from(["10", "1066", "king", "of", "kin", "g"]), max_size=8)


@given(words, words)
def test_mentions_means_consecutive_whole_words(text: list[str], answer: list[str]) -> None:
    slow = any(text[i : i + len(answer)] == answer for i in range(len(text)))
    assert mentions(" ".join(text), normalize_answers([" ".join(answer)])) == (bool(answer) and slow)


def test_holding_is_stricter_than_mentioning_except_for_single_letters() -> None:
    assert holds("in 1066", ("10",))
    assert not holds("in 1066", ("1",))
    assert holds("vitamin b 1", ("1",))
    assert holds("\u5317\u4eac\u5927\u5b66", ("\u4eac",))


def test_an_answer_of_which_nothing_is_left_is_mentioned_nowhere() -> None:
    assert normalize_answers(["The", "A", "!", "x", "X"]) == ("x",)
    assert not mentions("the a", normalize_answers(["The"]))
