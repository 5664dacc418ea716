from pathlib import Path

import pytest

from builders.mdqa_synth import TASK, MdqaSynth
from synthctx_data.errors import UsageError
from synthctx_data.schema import SCHEMA, to_table
from tests.conftest import CORPUS, every_example, examples_for, options_for

SIZES = {"max_tokens": 1024, "train": 12, "validation": 4}


@pytest.mark.parametrize("variant", TASK.variants)
def test_a_builder_gives_the_rows_of_the_command(tmp_path: Path, variant: str) -> None:
    corpus = {"corpus": (str(CORPUS),)} if variant.startswith("real") else {}
    pool = {"pool_size": 64} if variant == "llm_haystack" else {}
    sizes = {**SIZES, "max_tokens": options_for("mdqa_synth", variant).max_tokens}
    builder = MdqaSynth(config_name=variant, cache_dir=str(tmp_path), **sizes, **corpus, **pool)
    builder.download_and_prepare()
    rows = builder.as_dataset()
    expected = to_table(every_example(examples_for("mdqa_synth", variant))).to_pylist()
    assert [row for split in ("train", "validation") for row in rows[split]] == expected
    assert rows["train"].features.arrow_schema.remove_metadata() == SCHEMA
    streamed = builder.as_streaming_dataset()
    assert [row for split in ("train", "validation") for row in streamed[split]] == expected


def test_processes_give_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    one, two = (MdqaSynth(config_name="symbolic_padding", cache_dir=str(tmp_path / name), **SIZES) for name in "ab")
    one.download_and_prepare()
    two.download_and_prepare(num_proc=2)
    assert one.as_dataset(split="train")["id"][:] == two.as_dataset(split="train")["id"][:]
    assert one.as_dataset(split="train")["prompt"][:] == two.as_dataset(split="train")["prompt"][:]


def test_the_cache_knows_what_decides_the_rows(tmp_path: Path) -> None:
    def cache(**options: object) -> str:
        return MdqaSynth(config_name="symbolic_padding", cache_dir=str(tmp_path), **options).cache_dir

    base = cache(max_tokens=1024)
    assert base == cache(max_tokens=1024, seed=0, depth="uniform")  # a default given is still the default
    assert len({base, cache(max_tokens=1024, seed=1), cache(max_tokens=2048), cache(max_tokens=1024, depth="0.5")}) == 4


@pytest.mark.parametrize(
    ("variant", "options", "message"),
    [
        (None, {}, "no variant 'None'; expected one of real_haystack"),
        ("symbolic", {}, "no variant 'symbolic'"),
        ("symbolic_padding", {"max_tokens": 100}, "--max-tokens: expected greater than or equal to 128, got 100"),
        ("symbolic_padding", {"corpus": ("x",)}, "--corpus: symbolic_padding does not read it"),
        ("real_haystack", {}, "need --corpus"),
    ],
)
def test_bad_options_are_refused_when_the_builder_is_made(
    tmp_path: Path, variant: str, options: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        MdqaSynth(config_name=variant, cache_dir=str(tmp_path), **options)
