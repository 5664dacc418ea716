"""Every fault is planted in rows that have none, and found; nothing else is."""

import copy
from collections.abc import Callable

import pytest

from synthctx_data.checks import FAULT_KINDS, Checker, Report
from synthctx_data.examine import Examiner
from synthctx_data.row_checks import Expected, links
from synthctx_data.schema import to_table
from tests.conftest import every_example, examples_for

EXAMPLES = examples_for("mdqa_synth", "templated_haystack", train=60, validation=20, max_tokens=1024)
ROWS = to_table(every_example(EXAMPLES)).to_pylist()
Rows = list[dict]


def check(rows: Rows, **expected: object) -> Report:
    checker = Checker(Expected(**{"max_tokens": 1024, "counter": EXAMPLES.layout.counter, **expected}))
    for row in rows:
        checker.add(row["id"].split("/")[2], row)
    return checker.report()


def found(rows: Rows, **expected: object) -> set[str]:
    return {kind for kind, faults in check(rows, **expected).faults.items() if faults}


def put(row: dict, number: int, text: str) -> None:
    """Replaces the text of a document by another of the same number of characters."""
    span = row["documents"][number]
    size = span["end"] - span["start"]
    prompt = row["prompt"][0]["content"]
    row["prompt"][0]["content"] = prompt[: span["start"]] + text[:size].ljust(size, ".") + prompt[span["end"] :]


def document(row: dict, number: int) -> str:
    return row["prompt"][0]["content"][row["documents"][number]["start"] : row["documents"][number]["end"]]


def longest(row: dict, but: int) -> int:
    """The number of the longest document that is no needle's and not `but`."""
    taken = {but, *(needle["document"] for needle in row["needles"])}
    sizes = {i: d["end"] - d["start"] for i, d in enumerate(row["documents"]) if i not in taken}
    return max(sizes, key=lambda i: sizes[i])


def plant_leak(rows: Rows) -> None:
    put(rows[3], longest(rows[3], -1), f"so it was {rows[3]['answers'][0]} after all")


def plant_leak_in_the_needles_own_document(rows: Rows) -> None:
    needle = rows[3]["needles"][0]
    rows[3]["documents"][needle["document"]]["end"] = needle["end"]
    needle["start"] = needle["answer_start"]
    needle["end"] = needle["answer_end"]
    rows[3]["answers"].append(document(rows[3], needle["document"]).split("\n")[0])


def plant_wrong_answer_span(rows: Rows) -> None:
    rows[3]["needles"][0]["answer_end"] -= 1


def plant_wrong_document(rows: Rows) -> None:
    needle = rows[3]["needles"][0]
    needle["document"] = (needle["document"] + 1) % len(rows[3]["documents"])


def plant_document_that_is_not_there(rows: Rows) -> None:
    rows[3]["needles"][0]["document"] = 10_000


def plant_overlapping_documents(rows: Rows) -> None:
    rows[3]["documents"][1]["start"] = rows[3]["documents"][0]["end"] - 1


def plant_span_beyond_the_prompt(rows: Rows) -> None:
    rows[3]["documents"][-1]["end"] = 10**7


def plant_wrong_completion(rows: Rows) -> None:
    rows[3]["completion"][0]["content"] = "something else"


def plant_no_needle(rows: Rows) -> None:
    rows[3]["needles"] = []


def plant_same_distractor_twice(rows: Rows) -> None:
    row = rows[3]
    big = longest(row, -1)
    other = longest(row, big)
    text = document(row, other)
    put(row, big, text)
    row["documents"][big]["end"] = row["documents"][big]["start"] + len(text)


def plant_same_text_below_another_title(rows: Rows) -> None:
    row = rows[3]
    big = longest(row, -1)
    text = f"T\n{document(row, longest(row, big)).partition(chr(10))[2]}"
    put(row, big, text)
    row["documents"][big]["end"] = row["documents"][big]["start"] + len(text)


