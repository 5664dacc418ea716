"""Floors: a planted shortcut is found by the rule that it is for, and rows without one have none."""

import copy
from collections.abc import Callable

import pytest

from synthctx_data.examine import Examiner
from synthctx_data.floors import MEANINGS, RECURRENCE, Floor, Floors, _found
from synthctx_data.row_checks import Expected
from synthctx_data.rules import BLIND, MULTI_HOP, NARROW, SINGLE_HOP, shape, skeleton
from synthctx_data.schema import to_table
from tests.conftest import every_example, examples_for

Rows = list[dict]
ROWS: Rows = to_table(
    every_example(examples_for("mdqa_synth", "templated_haystack", train=60, validation=0, max_tokens=2048))
).to_pylist()


def floors(rows: Rows) -> dict[str, Floor]:
    judged = Floors()
    for row in rows:
        judged.add(row)
    return {floor.rule: floor for floor in judged.floors()}


def edit(row: dict, change: Callable[[int, str], str]) -> None:
    """Rewrites every document of a row by its index and text, with all spans kept right (needles become whole documents)."""
    prompt, at, parts = row["prompt"][0]["content"], 0, []
    size = 0
    for i, document in enumerate(row["documents"]):
        between = prompt[at : document["start"]]
        at = document["end"]
        text = change(i, prompt[document["start"] : document["end"]])
        document["start"] = size + len(between)
        document["end"] = size = document["start"] + len(text)
        parts += [between, text]
    row["prompt"][0]["content"] = "".join([*parts, prompt[at:]])
    for needle in row["needles"]:
        document = row["documents"][needle["document"]]
        start = row["prompt"][0]["content"].index(row["answers"][0], document["start"])
        needle.update(
            document, document=needle["document"], answer_start=start, answer_end=start + len(row["answers"][0])
        )


def holding(row: dict, i: int) -> bool:
    return any(needle["document"] == i for needle in row["needles"])


def plant_stands_once(row: dict, number: int) -> None:
    """Haystack documents are the same in every row, needles' documents are not."""
    edit(row, lambda i, text: text if holding(row, i) else f"Document {i % 15}\nIt is the same everywhere.")


def plant_stands_often(row: dict, number: int) -> None:
    row["answers"] = ["Zed"]
    row["completion"][0]["content"] = "Zed"
    edit(row, lambda i, text: "Same\nIt was Zed." if holding(row, i) else f"{text} Row {number}.")


def plant_repeated(row: dict, number: int) -> None:
    needle = row["needles"][0]["document"]
    twin = (needle + 1) % len(row["documents"])
    edit(row, lambda i, text: f"{text} This was said here, and is said again." if i in (needle, twin) else text)


def plant_wording(row: dict, number: int) -> None:
    edit(row, lambda i, text: f"{text} Nobody knows why." if holding(row, i) else text)


def plant_title(row: dict, number: int) -> None:
    title = _title(row)
    edit(row, lambda i, text: text if text.startswith(title) else f"Title {i}\n{text.partition(chr(10))[2]}")


def plant_lone_title(row: dict, number: int) -> None:
    edit(row, lambda i, text: f"Lone {text}" if holding(row, i) else f"Title {i % 5}\n{text.partition(chr(10))[2]}")


def plant_long(row: dict, number: int) -> None:
    edit(row, lambda i, text: text + f" {text.partition(chr(10))[2]}" * 2 if holding(row, i) else text)


def plant_short(row: dict, number: int) -> None:
    edit(row, lambda i, text: f"T\n{row['answers'][0]}" if holding(row, i) else text)


def plant_first(row: dict, number: int) -> None:
    _move(row, 0)


def plant_last(row: dict, number: int) -> None:
    _move(row, len(row["documents"]) - 1)


def _move(row: dict, to: int) -> None:
    at = row["needles"][0]["document"]
    prompt = row["prompt"][0]["content"]
    texts = [prompt[d["start"] : d["end"]] for d in row["documents"]]
    texts[at], texts[to] = texts[to], texts[at]
    row["needles"][0]["document"] = to
    edit(row, lambda i, text: texts[i])


def plant_type(row: dict, number: int) -> None:
    """All answers are numbers, and only needles' documents hold any."""
    answer = f"{number + 100}"
    row["answers"] = [answer]
    row["completion"][0]["content"] = answer
    edit(
        row,
        lambda i, text: (
            f"Some\nIt has {answer} of them." if holding(row, i) else "Some\nIt has a few of them, not many."
        ),
    )


def plant_hub(row: dict, number: int) -> None:
    """The needle's title shares a word with every other title; these share none."""
    names = [f"Uno{i} Duo{i}" for i in range(len(row["documents"]))]
    hub = " ".join(name.split()[0] for name in names)
    edit(row, lambda i, text: f"{hub if holding(row, i) else names[i]}\n{text.partition(chr(10))[2]}")


