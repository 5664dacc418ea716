"""Rows in the formats of other tools: nothing of a row is lost, and the tools' own loaders read it."""

import gzip
import json
from pathlib import Path
from typing import Any, get_args

import datasets
import pytest
import yaml
from trl.data_utils import is_conversational, maybe_convert_to_chatml

from builders.build import build_variant
from builders.exporting.formats import Format
from builders.shards import Build
from synthctx_data.dataset import Address, find_variants
from synthctx_data.options import Options
from synthctx_data.tokens import BUNDLED, load_counter
from tests.commands import synthctx


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    for variant, questions in (("symbolic_haystack", 1), ("templated_haystack", 4)):
        options = Options(max_tokens=1024, train=12, validation=4, questions=questions)
        build_variant(Build("mdqa_synth", variant, options, folder / "mdqa_synth"))
    return folder


def rows_of(built: Path, variant: str, split: str = "train") -> list[dict[str, Any]]:
    (found,) = find_variants(Address(str(built / "mdqa_synth"), variant))
    return [row for of, row in found.rows() if of == split]


def exported(built: Path, variant: str, *options: object, name: str = "rows.jsonl") -> tuple[list[dict[str, Any]], str]:
    ran = synthctx("export", f"mdqa_synth:{variant}", name, *options, cwd=built)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in (built / name).read_text().splitlines()], ran.stdout


@pytest.mark.parametrize("split", ["train", "validation"])
def test_messages_are_those_of_the_rows_in_their_order(built: Path, split: str) -> None:
    lines, _ = exported(built, "templated_haystack", "--split", split)
    assert [one["messages"] for one in lines] == [
        row["prompt"] + row["completion"] for row in rows_of(built, "templated_haystack", split)
    ]


def test_trl_reads_conversations_as_these_messages(built: Path) -> None:
    lines, _ = exported(built, "symbolic_haystack", "--format", "sharegpt")
    wanted, _ = exported(built, "symbolic_haystack")
    names = {"human": "user", "gpt": "assistant"}  # ShareGPT's, which TRL leaves as they are
    read = [
        {"messages": [{"role": names[one["role"]], "content": one["content"]} for one in turns["messages"]]}
        for turns in map(maybe_convert_to_chatml, lines)
    ]
    assert read == wanted
    assert all(map(is_conversational, wanted))


def test_alpaca_and_text_hold_question_and_answer(built: Path) -> None:
    rows = rows_of(built, "symbolic_haystack")
    pairs = [(row["prompt"][0]["content"], row["completion"][0]["content"]) for row in rows]
    lines, _ = exported(built, "symbolic_haystack", "--format", "alpaca")
    assert [(one["instruction"], one["output"], one["input"]) for one in lines] == [(*pair, "") for pair in pairs]
    lines, _ = exported(built, "symbolic_haystack", "--format", "text")
    assert [one["text"] for one in lines] == ["\n".join(pair) for pair in pairs]
    lines, _ = exported(built, "symbolic_haystack", "--format", "text", "--tokenizer", BUNDLED)
    counter = load_counter(str(BUNDLED))
    assert [counter.raw(one["text"]) for one in lines] == [row["num_tokens"] for row in rows]


def test_questions_on_one_context_become_one_conversation(built: Path) -> None:
    rows = rows_of(built, "templated_haystack")
    lines, said = exported(built, "templated_haystack", "--together")
    assert f"{len(lines)} conversations" in said
    assert len(lines) < len(rows)
    told = iter(rows)
    for line in lines:
        turns = line["messages"]
        assert [one["role"] for one in turns] == ["user", "assistant"] * (len(turns) // 2)
        context = ""
        for asked, answered in zip(turns[::2], turns[1::2], strict=True):
            row = next(told)
            whole = row["prompt"][0]["content"]
            context = context or whole[: row["documents"][-1]["end"]]
            assert asked["content"].removeprefix(context).strip() == whole.removeprefix(context).strip()
            assert row["question"] in asked["content"]
            assert answered == row["completion"][0]
        assert sum(one["content"].count(context) for one in turns) == 1
    assert next(told, None) is None


@pytest.mark.parametrize("format", get_args(Format))
def test_every_format_is_loaded_as_json_and_is_the_same_each_time(built: Path, format: str) -> None:
    lines, _ = exported(built, "symbolic_haystack", "--format", format)
    plain = (built / "rows.jsonl").read_bytes()
    loaded = datasets.load_dataset("json", data_files=str(built / "rows.jsonl"), cache_dir=str(built / "cache"))[
        "train"
    ]
    assert loaded.to_list() == lines
    packed = []
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        assert synthctx("export", "mdqa_synth:symbolic_haystack", name, "--format", format, cwd=built).returncode == 0
        packed.append((built / name).read_bytes())
    assert packed[0] == packed[1]
    assert gzip.decompress(packed[0]) == plain


def test_tools_are_told_of_the_file(built: Path) -> None:
    _, said = exported(built, "symbolic_haystack", "--format", "axolotl", name="a.jsonl")
    (told,) = yaml.safe_load(said[said.index("datasets:") :])["datasets"]
    assert (told["path"], told["field_messages"]) == ("a.jsonl", "messages")
    _, said = exported(built, "symbolic_haystack", "--format", "llamafactory", name="b.jsonl")
    (entry,) = json.loads(said[said.index("{") :]).values()
    assert entry["file_name"] == "b.jsonl"
    assert entry["columns"] == {"messages": "messages"}


def test_a_split_without_rows_leaves_no_file(built: Path) -> None:
    options = Options(max_tokens=512, train=2, validation=0)
    build_variant(Build("mdqa_synth", "symbolic_padding", options, built / "mdqa_synth"))
    ran = synthctx("export", "mdqa_synth:symbolic_padding", "none.jsonl", "--split", "validation", cwd=built)
    assert ran.returncode == 2
    assert "expected rows of validation" in ran.stderr
    assert not (built / "none.jsonl").exists()
