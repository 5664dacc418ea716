import re
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthctx_data.matching import comparable, comparables, find_text, fold, holds, mentions, one_says, says

words = st.lists(st.sampled_from(["10", "1066", "king", "of", "kin", "g"]), max_size=8)


@given(words, words)
def test_mentions_means_consecutive_whole_words(text: list[str], answer: list[str]) -> None:
    slow = any(text[i : i + len(answer)] == answer for i in range(len(text)))
    assert mentions(" ".join(text), comparables([" ".join(answer)])) == (bool(answer) and slow)


def test_holding_is_stricter_than_mentioning_except_for_single_letters() -> None:
    assert holds("in 1066", ("10",))
    assert not holds("in 1066", ("1",))
    assert holds("vitamin b 1", ("1",))
    assert not holds("he walked", ("ed",))
    assert holds("he walked with ed", ("ed",))
    assert holds("\u5317\u4eac\u5927\u5b66", ("\u4eac",))


def test_an_answer_of_which_nothing_is_left_is_mentioned_nowhere() -> None:
    assert comparables(["The", "A", "!!!", "x", "X"]) == ("x",)
    assert not mentions("the a", comparables(["The"]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jos\u00e9 N\u00fa\u00f1ez", normalize("NFD", "Jos\u00e9 N\u00fa\u00f1ez")),
        ("Route 66", "\uff32\uff4f\uff55\uff54\uff45\u3000\uff16\uff16"),
        ("Cobbler's Reach", "Cobbler\u2019s Reach"),
        ("Cobbler's Reach", "Cob\u00adbler's\u00a0Reach"),
        ("1914-1918", "1914\u20131918"),
        ("twenty-one", "twenty\u2011one"),
        ("\u5317\u4eac", "\u200b\u5317\u4eac\ufeff"),
        ("\u5317\u4eac\u56fe\u4e66\u9986", "\u5317\u4eac\u56fe\n\u4e66\u9986"),
        ("\u845b\u57ce\u592a\u90ce", "\u845b\U000e0100\u57ce\u592a\u90ce"),
        ("John Smith", "John\nSmith"),
        ("1953", "\u0967\u096f\u096b\u0969"),
        ("O'Brien", "O\u00b4Brien"),
    ],
)
def test_texts_that_read_the_same_are_the_same(one: str, other: str) -> None:
    assert comparable(one) == comparable(other)
    for text, wanted in ((f"It is {other}, they say.", one), (f"It is {one}, they say.", other)):
        assert mentions(comparable(text), comparables([wanted]))
        span = find_text(wanted, text)
        assert span is not None
        assert comparable(text[span.start : span.end]) == comparable(wanted)


@settings(deadline=None)
@given(st.text(), st.text(min_size=1), st.text())
def test_a_text_is_found_where_it_was_put(before: str, wanted: str, after: str) -> None:
    span = find_text(wanted, f"{before} {wanted} {after}")
    if span is not None:
        found = fold(f"{before} {wanted} {after}"[span.start : span.end])
        assert "".join(fold(wanted).split()) in "".join(found.split())


@given(st.text())
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        (
            "\u7b2c0\u53f7\u56fe\u4e66\u9986\u7684\u9986\u957f\u662f\u5f20\u4f1f\u4ed6\u559c\u6b22\u65e7\u5730\u56fe\u3002",
            "\u5f20\u4f1f",
            True,
        ),
        ("\u7531NASA\u53d1\u5c04", "NASA", True),
        ("\u7531NASAX\u53d1\u5c04", "NASA", False),
        (
            "\u0e42\u0e23\u0e07\u0e40\u0e23\u0e35\u0e22\u0e19\u0e2d\u0e22\u0e39\u0e48\u0e17\u0e35\u0e48\u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e",
            "\u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e",
            True,
        ),
        ("\uc11c\uc6b8\uc740 \ud06c\ub2e4", "\uc11c\uc6b8", True),
        ("in 1066", "10", False),
    ],
    ids=["chinese", "latin in chinese", "part of a latin word", "thai", "korean", "english"],
)
def test_scripts_without_spaces_have_no_word_boundaries(text: str, answer: str, found: bool) -> None:
    assert mentions(comparable(text), comparables([answer])) == found
    span = find_text(answer, text, re.NOFLAG)
    assert (span is not None and text[span.start : span.end] == answer) == found


_PIECES = st.lists(
    st.sampled_from(
        [
            "The",
            "a",
            "an",
            "U.S.",
            "10",
            "1066",
            "Ed",
            "Ede-n",
            "zebra's",
            "été",
            "日本",
            "\n",
            ",",
            "Bar",
            "bar.",
            "“Bar”",
        ]
    )
)


@given(st.lists(_PIECES.map(" ".join), max_size=4), st.lists(_PIECES.map("".join), max_size=3))
def test_a_text_as_it_is_written_says_what_its_comparable_form_mentions(texts: list[str], wanted: list[str]) -> None:
    answers = comparables(wanted)
    slow = [mentions(comparable(text), answers) for text in texts]
    assert [says(text, answers) for text in texts] == slow
    assert one_says(texts, answers) == any(slow)