def plant_same_needle_twice(rows: Rows) -> None:
    rows[3] = {**copy.deepcopy(rows[4]), "id": rows[3]["id"], "question": "another one?"}
    put(rows[3], longest(rows[3], -1), "another haystack")


def plant_same_context_twice(rows: Rows) -> None:
    """Another sentence of the same document is asked for in the same haystack."""
    row = copy.deepcopy(rows[4])
    needle = row["needles"][0]
    span = row["documents"][needle["document"]]
    text = document(row, needle["document"])
    title = text.split("\n")[0]
    row["answers"] = [title]
    row["completion"][0]["content"] = title
    needle.update(
        start=span["start"], end=span["end"], answer_start=span["start"], answer_end=span["start"] + len(title)
    )
    rows[3] = {**row, "id": rows[3]["id"], "question": "another one?"}


def plant_same_fact_in_two_splits(rows: Rows) -> None:
    rows[-1] = {**copy.deepcopy(rows[4]), "id": rows[-1]["id"]}
    put(rows[-1], longest(rows[-1], -1), "another haystack")


def plant_same_question_in_two_splits(rows: Rows) -> None:
    rows[-1]["question"] = rows[4]["question"]
    rows[-1]["answers"] = [*rows[-1]["answers"], "zzz"]
    rows[4]["answers"] = rows[-1]["answers"] = sorted({*rows[4]["answers"], *rows[-1]["answers"]})


def plant_underfill(rows: Rows) -> None:
    rows[30]["num_tokens"] = 1013


def plant_overfill(rows: Rows) -> None:
    rows[30]["num_tokens"] = 1025


def plant_wrong_count(rows: Rows) -> None:
    rows[3]["num_tokens"] = 1018 if rows[3]["num_tokens"] != 1018 else 1019


def plant_answer_of_signs(rows: Rows) -> None:
    rows[3]["answers"].append("!!!")


def plant_answer_that_its_metric_refuses(rows: Rows) -> None:
    """A line break in the answer, of which the metric reads the first line alone."""
    row = rows[3]
    needle, answer = row["needles"][0], row["answers"][0]
    broken = answer.replace(" ", "\n") if " " in answer else f"{answer[:2]}\n{answer[3:]}"
    prompt = row["prompt"][0]["content"]
    row["prompt"][0]["content"] = prompt[: needle["answer_start"]] + broken + prompt[needle["answer_end"] :]
    row["answers"] = [broken]
    row["completion"][0]["content"] = broken


PLANTED: list[tuple[Callable[[Rows], None], set[str]]] = [
    (plant_leak, {"leak", "tokens"}),
    (plant_leak_in_the_needles_own_document, {"leak"}),
    (plant_wrong_answer_span, {"spans"}),
    (plant_wrong_document, {"spans"}),
    (plant_document_that_is_not_there, {"spans"}),
    (plant_overlapping_documents, {"spans"}),
    (plant_span_beyond_the_prompt, {"spans"}),
    (plant_wrong_completion, {"spans"}),
    (plant_no_needle, {"spans"}),
    (plant_same_distractor_twice, {"distractors", "tokens"}),
    (plant_same_text_below_another_title, {"distractors", "tokens"}),
    (plant_same_needle_twice, {"needles", "tokens"}),
    (plant_same_context_twice, {"contexts", "leak", "tokens"}),
    (plant_same_fact_in_two_splits, {"splits", "tokens"}),
    (plant_same_question_in_two_splits, {"splits"}),
    (plant_underfill, {"fill"}),
    (plant_overfill, {"fill"}),
    (plant_wrong_count, {"tokens"}),
    (plant_answer_of_signs, {"metric"}),
    (plant_answer_that_its_metric_refuses, {"metric", "tokens"}),
]


def test_rows_without_a_fault_have_none() -> None:
    assert found(ROWS) == set()


