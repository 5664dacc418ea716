import hashlib
import json
from pathlib import Path
from statistics import median

import pytest

from builders.build import build_variant
from builders.shards import Build
from synthctx_data import examine as examine_module
from synthctx_data.dataset import find_variants, parse_address
from synthctx_data.depths import places
from synthctx_data.examine import examine, expected, survey_of
from synthctx_data.options import Options
from synthctx_data.schema import to_table
from synthctx_data.survey import Survey
from tests.conftest import every_example, examples_for


@pytest.mark.parametrize("variant", ["symbolic_haystack", "llm_padding"])
def test_a_survey_counts_what_is_there(variant: str) -> None:
    rows = to_table(every_example(examples_for("musique_synth", variant))).to_pylist()
    survey = Survey()
    for row in rows:
        survey.add(row["id"].split("/")[2], row)
    train = [row for row in rows if "/train/" in row["id"]]
    split = survey.splits["train"]
    assert split.rows == len(train)
    assert split.median_tokens == round(median(row["num_tokens"] for row in train))
    lines = [json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")) for row in train]
    hashes = b"".join(hashlib.sha256(line.encode()).digest() for line in lines)
    assert split.hash == hashlib.sha256(hashes).hexdigest()[:16]
    assert survey.example is not None
    assert (survey.example.question, survey.example.answer) == (
        train[0]["question"],
        train[0]["completion"][0]["content"],
    )
    prompt = train[0]["prompt"][0]["content"]
    for needle, (document, text) in zip(train[0]["needles"], survey.example.needles, strict=True):
        span = train[0]["documents"][document - 1]
        assert text.strip("… ") in prompt[span["start"] : span["end"]]
        assert prompt[needle["answer_start"] : needle["answer_end"]] in text
    last = train[-1]["needles"][-1]
    assert split.depths[last["hop"]][-1] == places(train[-1]).needles[-1]
    assert dict(survey.writers) == ({"sample": len(rows)} if variant == "llm_padding" else {})


def test_the_order_of_rows_is_in_their_hash() -> None:
    rows = to_table(every_example(examples_for("mdqa_synth", "symbolic_padding"))).to_pylist()
    forth, back = Survey(), Survey()
    for row in rows:
        forth.add("train", row)
    for row in reversed(rows):
        back.add("train", row)
    assert forth.splits["train"].hash != back.splits["train"].hash
    assert sorted(forth.splits["train"].tokens) == sorted(back.splits["train"].tokens)


@pytest.mark.parametrize("task", ["mdqa_synth", "summhay_synth"])
def test_any_number_of_processes_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    monkeypatch.setattr(examine_module, "_FEW_TOKENS", 0)
    build_variant(Build(task, "templated_haystack", Options(max_tokens=1024, train=270, validation=30), tmp_path, 2))
    (variant,) = find_variants(parse_address(str(tmp_path)))
    assert len(variant.pieces()) > 2
    assert [row for _, row in variant.rows()] == [row for piece in variant.pieces() for row in piece.rows()]
    done: list[list[int]] = [[], []]
    one, two = (
        examine(variant, expected(variant.manifest), done[workers - 1].append, workers=workers) for workers in (1, 2)
    )
    assert sum(done[0]) == sum(done[1]) == 300
    assert one.report == two.report
    assert one.survey.floors == two.survey.floors
    for survey in (two.survey, survey_of(variant, lambda rows: None, workers=2)):
        assert {name: split.hash for name, split in survey.splits.items()} == {
            name: split.hash for name, split in one.survey.splits.items()
        }
        assert (survey.recurrence, survey.wordings, survey.floors) == (
            one.survey.recurrence,
            one.survey.wordings,
            one.survey.floors,
        )
