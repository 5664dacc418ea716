"""Rows judged from outside: rules that find the answer without the question, in code that shares nothing with the product's own.

Each bound is one that an independent reading of earlier rows found broken.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from statistics import fmean

import pytest

from builders import TASKS
from builders.examples import Examples
from synthctx_data.options import Options
from synthctx_data.prompts import ROOT
from synthctx_data.schema import to_table

BUDGETS = [pytest.param(budget, marks=pytest.mark.slow if budget > 4096 else ()) for budget in (1024, 4096, 32768)]
COUNT = {1024: 120, 4096: 90, 32768: 40}
NAME = re.compile(r"[A-Z0-9]\S*")


@cache
def rows(task: str, variant: str, budget: int, split: str = "train") -> Sequence[dict]:
    examples = Examples(TASKS[task], variant, Options(max_tokens=budget, train=COUNT[budget], validation=COUNT[budget]))
    return to_table([examples.make(split, i) for i in range(COUNT[budget])]).to_pylist()


def texts(row: dict) -> list[str]:
    return [row["prompt"][0]["content"][d["start"] : d["end"]] for d in row["documents"]]


def gold(row: dict) -> set[int]:
    return {needle["document"] for needle in row["needles"]}


def f1(cited: set[int], right: set[int]) -> float:
    shared = len(cited & right)
    return 2 * shared / (len(cited) + len(right)) if shared else 0.0


def over_all(found: Sequence[tuple[dict, set[int]]]) -> tuple[float, float]:
    """The F1 of citing these documents of each row, and that of citing all."""
    everything = fmean(f1(set(range(len(row["documents"]))), gold(row)) for row, _ in found)
    return fmean(f1(cited, gold(row)) for row, cited in found), everything


def skeleton(sentence: str) -> str:
    return re.sub(
        r"(X )*X\b", "X", " ".join("X" if NAME.match(word) else word for word in sentence.rstrip(".").split())
    )


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("variant", ["mdqa_synth/templated", "musique_synth/templated", "summhay_synth/templated"])
def test_a_document_that_stands_in_one_row_only_is_no_needle(variant: str, budget: int) -> None:
    task, expression = variant.split("/")
    made = rows(task, f"{expression}_haystack", budget)
    seen = Counter(text for row in made for text in set(texts(row)))
    found = [(row, {i for i, text in enumerate(texts(row)) if seen[text] == 1}) for row in made]
    rule, everything = over_all(found)
    assert rule <= everything + 0.05


@pytest.mark.parametrize("budget", BUDGETS)
def test_an_entry_that_repeats_is_no_needle(budget: int) -> None:
    found = []
    for row in rows("summhay_synth", "symbolic_haystack", budget):
        entries = Counter(line for text in texts(row) for line in text.split("\n"))
        found.append((row, {i for i, t in enumerate(texts(row)) if any(entries[line] > 1 for line in t.split("\n"))}))
    rule, everything = over_all(found)
    assert rule <= everything + 0.1


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("task", ["mdqa_synth", "musique_synth"])
def test_a_title_that_stands_twice_is_no_needle(task: str, budget: int) -> None:
    found = []
    for row in rows(task, "templated_haystack", budget):
        titles = [text.split("\n")[0] for text in texts(row)]
        found.append((row, {i for i, title in enumerate(titles) if titles.count(title) > 1}))
    rule, everything = over_all(found)
    assert rule <= everything + 0.05


@pytest.mark.parametrize("task", TASKS)
def test_train_and_validation_share_no_wording(task: str) -> None:
    said = []
    for split in ("train", "validation"):
        made = rows(task, "templated_haystack", 1024, split)
        sentences = (s for row in made for text in texts(row) for s in re.split(r"(?<=\.)\s", text.split("\n")[-1]))
        said.append({skeleton(sentence) for sentence in sentences if sentence.endswith(".")})
    assert len(said[0]) > 60
    assert not said[0] & said[1]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("context", ["haystack", "padding"])
def test_the_subject_and_the_type_do_not_answer(context: str, budget: int) -> None:
    """Any text of the answer's form in the documents about the question's subject, the relation unread."""
    hits = []
    for row in rows("mdqa_synth", f"templated_{context}", budget):
        answer = row["answers"][0]
        form = r" ".join("[A-Z][a-z]+" if word[0].isalpha() else r"[\d,]*\d" for word in answer.split())
        about = [text for text in texts(row) if text.split("\n")[0] in row["question"]]
        found = {m for text in about for m in re.findall(rf"(?<![\w,])(?:{form})(?![\w,])", text.partition("\n")[2])}
        found -= {part for part in found if part in row["question"]}
        hits.append((answer in found) / max(len(found), 1))
    assert fmean(hits) < 0.4


@cache
def relation_of() -> dict[str, str]:
    """The relation that each wording states, from the template's text."""
    source = (ROOT / "mdqa_synth/templated.jinja").read_text()
    blocks = re.findall(r"{% block (\w+) %}\n(.*?){% endblock %}", source, re.DOTALL)
    worded = [(name, line) for name, text in blocks if not name.startswith("ask_") for line in text.splitlines()]
    return {skeleton(re.sub(r"{{ \w+ }}", "X", line)): name for name, line in worded}


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_last_relation_does_not_answer(split: str, budget: int) -> None:
    """Any statement of the last relation about a subject that another document names, the question's own subject unread."""
    hits = []
    for row in rows("musique_synth", "templated_haystack", budget, split):
        last = row["needles"][-1]
        said = row["prompt"][0]["content"][last["start"] : last["end"]]
        asked = relation_of()[skeleton(said)]
        made = texts(row)
        candidates = []
        for i, text in enumerate(made):
            title, _, body = text.partition("\n")
            stated = [s for s in re.split(r"(?<=\.)\s", body) if relation_of().get(skeleton(s)) == asked]
            if stated and any(re.search(rf"\b{title}\b", other) for j, other in enumerate(made) if j != i):
                candidates.append(i)
        hits.append((last["document"] in candidates) / max(len(candidates), 1))
    assert fmean(hits) < 0.2


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("context", ["haystack", "padding"])
def test_the_end_of_a_chain_is_not_the_answer(context: str, budget: int) -> None:
    hits = []
    for row in rows("musique_synth", f"symbolic_{context}", budget):
        entries = dict(line.split(": ") for text in texts(row) for line in text.split("\n") if line.count(": ") == 1)
        (key,) = [word for word in row["question"].split() if word in entries]
        while key in entries:
            key = entries[key]
        hits.append(key == row["answers"][0])
    assert fmean(hits) < 0.1


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_subject_alone_does_not_cite(budget: int) -> None:
    """Documents that name the insight's subject: others about it do not state the insight."""
    precision = []
    for row in rows("summhay_synth", "templated_haystack", budget):
        counted = Counter(name for text in texts(row) for name in re.findall(r"(?:[A-Z][a-z]+ ?)+", text))
        names = [
            n.strip() for n in re.findall(r"(?:[A-Z][a-z]+ ?)+", row["question"]) if counted[n] or counted[n.strip()]
        ]
        subject = max(names, key=lambda name: sum(name in text for text in texts(row)), default="")
        cited = {i for i, text in enumerate(texts(row)) if subject in text}
        precision.append(len(cited & gold(row)) / max(len(cited), 1))
    assert fmean(precision) < 0.75
