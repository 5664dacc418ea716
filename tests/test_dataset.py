"""Addresses of built data sets, and what they find."""

from pathlib import Path

import pytest

from builders.build import build_variant
from builders.shards import Build
from synthctx_data.dataset import Address, find_variants, load_rows, parse_address, parse_variant_address
from synthctx_data.errors import UsageError
from synthctx_data.options import Options


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built folder, without a card."""
    folder = tmp_path_factory.mktemp("a:b@c") / "mdqa_synth"
    for variant in ("symbolic_padding", "templated_padding"):
        build_variant(Build("mdqa_synth", variant, Options(max_tokens=600, train=5, validation=2), folder))
    return folder


@pytest.mark.parametrize(
    "address",
    [
        Address("me/mdqa_synth"),
        Address("me/mdqa_synth", "symbolic_haystack"),
        Address("me/mdqa_synth", "symbolic_haystack", "v1.0.0"),
        Address("me/mdqa_synth", None, "refs/pr/1"),
        Address("/data/x:y/z", "v"),
    ],
    ids=str,
)
def test_an_address_is_read_as_it_is_written(address: Address) -> None:
    assert parse_address(str(address)) == address


def test_a_folder_here_may_have_any_name(folder: Path) -> None:
    assert parse_address(str(folder)) == Address(str(folder))
    assert parse_address(f"{folder}:symbolic_padding") == Address(str(folder), "symbolic_padding")
    with pytest.raises(UsageError, match=r"--revision v1: .* is a folder"):
        parse_address(str(folder), "v1")
    with pytest.raises(UsageError, match=r"--revision v1: .* is a folder"):
        parse_address(f"{folder}:symbolic_padding@v1")


def test_a_revision_beside_the_address_counts_where_it_names_none() -> None:
    assert parse_address("me/set:v", "main").revision == "main"
    assert parse_address("me/set:v@v1", "v1").revision == "v1"
    with pytest.raises(UsageError, match="--revision main: me/set:v@v1 names another revision"):
        parse_address("me/set:v@v1", "main")


def test_data_has_to_name_its_variant(folder: Path) -> None:
    with pytest.raises(UsageError, match="--data: expected PLACE:VARIANT"):
        parse_variant_address(str(folder))


def test_an_address_finds_its_variant_or_all(folder: Path) -> None:
    names = {"symbolic_padding", "templated_padding"}
    assert {variant.name for variant in find_variants(Address(str(folder)))} == names
    (one,) = find_variants(Address(str(folder), "symbolic_padding"))
    assert (one.name, one.count(), one.count_by_split()) == ("symbolic_padding", 7, {"train": 5, "validation": 2})
    with pytest.raises(UsageError, match="one of symbolic_padding, templated_padding; got 'absent'"):
        find_variants(Address(str(folder), "absent"))


def test_both_ways_to_read_give_the_same_rows(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Rows of an earlier run, under the same name and with a card without sizes, would be taken for these.
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    address = Address(str(folder), "symbolic_padding")
    read = [row for split, row in find_variants(address)[0].rows() if split == "train"]
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: symbolic_padding\n  data_files:\n"
        "  - split: train\n    path: symbolic_padding/train-*.parquet\n---\n"
    )
    assert list(load_rows(address, "train")) == read
    assert list(load_rows(address, "train", limit=2)) == read[:2]
