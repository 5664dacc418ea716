from pathlib import Path

import datasets
from huggingface_hub import DatasetCard

from builders import TASKS
from builders.card import update_card
from builders.shards import Build, build
from synthctx_data.options import Options
from synthctx_data.schema import SCHEMA

TASK = TASKS["mdqa_synth"]


def add(folder: Path, variant: str, train: int = 6, validation: int = 3) -> Path:
    job = Build(TASK.name, variant, Options(max_tokens=512, train=train, validation=validation), folder)
    build(job)
    return update_card(TASK, job)


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
