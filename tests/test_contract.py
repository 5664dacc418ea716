"""What every variant of every task keeps. A new variant joins by being listed in its task."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from builders import TASKS
from builders.hub.card_section import CARD_TEMPLATES as CARDS
from synthctx_data.assemble import least_tokens
from synthctx_data.checks import Checker
from synthctx_data.corpora import read_corpus
from synthctx_data.errors import BudgetError, CorpusError, UsageError, WriterError
from synthctx_data.example import Example, cite
from synthctx_data.matching import comparable, holds
from synthctx_data.options import parse_hops
from synthctx_data.prompts import ROOT as PROMPTS
from synthctx_data.row_checks import Expected, cites, links
from synthctx_data.schema import SCHEMA, to_table
from tests.conftest import CORPORA, CORPUS, IDS, MAKES, VARIANTS, every_example, examples_for

SAMPLED = ("llm", "grounded")  # the concept expressions whose answers come from the sample
each_variant = pytest.mark.parametrize(("task", "variant"), VARIANTS, ids=IDS)
each_haystack = pytest.mark.parametrize(  # of each, the other context is made by the same code
    ("task", "variant"),
    [pytest.param(*one, marks=() if one[1].endswith("haystack") else pytest.mark.slow) for one in VARIANTS],
    ids=IDS,
)


@lru_cache
def small(task: str, variant: str) -> Sequence[Example]:
    """The examples of a variant with small options."""
    return every_example(examples_for(task, variant))


def rows(examples) -> list[tuple[str, dict]]:
    made = every_example(examples)
    return [(example.id.split("/")[2], row) for example, row in zip(made, to_table(made).to_pylist(), strict=True)]


@each_variant
def test_an_example_is_a_pure_function_of_its_index(task: str, variant: str) -> None:
    forwards = small(task, variant)
    other = examples_for(task, variant)
    last = other.sizes["train"] - 1
    assert [other.make("train", i) for i in range(last, -1, -1)] == forwards[last::-1]


@pytest.mark.parametrize(
    ("task", "variant"), [v for v in VARIANTS if not v[1].startswith(SAMPLED)]
)  # the sample has one
def test_another_seed_gives_other_examples(task: str, variant: str) -> None:
    one, other = (every_example(examples_for(task, variant, seed=seed, max_tokens=2048, train=6)) for seed in (0, 1))
    assert not {example.prompt for example in one} & {example.prompt for example in other}


@each_variant
def test_more_examples_leave_the_first_as_they_are(task: str, variant: str) -> None:
    few, many = (examples_for(task, variant, train=train) for train in (5, 20))
    assert [few.make("train", i) for i in range(4)] == [many.make("train", i) for i in range(4)]


def many(task: str, variant: str) -> dict[str, int]:
    """As many examples as a statistic needs, or as the small corpus of the tests has."""
    if not variant.startswith("real"):
        return {"train": 100, "validation": 20}
    train = {"mdqa_synth": 45, "musique_synth": 14, "summhay_synth": 45}[task]
    return {"train": train, "validation": train // 9}


@each_variant
def test_check_finds_nothing(task: str, variant: str) -> None:
    examples = examples_for(task, variant, **many(task, variant), max_tokens=2048)
    checker = Checker(Expected(examples.options.max_tokens, (), examples.layout.counter))
    for split, row in rows(examples):
        checker.add(split, row)
    report = checker.report()
    assert report.ok, dict(report.faults)


@each_variant
def test_the_needles_answer_and_none_of_them_can_be_missed(task: str, variant: str) -> None:
    for row in to_table(small(task, variant)).to_pylist():
        prompt, completion = row["prompt"][0]["content"], row["completion"][0]["content"]
        answers = [prompt[needle["answer_start"] : needle["answer_end"]] for needle in row["needles"]]
        if cites(row):
            assert "".join(f"[{answer}]" for answer in answers) == completion
            assert len({needle["document"] for needle in row["needles"]}) == len(answers)
            continue
        assert answers[-1] == completion
        assert [needle["hop"] for needle in row["needles"]] == list(range(len(answers)))
        texts = [comparable(prompt[d["start"] : d["end"]]) for d in row["documents"]]
        at = [needle["document"] for needle in row["needles"]]
        steps = links(row) if len(at) > 1 else [("", comparable(completion))]
        for hop, (subject, answer) in enumerate(steps):
            linking = {
                i for i, text in enumerate(texts) if holds(text, (answer,)) and (not subject or holds(text, (subject,)))
            }
            allowed = set(at[:2]) if hop == 0 else {at[hop]}
            # Of a real chain, a passage may call its subject by another name than the passage before it.
            assert holds(texts[at[hop]], (answer,))
            assert linking <= allowed
            assert at[hop] in linking or variant.startswith("real")


@pytest.mark.parametrize("variant", TASKS["musique_synth"].variants)
def test_the_decomposition_answers_hop_by_hop(variant: str) -> None:
    for _, row in rows(examples_for("musique_synth", variant)):
        prompt, steps = row["prompt"][0]["content"], row["decomposition"]
        assert len(steps) == len(row["needles"]) > 1
        for step, needle in zip(steps, row["needles"], strict=True):
            stated = prompt[needle["answer_start"] : needle["answer_end"]]
            aliases = row["answers"] if step is steps[-1] else []
            assert comparable(stated) in map(comparable, [step["answer"], *aliases])
        for i, (step, before) in enumerate(zip(steps[1:], steps, strict=False), 1):
            assert (f"#{i}" if variant.startswith("real") else before["answer"]) in step["question"]


def test_a_question_is_in_one_split_whatever_the_variant() -> None:
    split_of = {}
    for variant, train in (("real_haystack", 360), ("real_limited", 45)):
        examples = examples_for("mdqa_synth", variant, train=train, validation=train // 9)
        for split, size in examples.sizes.items():
            for index in range(size):
                question = examples.expression.concept(split, index).question
                assert split_of.setdefault(question, split) == split
    assert len(split_of) < 400 + 50  # some are in both variants


@pytest.mark.parametrize("apart", [SAMPLED, ("real",)], ids=["sampled", "real"])
@pytest.mark.parametrize("task", TASKS)
def test_variants_are_paired(task: str, apart: tuple[str, ...]) -> None:
    """The same index has the same depth in every variant, and the same needles in both contexts of an expression.

    Not all at once: the corpus of the tests has few long chains, and the sample has the default hops and short contexts.
    """
    hops = {"hops": "2" if apart == SAMPLED else "2,3,4"} if task == "musique_synth" else {}
    budget = 32768 if (task, apart) == ("summhay_synth", SAMPLED) else 4096
    variants = [variant for variant in TASKS[task].variants if not variant.startswith(apart)]
    made = {v: every_example(examples_for(task, v, max_tokens=budget, validation=0, **hops)) for v in variants}
    for variant, examples in made.items():
        for mine, base in zip(examples, next(iter(made.values())), strict=False):
            assert mine.num_tokens >= least_tokens(budget)
            if task == "summhay_synth" and len(mine.needles) != len(base.needles):
                # In short contexts, a third of the budget may hold fewer; of a real insight, no more documents may contain it.
                # Of a grounded one, there are as many documents as state it.
                assert "real" in (variant[:4], *apart) or "grounded" in variant or len(base.needles) < len(mine.needles)
                continue
            for a, b in zip(depths(mine), depths(base), strict=True):
                assert a.low <= b.high, variant
                assert b.low <= a.high, variant
    for expression in {name.split("_")[0] for name in made}:
        contexts = [made[f"{expression}_{c}"] for c in ("haystack", "padding") if f"{expression}_{c}" in made]
        for pair in zip(*contexts, strict=True):
            assert len({(e.question, sorted(needle_texts(e))[0]) for e in pair}) == 1
            assert len({tuple(sorted(needle_texts(e))) for e in pair}) == 1


class Range(NamedTuple):
    """The depth of a needle, and the range of depths that would have put it there."""

    at: float
    low: float
    high: float


def depths(example) -> list[Range]:
    """The depth of each needle, in characters of the other documents, the least first.

    Depths are shares of tokens, of which characters are no exact measure: a range reaches to the documents next to the needle.
    """
    at = {needle.document for needle in example.needles}
    ends = [0, *accumulate(d.end - d.start for i, d in enumerate(example.documents) if i not in at)]
    whole = max(ends[-1], 1)
    slots = sorted(n.document - sum(other < n.document for other in at) for n in example.needles)
    return [Range(ends[i] / whole, ends[max(i - 1, 0)] / whole, ends[min(i + 1, len(ends) - 1)] / whole) for i in slots]


def needle_texts(example) -> tuple[str, ...]:
    return tuple(example.prompt[slice(*example.documents[n.document])] for n in example.needles)


@pytest.mark.parametrize(
    ("task", "variant"),
    [v for v in VARIANTS if v[1].endswith("haystack") and not v[1].startswith(("real", "grounded"))],
)
def test_needles_stand_among_a_users_documents(task: str, variant: str, tmp_path: Path) -> None:
    documents = read_corpus([str(CORPUS)]).documents[:300]
    lines = [{"title": d.title, "text": d.text, "license": "CC BY-SA", "source": "Wikipedia"} for d in documents]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    examples = examples_for(task, variant, corpus=(str(tmp_path),), max_tokens=8192)
    checker = Checker(Expected(8192, (), examples.layout.counter))
    titles = {document.title for document in documents}
    for split, row in rows(examples):
        checker.add(split, row)
        prompt = row["prompt"][0]["content"]
        mine = [d for d in row["documents"] if prompt[d["start"] : d["end"]].split("\n")[0] in titles]
        assert len(mine) > len(row["documents"]) / 2
        assert row["sources"] == [{"source": "Wikipedia", "license": "CC BY-SA"}]
    assert checker.report().ok, dict(checker.report().faults)


@each_variant
@pytest.mark.parametrize("depth", ["0,0.5,1", *(pytest.param(one, marks=pytest.mark.slow) for one in ("0", "1"))])
def test_given_depths_are_kept(task: str, variant: str, depth: str) -> None:
    asked = [float(part) for part in depth.split(",")]
    for index, example in enumerate(every_example(examples_for(task, variant, depth=depth, validation=0))):
        wanted = sorted(asked[(index + hop) % len(asked)] for hop in range(len(example.needles)))
        for found, one in zip(depths(example), wanted, strict=True):
            assert found.low - 0.1 <= one <= found.high + 0.1


@each_haystack
def test_depths_are_spread_over_the_context(task: str, variant: str) -> None:
    sizes = {**many(task, variant), "validation": 0}
    examples = examples_for(task, variant, **sizes, max_tokens=4096)
    tenths = Counter(int(9.99 * found.at) for example in every_example(examples) for found in depths(example))
    assert len(tenths) >= min(7, sum(tenths.values()) // 3)


options = st.fixed_dictionaries(
    {
        "max_tokens": st.one_of(st.integers(512, 700), st.integers(700, 5000)),
        "seed": st.integers(0, 10**6),
        "depth": st.sampled_from(["uniform", "0.0,0.5,1.0", "0.25"]),
        "make": st.sampled_from([None, *MAKES]),
        "variant": st.sampled_from(VARIANTS),
        "key_style": st.sampled_from(["uuid", "integer", "word"]),
        "distractors": st.sampled_from(["bm25", "random"]),
        "index": st.integers(0, 11),
    }
)


SLOWLY = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=40, deadline=None, suppress_health_check=SLOWLY)
@given(options=options)
def test_budget_and_spans_hold_for_any_options(tokenizers, options: dict) -> None:
    require_budget_and_spans(tokenizers, options)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=SLOWLY)
@given(options=options)
def test_budget_and_spans_hold_for_many_more_options(tokenizers, options: dict) -> None:
    require_budget_and_spans(tokenizers, options)


def require_budget_and_spans(tokenizers: dict[str, str], options: dict) -> None:
    task, variant = options.pop("variant")
    make, index = options.pop("make"), options.pop("index")
    reads = TASKS[task].variant(variant).expression.reads
    for name in ("key_style", "distractors"):
        if name not in reads:
            del options[name]
    if variant.startswith(SAMPLED):
        del options["seed"]
    elif task == "musique_synth":
        options["hops"] = "2" if variant.startswith("real") else "2,3,4"
    tokenizer = tokenizers[make] if make else None
    examples = examples_for(task, variant, tokenizer=tokenizer, **options)
    try:
        example = examples.make("train", index % examples.sizes["train"])
    except BudgetError as error:
        # A token a byte: 512 of them do not hold a question and its passage, or hold them and no other document.
        assert "alone have" in str(error) or "beside no other documents" in str(error)
        assume(False)
    except CorpusError as error:
        assert "too long for --max-tokens, passed over" in str(error)
        assume(False)
    except WriterError:
        # The sample asks about passages that fit under its own tokenizer. Under one of more tokens, other passages are asked about.
        assert variant.startswith("grounded")
        assert make
        assume(False)
    counted = examples.layout.counter.conversation(example.prompt, example.completion)
    assert counted == example.num_tokens
    assert least_tokens(examples.options.max_tokens) <= counted <= examples.options.max_tokens
    for span in example.documents:
        text = example.prompt[span.start : span.end]
        assert text == text.strip() != ""
        assert re.search(r"\]\n$", example.prompt[: span.start])
        assert example.prompt[span.end : span.end + 2] == "\n\n"
    for needle in example.needles:
        document = example.documents[needle.document]
        if example.completion == cite(n.document for n in example.needles):
            assert example.prompt[slice(*needle.answer)] == str(needle.document + 1)
            continue
        edges = [
            document.start,
            needle.span.start,
            needle.answer.start,
            needle.answer.end,
            needle.span.end,
            document.end,
        ]
        assert edges == sorted(edges)
        assert example.prompt[slice(*needle.answer)] == example.completion or needle is not example.needles[-1]


@pytest.mark.parametrize("task", TASKS)
def test_card_and_templates_are_there(task: str) -> None:
    assert Path(PROMPTS / task / "_example.jinja").exists()
    card = (CARDS / "_card.md").read_text() + (CARDS / f"{task}.md").read_text()
    for variant in TASKS[task].variants:
        assert f"`{variant}`" in card
    for field in SCHEMA.names:
        assert f"`{field}`" in card


@each_haystack
def test_the_row_of_an_id_stays_when_a_set_grows(task: str, variant: str) -> None:
    """What versions of a published set go by: builders/hub/versions.py."""
    large = examples_for(task, variant, train=6, validation=3)
    for split, size in large.sizes.items():
        small = examples_for(task, variant, **{**large.sizes, split: max(size - 2, 1)})
        for other, kept in small.sizes.items():
            assert [small.make(other, i) for i in range(kept)] == [large.make(other, i) for i in range(kept)]


@each_variant
def test_rows_have_the_schema(task: str, variant: str) -> None:
    examples = small(task, variant)
    table = to_table(examples)
    table.validate(full=True)
    assert table.schema == SCHEMA
    for example, row in zip(examples, table.to_pylist(), strict=True):
        assert row["prompt"] == [{"role": "user", "content": example.prompt}]
        assert row["completion"] == [{"role": "assistant", "content": example.completion}]
        assert [(d["start"], d["end"]) for d in row["documents"]] == list(example.documents)
        assert row["needles"] == [
            {"document": n.document, "hop": n.hop, "start": n.span.start, "end": n.span.end,
             "answer_start": n.answer.start, "answer_end": n.answer.end}
            for n in example.needles
        ]  # fmt: skip


def test_an_insight_that_comes_twice_is_asked_once() -> None:
    corpus = str(CORPORA["summhay_synth"])
    examples = examples_for("summhay_synth", "real_haystack", corpus=(corpus, corpus), train=30, validation=3)
    asked = [row["question"] for _, row in rows(examples)]
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("variant", ["symbolic_haystack", "symbolic_padding"])
def test_small_contexts_cite_documents_that_differ(variant: str) -> None:
    for _, row in rows(examples_for("summhay_synth", variant, max_tokens=700, train=30)):
        prompt = row["prompt"][0]["content"]
        cited = [prompt[slice(*row["documents"][n["document"]].values())] for n in row["needles"]]
        assert len(set(cited)) == len(cited)


@pytest.mark.parametrize("hops", ["", "1", "5", "2:", "2:0", "2:1,2:9", "2:1e308", "2:1_0", "0_2", "２", "2;3"])
def test_hops_are_read_strictly(hops: str) -> None:
    with pytest.raises(UsageError, match="--hops: expected 2, 3 or 4"):
        parse_hops(hops)
    assert parse_hops("2:6, 3:3,4:1") == pytest.approx({2: 0.6, 3: 0.3, 4: 0.1})


def test_what_a_small_corpus_advises_works() -> None:
    with pytest.raises(CorpusError, match="they are enough for --train") as caught:
        examples_for("musique_synth", "real_haystack", train=400, hops="2,3,4").expression  # noqa: B018
    hops, train = re.search(r"--hops (\S+) for --train (\d+)", str(caught.value)).groups()
    assert int(train) > 10
    assert examples_for("musique_synth", "real_haystack", train=int(train), hops=hops, validation=0).make("train", 0)
