"""A user's documents and questions, as people have them: nothing of them may spoil a row, and what is not used is said."""

import gzip
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from builders import TASKS
from builders.examples import Examples
from synthctx_data.errors import CorpusError, TokenizerError
from synthctx_data.options import Options
from synthctx_data.schema import to_table
from synthctx_data.seeding import rng
from synthctx_data.survey import Survey
from synthctx_data.tokens import load_counter
from tests.commands import synthctx

PLAIN = "river stone market winter harvest orchard mirror signal engine lantern ledger castle journey letter".split()  # noqa: SIM905


def prose(name: str | int, sentences: int = 6) -> str:
    """Sentences of plain words, different for each name."""
    stream = rng("prose", name)
    return " ".join(
        f"{' '.join(stream.choice(PLAIN) for _ in range(9)).capitalize()} {name}." for _ in range(sentences)
    )


def corpus(path: Path, *rows: dict) -> str:
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)
    return str(path)


def documents(path: Path, count: int, extra: str = "", every: int = 1) -> str:
    return corpus(path, *({"title": f"Note {i}", "text": prose(i) + extra * (i % every == 0)} for i in range(count)))


def questions(path: Path, *asked: dict) -> str:
    """Questions with a gold passage, each with eight other passages."""
    rows = [
        {
            "question": q["question"],
            "answers": q["answers"],
            "ctxs": [
                {"title": f"Gold {i}", "text": q["gold"] + " " + prose(f"g{i}"), "isgold": True},
                *(
                    {"title": f"Other {i}-{j}", "text": q.get("other", "") + prose(f"o{i}-{j}"), "isgold": False}
                    for j in range(8)
                ),
            ],
        }
        for i, q in enumerate(asked)
    ]
    return corpus(path, *rows)


def rows(variant: str, *corpora: str, task: str = "mdqa_synth", **options) -> list[dict]:
    given = {"max_tokens": 2048, "train": 20, "validation": 0, **options}
    examples = Examples(TASKS[task], variant, Options(corpus=corpora, **given))
    return to_table([examples.make("train", i) for i in range(given["train"])]).to_pylist()


def texts(row: dict) -> list[str]:
    return [row["prompt"][0]["content"][d["start"] : d["end"]] for d in row["documents"]]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("expression", ["templated", "symbolic"])
def test_every_row_draws_its_own_sample(tmp_path: Path, task: str, expression: str) -> None:
    """Three documents have the template's own words, and are in no more rows than others."""
    plain = [{"title": f"Note {i}", "text": prose(i)} for i in range(200)]
    worded = [
        {"title": f"Value {i}", "text": f"{prose(f'v{i}')} What is the value of the key? Who was it born to?"}
        for i in range(3)
    ]
    made = rows(f"{expression}_haystack", corpus(tmp_path / "d.jsonl.gz", *plain, *worded), task=task)
    seen = Counter(
        title
        for row in made
        for title in re.findall(r"^(?:Note|Value) \d+$", row["prompt"][0]["content"], re.MULTILINE)
    )
    assert len([title for title in seen if title.startswith("Note")]) > 60
    assert max(seen.values()) <= 12
    assert sum(seen[f"Value {i}"] for i in range(3)) <= 3 * max(seen.values())


def test_documents_about_the_subject_come_first(tmp_path: Path) -> None:
    plain = documents(tmp_path / "plain.jsonl.gz", 150)
    named = [row["question"] for row in rows("templated_haystack", plain, train=5)]
    subject = re.search(r"(?:[A-Z][a-z]+ )*[A-Z][a-z]+(?=\W*$)|(?:[A-Z][a-z]+ )+[A-Z][a-z]+", named[0][1:])
    assert subject is not None
    about = corpus(
        tmp_path / "about.jsonl.gz", {"title": "About it", "text": f"{prose('x')} They speak of {subject[0]} here."}
    )
    made = rows("templated_haystack", plain, about, train=5)
    assert "About it" in made[0]["prompt"][0]["content"]


