import shutil
from pathlib import Path

import datasets
import mlcroissant
import numpy as np
import pytest
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st

from builders import TASKS
from builders.build import build_variant
from builders.hub.card import Card, merge, read_card, update_card
from builders.hub.card_section import code
from builders.shards import Build
from synthctx_data import __version__
from synthctx_data.options import Options
from synthctx_data.schema import SCHEMA

TASK = TASKS["mdqa_synth"]


def add(folder: Path, variant: str, train: int = 6, validation: int = 3) -> Path:
    job = Build(TASK.name, variant, Options(max_tokens=512, train=train, validation=validation), folder)
    build_variant(job)
    update_card(TASK, job)
    return folder / "README.md"


def test_a_card_gains_variants_and_keeps_what_was_written_in_it(tmp_path: Path) -> None:
    path = add(tmp_path, "symbolic_padding")
    path.write_text(
        path.read_text().replace("# mdqa_synth", "# Edited by hand").replace("language:", "pretty_thing: 7\nlanguage:")
    )
    add(tmp_path, "templated_padding", validation=0)
    again = add(tmp_path, "symbolic_padding")
    card = DatasetCard.load(path)
    assert "# Edited by hand" in card.text
    assert card.data.pretty_thing == 7
    assert [config["config_name"] for config in card.data.configs] == ["templated_padding", "symbolic_padding"]
    sizes = {i["config_name"]: {s["name"]: s["num_examples"] for s in i["splits"]} for i in card.data.dataset_info}
    assert sizes == {"templated_padding": {"train": 6}, "symbolic_padding": {"train": 6, "validation": 3}}
    before = again.read_bytes()
    assert add(tmp_path, "symbolic_padding").read_bytes() == before


def test_load_dataset_opens_a_folder_with_the_features_of_the_card(tmp_path: Path) -> None:
    add(tmp_path / "data", "symbolic_padding")
    add(tmp_path / "data", "templated_padding")
    rows = datasets.load_dataset(str(tmp_path / "data"), "symbolic_padding", cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows[split]) for split in rows} == {"train": 6, "validation": 3}
    assert rows["train"].features.arrow_schema.remove_metadata() == SCHEMA
    assert datasets.get_dataset_config_names(str(tmp_path / "data")) == ["templated_padding", "symbolic_padding"]


def test_a_card_round_trips_and_knows_whether_a_person_edited_it(tmp_path: Path) -> None:
    card = read_card(add(tmp_path, "symbolic_padding").read_text(), "here")
    assert read_card(str(card), "again") == card
    assert (card.changed, card.edited) == (False, False)
    other = Card(card.data, card.text.replace("### `symbolic_padding`", "### something about the config"))
    assert not other.edited  # what synthctx writes anew is not a person's text
    assert Card(card.data, card.text.replace("English only", "English, mostly")).edited
    assert Card(card.data, card.text.split("<!-- configs")[0]).edited


def test_a_card_of_another_repository_cites_that(tmp_path: Path) -> None:
    card = read_card(add(tmp_path, "symbolic_padding").read_text(), "here")
    merged = merge(TASK, "me/needles", None, card, "symbolic_padding")
    assert not merged.edited
    assert "`me/needles`, `symbolic_padding`, and the tag" in merged.text
    assert "howpublished = {data set me/needles}" in merged.text
    assert "author  = {{The synthctx developers}}" in merged.text
    assert f"version = {{{__version__}}}" in merged.text


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning", "ignore:The inplace keyword")
def test_croissant_metadata_describe_all_rows(tmp_path: Path) -> None:
    """Read by Croissant's own library, the files have the rows that `load_dataset` has."""
    add(tmp_path / "data", "symbolic_padding")
    add(tmp_path / "data", "templated_padding")
    found = mlcroissant.Dataset(tmp_path / "data" / "croissant.json")
    assert not found.metadata.ctx.issues.errors
    assert [one.uuid for one in found.metadata.record_sets] == ["templated_padding", "symbolic_padding"]
    assert "@misc{mdqa_synth," in found.metadata.cite_as
    rows = datasets.load_dataset(str(tmp_path / "data"), "symbolic_padding", cache_dir=str(tmp_path / "cache"))
    records = [plain(record) for record in found.records("symbolic_padding")]
    assert [(one["split"], one["id"]) for one in records] == [
        (split, row["id"]) for split in ("train", "validation") for row in rows[split]
    ]
    first = rows["train"][0]
    for name in SCHEMA.names:
        if name != "shared_words":
            assert records[0][name] == first[name], name


def plain(record: dict) -> dict:
    """A record of mlcroissant without the config before each name, with texts for bytes."""
    return {name.rpartition("/")[2]: unpacked(value) for name, value in record.items()}


def unpacked(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return plain(value)
    return [unpacked(one) for one in value] if isinstance(value, list | np.ndarray) else value


def test_a_variant_built_anew_is_described_anew(tmp_path: Path) -> None:
    path = add(tmp_path, "symbolic_padding")
    before = path.read_text()
    shutil.rmtree(tmp_path / "symbolic_padding")
    add(tmp_path, "symbolic_padding", train=8)
    after = read_card(path.read_text(), "here")
    assert "| train | 8 |" in after.blocks["symbolic_padding"]
    assert "| train | 6 |" not in path.read_text()
    assert path.read_text() != before


@given(st.text())
def test_code_in_a_table_stays_in_its_cell(text: str) -> None:
    shown = code(text)
    assert shown.startswith("`")
    assert shown.endswith("`")
    inside = shown[1:-1].replace("\\|", "")
    assert not set(inside) & {"`", "|", "\n", "\r"}
    assert "<!--" not in shown
