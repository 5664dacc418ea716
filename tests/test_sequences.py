"""Rows as a model reads them."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from builders import TASKS
from builders.build import build_variant
from builders.hub.card import update_card
from builders.shards import Build
from synthctx_data.dataset import Address, load_rows
from synthctx_data.errors import DatasetError, UsageError
from synthctx_data.options import Options
from synthctx_data.tokens import BUNDLED
from tests.conftest import MAKES, examples_for
from training.identity import identify_data
from training.sequences import MixturePart, encode_all, load_mixture, parse_mixture
from training.turns import IGNORED, encode, prompt_ids

TEMPLATES = {
    "none": None,
    "plain": "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|stop|>\n{% endfor %}",
    "dated": "It is {{ strftime_now('%d %b %Y') }}.\n{% for m in messages %}{{ m.role }}: {{ m.content }} <|stop|>{% endfor %}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "mdqa_synth"
    for variant in ("symbolic_padding", "templated_padding"):
        job = Build("mdqa_synth", variant, Options(max_tokens=600, train=12, validation=3), folder)
        build_variant(job)
        update_card(TASKS["mdqa_synth"], job)
    return folder


def tokenizer_folder(path: Path, make: str, template: str | None) -> Path:
    path.mkdir()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=MAKES[make](), chat_template=template)
    tokenizer.add_special_tokens({"eos_token": "<|stop|>"})
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("make", MAKES)
def test_a_sequence_has_the_tokens_that_were_counted(tmp_path: Path, make: str, template: str) -> None:
    path = tokenizer_folder(tmp_path / "model", make, TEMPLATES[template])
    examples = examples_for("mdqa_synth", "templated_padding", max_tokens=2000, tokenizer=str(path))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(path)
    for index in range(3):
        example = examples.make("train", index)
        row = {
            "prompt": [{"role": "user", "content": example.prompt}],
            "completion": [{"role": "assistant", "content": example.completion}],
        }
        encoded = encode(tokenizer, row)
        ids, labels = encoded["input_ids"], encoded["labels"]
        assert len(ids) == len(labels) == example.num_tokens
        answered = [i for i, label in enumerate(labels) if label != IGNORED]
        assert answered == list(range(answered[0], len(ids)))
        assert [labels[i] for i in answered] == ids[answered[0] :]
        assert ids[: answered[0]] == prompt_ids(tokenizer, row)
        if make == "byte_level":  # the others have no decoder, or lose spaces
            assert example.completion in tokenizer.decode(ids[answered[0] - 1 :])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("synthctx/mdqa_synth:symbolic_haystack", MixturePart(Address("synthctx/mdqa_synth", "symbolic_haystack"))),
        ("a:b@v1.0*0.5", MixturePart(Address("a", "b", "v1.0"), Fraction(1, 2))),
        ("/data/x:y/z:v*3", MixturePart(Address("/data/x:y/z", "v"), Fraction(3))),
    ],
)
def test_a_part_of_a_mixture(text: str, part: MixturePart) -> None:
    assert parse_mixture([text]) == [part]


@pytest.mark.parametrize("text", ["", "synthctx/mdqa_synth", ":v", "a:b*0", "a:b*x", "a:b*1.2.3", "a:"])
def test_bad_parts_of_a_mixture(text: str) -> None:
    with pytest.raises(UsageError, match="--data: expected PLACE:VARIANT"):
        parse_mixture([text])


def test_a_mixture_takes_shares_and_no_row_twice(folder: Path) -> None:
    rows = load_mixture(parse_mixture([f"{folder}:symbolic_padding*0.9", f"{folder}:templated_padding*0.3"]), "train")
    variants = [name.split("/")[1] for name in rows["id"]]
    assert (variants.count("symbolic_padding"), variants.count("templated_padding")) == (12, 4)
    assert len(set(rows["id"])) == 16
    whole = load_mixture(parse_mixture([f"{folder}:symbolic_padding", f"{folder}:templated_padding"]), "train")
    assert len(whole) == 24


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("symbolic_padding*3", "templated_padding"), "a weight behind every data set or none"),
        (("symbolic_padding*3", "symbolic_padding*2"), "got one twice"),
        (
            ("symbolic_padding*100", "templated_padding*1"),
            "templated_padding has no row in the train split of this mixture",
        ),
    ],
)
def test_mixtures_that_are_none(folder: Path, parts: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_mixture(parse_mixture([f"{folder}:{part}" for part in parts]), "train")


def test_what_cannot_be_loaded_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--data: expected a variant in .*; got 'absent'"):
        load_rows(Address(str(folder), "absent"), "train")
    with pytest.raises(UsageError, match="expected a folder or a Hub id"):
        load_rows(Address(str(folder), "symbolic_padding"), "test")
    (tmp_path / "v").mkdir()
    Dataset.from_list([{"prompt": "x", "completion": "y"}]).to_parquet(tmp_path / "v" / "train-0.parquet")
    (tmp_path / "README.md").write_text("---\nconfigs:\n- config_name: v\n  data_files: v/train-*.parquet\n---\n")
    with pytest.raises(DatasetError, match=r"needles, .* missing; is this a set of synthctx"):
        load_rows(Address(str(tmp_path), "v"), "train")


def test_a_row_that_is_too_long_is_named_and_not_cut(folder: Path) -> None:
    rows = load_rows(Address(str(folder), "symbolic_padding"), "train")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(BUNDLED))
    longest = max(rows["num_tokens"])
    assert len(encode_all(rows, tokenizer, longest)) == len(rows)
    with pytest.raises(
        UsageError, match=rf"mdqa_synth/symbolic_padding/train/\d+ has {longest} tokens .* reads {longest - 1}"
    ):
        encode_all(rows, tokenizer, longest - 1)


def test_data_is_known_by_its_fingerprint(folder: Path) -> None:
    known = identify_data(Address(str(folder), "symbolic_padding"))
    assert known["fingerprint"] == json.loads((folder / "symbolic_padding" / "build.json").read_text())["fingerprint"]