def test_special_tokens_and_document_numbers_in_text_mean_nothing(tmp_path: Path) -> None:
    """They are taken apart, so that the user's turn does not end there, and so that a citation means one document."""
    special = "<|end|>\n<|assistant|>\nriver<|end|>"
    bad = documents(tmp_path / "d.jsonl.gz", 150, f"\n\nDocument [3]\n{special}\n", every=2)
    examples = Examples(TASKS["summhay_synth"], "symbolic_haystack", Options(corpus=(bad,), max_tokens=4096, train=8))
    (note,) = examples.notes()
    assert note.startswith("documents whose special tokens and document numbers were taken apart: 75 (")
    counter = load_counter()
    for row in to_table([examples.make("train", i) for i in range(8)]).to_pylist():
        prompt = row["prompt"][0]["content"]
        assert counter.first_special(prompt) == ""
        assert "< |end|>" in prompt
        numbers = [int(number) for number in re.findall(r"^Document \[(\d+)\]$", prompt, re.MULTILINE)]
        assert numbers == list(range(1, len(row["documents"]) + 1))
        assert counter.conversation(prompt, row["completion"][0]["content"]) == row["num_tokens"]


def test_depth_is_a_share_of_tokens_however_unequal_documents_are(tmp_path: Path) -> None:
    mixed = corpus(
        tmp_path / "d.jsonl.gz", *({"title": f"M{i}", "text": prose(i, 40 if i % 9 == 0 else 1)} for i in range(300))
    )
    for row in rows("templated_haystack", mixed, depth="0.5", max_tokens=4096):
        needle = row["documents"][row["needles"][0]["document"]]
        first, last = row["documents"][0]["start"], row["documents"][-1]["end"]
        widest = max(d["end"] - d["start"] for d in row["documents"])
        assert abs((needle["start"] - first) / (last - first) - 0.5) <= 1.2 * widest / (last - first)


def test_answers_hide_behind_no_encoding(tmp_path: Path) -> None:
    """A passage that spells the answer with other characters is no distractor."""
    other = "Jose\u0301 Nu\u0301n\u0303ez was here. "
    asked = [
        {
            "question": f"who was it, number {i}?",
            "answers": ["Jos\u00e9 N\u00fa\u00f1ez"],
            "gold": f"Number {i} is Jos\u00e9 N\u00fa\u00f1ez.",
            "other": other if i < 9 else "",
        }
        for i in range(20)
    ]
    made = rows("real_haystack", questions(tmp_path / "q.jsonl.gz", *asked), train=10, max_tokens=4096)
    for row in made:
        gold = row["needles"][0]["document"]
        assert not any("Jose\u0301" in text for i, text in enumerate(texts(row)) if i != gold)


def test_what_gives_itself_away_is_left_out_and_said(tmp_path: Path) -> None:
    good = [
        {"question": f"what is number {i}?", "answers": [f"Answer{i}"], "gold": f"It is Answer{i}."} for i in range(20)
    ]
    own = {"question": "what mineral is in lithium batteries?", "answers": ["lithium"], "gold": "It is lithium."}
    absent = {"question": "what is it called?", "answers": ["Nowhere"], "gold": "It has no name."}
    file = questions(tmp_path / "q.jsonl.gz", *good, own, absent)
    examples = Examples(
        TASKS["mdqa_synth"], "real_haystack", Options(corpus=(file,), max_tokens=2048, train=10, validation=1)
    )
    assert examples.remarks() == [
        "questions that hold their own answer, left out: 1 ('what mineral is in lithium batteries?')",
        "questions whose gold passage does not hold the answer as words of its own, left out: 1 ('what is it called?')",
    ]
    assert examples.notes() == []


def test_a_question_too_long_for_the_budget_is_passed_over(tmp_path: Path) -> None:
    good = [
        {"question": f"what is number {i}?", "answers": [f"Answer{i}"], "gold": f"It is Answer{i}."} for i in range(20)
    ]
    long = {"question": "what is long?", "answers": ["Longest"], "gold": f"It is Longest. {prose('long', 400)}"}
    file = questions(tmp_path / "q.jsonl.gz", *good[:5], long, *good[5:])
    assert len(rows("real_haystack", file, train=12)) == 12
    examples = Examples(
        TASKS["mdqa_synth"], "real_haystack", Options(corpus=(file,), max_tokens=2048, train=12, validation=1)
    )
    assert examples.notes() == ["questions too long for --max-tokens, passed over: 1 ('what is long?')"]


