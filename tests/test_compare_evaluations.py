"""The table of several models on the same data, and the losses in it."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

from synthctx_data.dataset import load_rows, parse_variant_address
from synthctx_data.errors import DatasetError, UsageError
from tests.commands import call, script
from tests.test_benchmarks import RULER, write
from tests.tiny import DATA, make_place
from training.answer_scores import LOSSES
from training.compare_evaluations import compare_evaluations, read_evaluation
from training.evaluate import evaluate
from training.model import load_for_reading
from training.options import EvaluateOptions
from training.row_losses import row_losses
from training.tiny import make_tiny
from training.turns import encode


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the evaluations of a model, of its twin, and of one that knows nothing, on two sets of rows."""
    place = make_place(tmp_path_factory.mktemp("place"), 6, 6)
    make_tiny(place / "twin")
    nothing = LlamaForCausalLM.from_pretrained(make_tiny(place / "nothing"))
    nothing.lm_head.weight.data.zero_()
    nothing.save_pretrained(place / "nothing")
    write(place / "niah" / "r.jsonl", RULER, {**RULER, "length": 300})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for model in ("tiny", "twin", "nothing"):
            for name, data, more in (("ours", DATA, {"losses": True}), ("ruler", "ruler:niah", {})):
                given = {
                    "max_tokens": 1024,
                    "max_new_tokens": 8,
                    "resamples": 50,
                    "output": f"evaluations/{model}/{name}",
                }
                evaluate(EvaluateOptions(model=model, data=data, **given, **more))
    return place


def folders(place: Path, *models: str, name: str = "ours") -> list[Path]:
    return [place / "evaluations" / model / name for model in models]


def test_a_change_is_that_of_the_rows_that_both_answered(place: Path) -> None:
    lines = compare_evaluations(folders(place, "tiny", "twin", "nothing"), 50)
    by_score = {line.score: line for line in lines if line.group == "all"}
    assert list(by_score) == ["f1", *LOSSES]
    for line in by_score.values():
        assert (line.changes["twin"].mean, line.changes["twin"].low, line.changes["twin"].high) == (0, 0, 0)
        less = line.means["nothing"].mean - line.means["tiny"].mean
        assert line.changes["nothing"].mean == pytest.approx(less)
        assert line.changes["nothing"].low <= less + 1e-9
        assert less <= line.changes["nothing"].high + 1e-9
    context = by_score["context_loss"]
    assert abs(context.changes["nothing"].mean) > 0.1
    words = LlamaForCausalLM.from_pretrained(place / "nothing").config.vocab_size
    assert context.means["nothing"].mean == pytest.approx(math.log(words), rel=1e-4)  # each word is as likely as any
    few = read_evaluation(*folders(place, "tiny"))
    assert few.rows.keys() == read_evaluation(*folders(place, "twin")).rows.keys()


def test_losses_are_those_of_all_logits(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    model, tokenizer = load_for_reading(EvaluateOptions(model="tiny", data=DATA, max_tokens=1024))
    row = load_rows(parse_variant_address(DATA), "validation")[0]
    sequence = encode(tokenizer, row)
    ids = torch.tensor([sequence["input_ids"]])
    with torch.no_grad():
        each = cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
    answered = [label != -100 for label in sequence["labels"]][1:]
    context = [loss for loss, is_answer in zip(each.tolist(), answered, strict=True) if not is_answer]
    answer = [loss for loss, is_answer in zip(each.tolist(), answered, strict=True) if is_answer]
    expected = (sum(context[-1024:]) / len(context[-1024:]), sum(answer) / len(answer))
    assert row_losses(model, tokenizer, row) == pytest.approx(expected, rel=1e-4)


def test_the_command_finds_all_evaluations_and_writes_table_and_figure(place: Path) -> None:
    app = script("training/compare_evaluations.py")
    ran = call(app, "evaluations/tiny", "evaluations/nothing", cwd=place)
    assert ran.returncode == 0, ran.stderr
    with (place / "evaluations" / "comparison" / "comparison.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert {row["data"] for row in rows} == {DATA, "ruler:niah"}
    assert {row["group"] for row in rows if row["data"] == "ruler:niah"} == {"all", "tokens 512", "tokens 1024"}
    assert [bool(row["change"]) for row in rows[:2]] == [False, True]
    assert (place / "evaluations" / "comparison" / "comparison.svg").read_text().startswith("<?xml")


def test_of_two_evaluations_of_the_same_the_larger_is_taken(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (whole,) = folders(place, "tiny")
    (tmp_path / "run.json").write_text((whole / "run.json").read_text())
    (tmp_path / "rows.csv").write_text("".join((whole / "rows.csv").read_text().splitlines(keepends=True)[:3]))
    for given in ([whole, tmp_path], [tmp_path, whole]):
        assert {line.means["tiny"].rows for line in compare_evaluations(given, 20)} == {6}
        assert f"left out: {tmp_path}, as {whole}" in capsys.readouterr().err


def test_data_are_the_same_if_their_content_and_prompts_are(place: Path, tmp_path: Path) -> None:
    one, other = folders(place, "tiny", "twin", name="ruler")
    for folder, changes in (
        ("moved", {}),
        ("longer", {"haystack_tokens": 4000}),
        ("asked", {"prompts": {"niah": "x"}}),
    ):
        run = json.loads((other / "run.json").read_text())
        (tmp_path / folder).mkdir()
        run["data"]["address"] = "ruler:elsewhere"
        (tmp_path / folder / "run.json").write_text(json.dumps({**run, **changes}))
        (tmp_path / folder / "rows.csv").write_text((other / "rows.csv").read_text())
        lines = compare_evaluations([one, tmp_path / folder], 20)
        assert {len(line.means) for line in lines} == ({2} if folder == "moved" else {1})


def test_what_is_no_evaluation_is_named(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a folder that training/evaluate.py has finished"):
        compare_evaluations([tmp_path])
    (tmp_path / "run.json").write_text('{"data": 3, "adapter": null, "model": "m"}')
    (tmp_path / "rows.csv").write_text("id,f1\na,1\n")
    with pytest.raises(DatasetError, match=r"expected what training/evaluate.py wrote"):
        compare_evaluations([tmp_path])
    app = script("training/compare_evaluations.py")
    for given, says in (
        ([], "FOLDERS: expected folders of evaluations, got none"),
        (["tiny"], "has finished in tiny, found none"),
        (["evaluations", "--resamples", "0"], "--resamples: expected 1 or more, got 0"),
    ):
        ran = call(app, *given, cwd=place)
        assert (ran.returncode, says in ran.stderr.replace("\n", " ")) == (2, True), ran.stderr
