"""The README.md of a built folder: one for all variants, updated and not overwritten as variants are added."""

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from filelock import FileLock
from huggingface_hub import CardData, RepoCard

from builders.shards import Build
from synthctx_data.errors import DatasetError
from synthctx_data.files import whole
from synthctx_data.schema import SCHEMA
from synthctx_data.task import Task

ROOT = Path(__file__).resolve().parent.parent / "dataset_cards"
_CARD = "README.md"

_LOADED = re.compile(r'(load_dataset\("[^"]*", ")(\w+)(?="\))')  # the line that shows how to load a variant


def update_card(task: Task, build: Build) -> Path:
    """Writes the variant's files, features and sizes into the card's YAML, and returns the card.

    What the card holds besides stays: other variants, and a text that somebody has edited.
    """
    path = build.folder / _CARD
    with FileLock(build.folder / ".lock"):
        source = path if path.exists() else ROOT / f"{task.name}.md"
        card = _read(source)
        splits = _splits(build.target)
        files = [{"split": split, "path": f"{build.variant}/{split}-*.parquet"} for split in splits]
        _put(card.data, "configs", {"config_name": build.variant, "data_files": files}, task)
        _put(card.data, "dataset_info", {"config_name": build.variant, **_info(build.target, splits)}, task)
        there = [entry["config_name"] for entry in card.data["configs"]]
        text = _LOADED.sub(lambda line: line[1] + (line[2] if line[2] in there else there[0]), str(card))
        with whole(path) as aside:
            aside.write_text(text, encoding="utf-8")
    return path


def _read(path: Path) -> RepoCard:
    try:
        card = RepoCard(path.read_text(encoding="utf-8"))
        for key in ("configs", "dataset_info"):
            for entry in card.data.get(key) or []:
                entry["config_name"]
    except (ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise DatasetError(
            f"expected {path} to begin with YAML that lists configs and dataset_info with a config_name each; mend or remove it, "
            f"and call again: {type(error).__name__}: {error}"
        ) from error
    return card


def _put(data: CardData, key: str, entry: dict[str, Any], task: Task) -> None:
    """Puts the entry in place of the one with its config name, in the order of the task's variants."""
    known = {old["config_name"]: old for old in data.get(key) or []}
    known[entry["config_name"]] = entry
    order = [*task.variants, *known]
    data[key] = sorted(known.values(), key=lambda old: order.index(old["config_name"]))


def _splits(folder: Path) -> dict[str, list[Path]]:
    splits: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.parquet")):
        splits.setdefault(file.name.split("-")[0], []).append(file)
    return splits


def _info(folder: Path, splits: dict[str, list[Path]]) -> dict[str, Any]:
    from datasets import Features

    sizes = []
    for split, files in splits.items():
        metadata = [pq.read_metadata(file) for file in files]
        groups = [part.row_group(i).total_byte_size for part in metadata for i in range(part.num_row_groups)]
        sizes.append({"name": split, "num_bytes": sum(groups), "num_examples": sum(part.num_rows for part in metadata)})
    return {
        "features": Features.from_arrow_schema(SCHEMA)._to_yaml_list(),
        "splits": sizes,
        "download_size": sum(file.stat().st_size for files in splits.values() for file in files),
        "dataset_size": sum(size["num_bytes"] for size in sizes),
    }