def plant_mention(row: dict, number: int) -> None:
    title = _title(row)
    edit(row, lambda i, text: text if holding(row, i) else f"{text} Compare {title}.")


def _title(row: dict) -> str:
    span = row["documents"][row["needles"][0]["document"]]
    return row["prompt"][0]["content"][span["start"] : span["end"]].partition("\n")[0]


PLANTED = [
    (plant_hub, "title like others"),
    (plant_mention, "title mentioned"),
    (plant_stands_once, "stands in few rows"),
    (plant_stands_often, "stands in many rows"),
    (plant_repeated, "says what others say"),
    (plant_wording, "worded like needles"),
    (plant_title, "shares its title"),
    (plant_lone_title, "has its title alone"),
    (plant_first, "first"),
    (plant_last, "last"),
    (plant_long, "longest"),
    (plant_short, "shortest"),
    (plant_type, "answer's type"),
]


def test_every_blind_rule_has_a_shortcut_that_is_planted() -> None:
    assert {rule for _, rule in PLANTED} == {*BLIND, *RECURRENCE}


def test_the_page_can_say_what_every_rule_does() -> None:
    assert {*MEANINGS} == {*RECURRENCE, *BLIND, *NARROW, *SINGLE_HOP, *MULTI_HOP, "end of a chain"}


def test_rows_without_a_shortcut_have_low_floors() -> None:
    found = floors(ROWS)
    assert set(found) == {*RECURRENCE, *BLIND, *NARROW, *SINGLE_HOP}
    assert not [floor for floor in found.values() if floor.is_far and not floor.reads]
    assert found["any answer of the subject"].score < 0.4
    assert found["BM25"].score > 0.5


@pytest.mark.parametrize(("plant", "rule"), PLANTED, ids=[rule for _, rule in PLANTED])
def test_a_planted_shortcut_is_found_by_its_rule(plant: Callable[[dict, int], None], rule: str) -> None:
    rows = copy.deepcopy(ROWS)
    for number, row in enumerate(rows):
        plant(row, number)
    floor = floors(rows)[rule]
    assert floor.is_far, floor
    assert not floor.reads
    if rule in ("first", "shares its title"):
        examiner = Examiner(Expected())
        examiner.add((("train", row) for row in rows), lambda count: None)
        assert any(repr(rule) in message for message in examiner.done().report.faults["blind"])


@pytest.mark.parametrize(
    ("asked", "fault"),
    [(Expected(), True), (Expected(stands_out="by design"), False), (Expected(depths=(0.0,)), False)],
    ids=["nothing", "own documents", "depths"],
)
def test_what_was_asked_for_is_no_fault(asked: Expected, fault: bool) -> None:
    rows = copy.deepcopy(ROWS)
    for row in rows:
        plant_first(row, 0)
    examiner = Examiner(asked)
    examiner.add((("train", row) for row in rows), lambda count: None)
    assert ("blind" in examiner.done().report.faults) == fault


def test_a_chain_is_followed_to_its_end() -> None:
    rows = to_table(
        every_example(examples_for("musique_synth", "symbolic_haystack", train=40, max_tokens=2048))
    ).to_pylist()
    found = floors(rows)
    assert set(found) >= {*MULTI_HOP, "end of a chain"}
    assert found["dead end"].score == 0
    for row in rows:  # the chain ends with the answer
        answer, message = row["answers"][0], row["prompt"][0]
        message["content"] = message["content"].replace(f"{answer}:", f"{'x' * len(answer)}:")
    assert floors(rows)["dead end"].score == 1


@pytest.mark.parametrize(
    ("scores", "needles", "share"),
    [
        ([3, 2, 1], {0}, 1),
        ([3, 3, 1], {0}, 0.5),
        ([1, 1, 1, 1], {0, 1}, 0.5),
        ([5, 1, 1], {0, 1}, 0.75),
        ([0, 1], {0}, 0),
    ],
)
def test_ties_are_broken_at_random(scores: list[float], needles: set[int], share: float) -> None:
    assert _found(scores, needles) == share


def test_shapes_and_skeletons() -> None:
    assert skeleton("The grave of Orin Morvson is in Arklea.") == "X grave of X is in X"
    assert skeleton("It has 1,234 of them") == "X has X of them"
    import re

    for answer, like in (
        ("Orin Morvson", "Ala Abley"),
        ("12 May 1903", "3 June 1888"),
        ("1,234", "98,765"),
        ("a cat", "the dog"),
    ):
        assert re.fullmatch(shape(answer), like)
    assert not re.fullmatch(shape("Orin Morvson"), "12 May")