@pytest.mark.parametrize(("plant", "faults"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_fault_is_found_and_no_other(plant: Callable[[Rows], None], faults: set[str]) -> None:
    rows = copy.deepcopy(ROWS)
    plant(rows)
    seen = found(rows)
    wanted = faults - {"tokens"}  # a text that was replaced often has another number of tokens, but need not
    assert wanted <= seen <= faults | ({"tokens"} if "tokens" in faults else set())
    examiner = Examiner(Expected(1024))
    examiner.add(((row["id"].split("/")[2], row) for row in rows), lambda count: None)
    assert wanted <= {kind for kind, faults in examiner.done().report.faults.items() if faults} | {"tokens"}
    report = check(rows)
    assert all(any(row["id"] in message for row in rows) for kind in seen for message in report.faults[kind])


CHAINED = to_table(
    every_example(examples_for("musique_synth", "templated_haystack", train=30, validation=6, max_tokens=2048))
).to_pylist()


def test_a_planted_shortcut_is_found() -> None:
    """A document that is no hop's own says what a hop says, of the first hop and of a later one."""
    assert found(CHAINED, max_tokens=2048) == set()
    for hop in (0, 1):
        rows = copy.deepcopy(CHAINED)
        row = next(row for row in rows if len(row["needles"]) > 2)
        subject, answer = links(row)[hop]
        number = max(
            (i for i in range(len(row["documents"])) if i not in [n["document"] for n in row["needles"]]),
            key=lambda i: row["documents"][i]["end"] - row["documents"][i]["start"],
        )
        put(row, number, f"{answer} has to do with {subject}")
        report = check(rows, max_tokens=2048)
        assert set(report.faults) - {"tokens"} == {"shortcut"}
        assert f"document {number + 1} links" in report.faults["shortcut"][0]


def test_a_planted_wrong_citation_is_found() -> None:
    made = every_example(examples_for("summhay_synth", "symbolic_haystack", train=30, validation=6, max_tokens=4096))
    clean = to_table(made).to_pylist()
    assert found(clean, max_tokens=4096) == set()
    for plant, kind in ((plant_uncited, "leak"), (plant_cited_too_little, "spans"), (plant_wrong_number, "spans")):
        rows = copy.deepcopy(clean)
        plant(rows)
        assert found(rows, max_tokens=4096) - {"tokens"} == {kind}


def plant_uncited(rows: Rows) -> None:
    row = rows[3]
    needle = row["needles"][0]
    put(row, longest(row, -1), row["prompt"][0]["content"][needle["start"] : needle["end"]])


def plant_cited_too_little(rows: Rows) -> None:
    next(row for row in rows if len(row["needles"]) > 1)["needles"].pop()


def plant_wrong_number(rows: Rows) -> None:
    rows[3]["needles"][0]["answer_start"] -= 1


def at_depth(depth: str, count: int) -> Rows:
    made = examples_for("mdqa_synth", "templated_haystack", train=count, validation=0, max_tokens=1024, depth=depth)
    return to_table(every_example(made)).to_pylist()


@pytest.mark.parametrize("depth", ["0.0", "0.5", "1.0", "0.4,0.5,0.6"])
def test_depths_at_few_places_are_skewed_and_as_asked_for(depth: str) -> None:
    rows = at_depth(depth, 60)
    assert found(rows) == {"depth"}
    asked = tuple(map(float, depth.split(",")))
    assert found(rows, depths=asked) == set()
    assert found(rows, depths=(0.75,)) == {"depth"}


def test_without_a_budget_the_largest_row_is_it() -> None:
    assert found(ROWS, max_tokens=None) <= {"fill"}
    small = copy.deepcopy(ROWS)
    small[0]["num_tokens"] = 500
    assert "fill" in found(small, max_tokens=None)


def test_every_kind_is_planted() -> None:
    planted = set.union(*(faults for _, faults in PLANTED)) | {"depth", "shortcut"}
    assert planted == set(FAULT_KINDS) - {"blind", "complete"}  # planted in test_floors.py and test_complete.py