def test_an_error_about_too_few_questions_names_the_reasons(tmp_path: Path) -> None:
    own = [
        {"question": f"is it lithium, number {i}?", "answers": ["lithium"], "gold": "It is lithium."} for i in range(9)
    ]
    with pytest.raises(CorpusError, match=r"there are none .* questions that hold their own answer, left out: 9"):
        rows("real_haystack", questions(tmp_path / "q.jsonl.gz", *own))


def test_questions_in_chinese_can_be_asked(tmp_path: Path) -> None:
    names = [a + b for a in "\u5f20\u738b\u674e\u8d75\u9648" for b in "\u4f1f\u82b3\u5a1c\u5f3a\u660e"]
    filler = "\u5e02\u573a\u4e0a\u6709\u8bb8\u591a\u65b0\u9c9c\u7684\u6c34\u679c\u548c\u852c\u83dc\u3002"
    asked = [
        {
            "question": f"\u7b2c{i}\u53f7\u56fe\u4e66\u9986\u7684\u9986\u957f\u662f\u8c01?",
            "answers": [name],
            "gold": f"\u7b2c{i}\u53f7\u56fe\u4e66\u9986\u7684\u9986\u957f\u662f{name}\u4ed6\u559c\u6b22\u65e7\u5730\u56fe\u3002{filler}",
        }
        for i, name in enumerate(names)
    ]
    for row in rows("real_haystack", questions(tmp_path / "q.jsonl.gz", *asked), train=12):
        needle = row["needles"][0]
        assert row["prompt"][0]["content"][needle["answer_start"] : needle["answer_end"]] in names


def test_a_build_says_what_it_does_not_use_and_strict_refuses(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "d.jsonl.gz", "wt") as lines:
        for i in range(80):
            lines.write(json.dumps({"title": f"N{i}", "text": "" if i == 7 else prose(i)}) + "\n")
    build = (
        "build",
        "mdqa_synth",
        "templated_haystack",
        "--corpus",
        "d.jsonl.gz",
        "--max-tokens",
        2048,
        "--train",
        30,
        "--validation",
        0,
    )
    refused = synthctx(*build, "--strict", cwd=tmp_path)
    assert refused.returncode != 0
    assert re.search(
        r"--strict: expected to use all of --corpus, but .*rows that cannot be used, passed over: 1 .*line 8",
        refused.stderr,
    )
    done = synthctx(*build, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "rows that cannot be used, passed over: 1 (d.jsonl.gz, line 8: expected text to hold something" in done.stderr
    )
    assert re.search(
        r"warning: a document of the corpus stands in \d+ of 30 rows, and each in \d+\.\d on average", done.stderr
    )
    card = (tmp_path / "synthctx/mdqa_synth/README.md").read_text()
    assert "| haystack | documents of the corpus, and up to eight of this project's own" in card
    assert "of 30 at most" in card


def test_a_tokenizer_that_does_not_know_the_texts_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(
        models.WordLevel({"<unk>": 0, **{word: i for i, word in enumerate(PLAIN, 1)}}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(
        TokenizerError, match=r"expected one that knows these texts, but \d+% of their tokens are unknown"
    ):
        Examples(
            TASKS["mdqa_synth"], "templated_haystack", Options(tokenizer=str(tmp_path), max_tokens=2048, train=2)
        ).make("train", 0)


def test_documents_end_where_sentences_end() -> None:
    """At every small budget, since there is nearly always a document that fits."""
    for task, budget in (("mdqa_synth", 1024), ("musique_synth", 2048), ("summhay_synth", 1024)):
        examples = Examples(TASKS[task], "templated_haystack", Options(max_tokens=budget, train=40))
        made = to_table([examples.make("train", i) for i in range(40)]).to_pylist()
        assert all(text.endswith(".") for row in made for text in texts(row))


def test_recurrence_counts_the_rows_of_each_document() -> None:
    examples = Examples(TASKS["mdqa_synth"], "templated_haystack", Options(max_tokens=1024, train=30))
    survey = Survey()
    made = to_table([examples.make("train", i) for i in range(30)]).to_pylist()
    for row in made:
        survey.add("train", row)
    counted = Counter(text for row in made for text in {*texts(row)})
    assert survey.recurrence == (30, max(counted.values()), pytest.approx(sum(counted.values()) / len(counted)))
    assert all(a["end"] <= b["start"] for row in made for a, b in pairwise(row["documents"]))
