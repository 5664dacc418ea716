"""The card (README.md) of a data set: one for all its configs, brought up to date as they change.

synthctx writes the part between two comments anew. All other text belongs to whoever edits it: once a person has edited it,
it stays, whatever synthctx would write today. The first comment holds a hash of that text, by which an edit is noticed.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.parquet as pq
import yaml
from huggingface_hub import CardData
from pydantic import BaseModel, ConfigDict, ValidationError

from builders.hub.card_picture import PLOT
from builders.hub.card_section import LICENSES, Describe, citation, describe_variant, licenses_of, templates
from builders.hub.croissant import croissant
from builders.shards import Build
from synthctx_data import __version__
from synthctx_data.dataset import Address, find_variants
from synthctx_data.errors import DatasetError, first_line, first_problem
from synthctx_data.examine import survey_of
from synthctx_data.files import Place, parse_yaml, write_json, write_text
from synthctx_data.locks import held
from synthctx_data.manifest import CROISSANT, read_manifest
from synthctx_data.places import listed, opened
from synthctx_data.schema import SCHEMA
from synthctx_data.survey import Survey
from synthctx_data.task import Task

CARD = "README.md"
_FRONT_MATTER = re.compile(r"\s*---[ \t]*\n(?P<yaml>.*?\n)??---[ \t]*(\n|$)", re.DOTALL)
_REGION = re.compile(
    r"<!-- configs: synthctx writes them anew, and leaves the rest to you \(text (?P<by>synthctx|yours) (?P<hash>\w+)\) -->[ \t]*\n"
    r"(?P<blocks>.*?)<!-- end of configs -->",
    re.DOTALL,
)
_BLOCK = re.compile(r"<!-- config (?P<variant>\w+) -->[ \t]*\n(?P<text>.*?)<!-- end of config -->[ \t]*\n", re.DOTALL)
_FAULTS = re.compile(r"^\| faults \|.*\n", re.MULTILINE)
_HASH = re.compile(r"`[0-9a-f]{16}`")
_ADDRESS_PLACES = tuple(  # the places where a card names its own address, with the text before and behind it
    map(
        re.compile,
        (
            r'(load_dataset\(")[^"\n]*(", ")',
            r"(hf download )\S+()",
            r"(which version: `)[^`\n]*(`)",
            r"(data set )[^}\n]*(\},\n  note)",
        ),
    )
)
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_LARGEST = "10M<n<100M"
_LOCK = ".lock"
_PATIENCE = 600  # seconds for others to describe their variants


class _Config(BaseModel):
    """An entry of `configs`."""

    config_name: str


class _Split(BaseModel):
    """A split in an entry of `dataset_info`."""

    num_examples: int = 0


class _Info(_Config):
    """An entry of `dataset_info`."""

    splits: list[_Split] | None = None


class _Form(BaseModel):
    """The form of those entries of a card's YAML that are read. There are others."""

    model_config = ConfigDict(extra="allow")

    license: str | list[str] | None = None
    configs: list[_Config] | None = None
    dataset_info: list[_Info] | None = None


@dataclass(frozen=True)
class Card:
    """A card: the data in its YAML, and the text below."""

    data: dict[str, Any]
    text: str

    def __str__(self) -> str:
        return f"---\n{CardData(**self.data).to_yaml()}\n---\n{self.text}"

    @property
    def blocks(self) -> dict[str, str]:
        """The text about each config, by the config's name."""
        region = _REGION.search(self.text)
        return {block["variant"]: block["text"] for block in _BLOCK.finditer(region["blocks"])} if region else {}

    @property
    def prose(self) -> str:
        """A hash of the text, without the part about configs and without the address of the data set."""
        outside = _with_address(_REGION.sub("", self.text), "").strip()
        return hashlib.sha256(outside.encode()).hexdigest()[:8]

    @property
    def changed(self) -> bool:
        """True if somebody edited the text after synthctx wrote it."""
        region = _REGION.search(self.text)
        return region is None or region["hash"] != self.prose

    @property
    def edited(self) -> bool:
        """True if a person has edited the text at any time."""
        region = _REGION.search(self.text)
        return self.changed or region is None or region["by"] == "yours"

    def entries(self, key: str) -> dict[str, dict[str, Any]]:
        """The entries of `configs` or `dataset_info` in the YAML, by config."""
        return {entry["config_name"]: entry for entry in self.data.get(key) or []}

    def part(self, variant: str) -> "Part":
        """The part of the card about one config.

        Raises: DatasetError if its YAML does not list the config.
        """
        for key in ("configs", "dataset_info"):
            if variant not in self.entries(key):
                raise DatasetError(
                    f"expected the card to have {variant} among its {key}; call synthctx build again with the same options, which adds it"
                )
        return Part(
            variant,
            self.entries("configs")[variant],
            self.entries("dataset_info")[variant],
            self.blocks.get(variant, ""),
        )


@dataclass(frozen=True)
class Footer:
    """The sizes of a Parquet file: its rows, their bytes in memory (uncompressed), and the bytes of the file."""

    rows: int
    memory: int
    size: int

    @classmethod
    def of(cls, metadata: pq.FileMetaData, size: int) -> "Footer":
        """The footer of a file with this metadata and this many bytes."""
        memory = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        return cls(metadata.num_rows, memory, size)


@dataclass(frozen=True)
class Part:
    """The part of a card about one config: its entries in the YAML, and its text."""

    variant: str
    config: dict[str, Any]
    info: dict[str, Any]
    block: str


def read_card(content: str | bytes, where: str) -> Card:
    """The card that a text, or bytes, hold.

    Raises: DatasetError if its YAML does not parse, or if it lists configs in another form.
    """
    try:
        text = (content.encode() if isinstance(content, str) else content).decode("utf-8-sig").replace("\r\n", "\n")
        head = _FRONT_MATTER.match(text)
        data = parse_yaml(head["yaml"] or "") or {} if head else {}
        _Form.model_validate(data)
    except (ValueError, yaml.YAMLError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else first_line(error)
        raise DatasetError(
            f"expected {where} to begin with YAML that lists configs and dataset_info with a config_name each, and it has another form: "
            f"{problem}; mend or remove it, and call again"
        ) from error
    return Card(data, text[head.end() :] if head else text)


def require_card(folder: Place) -> None:
    """Raises: DatasetError if the card of a folder has a form that cannot be brought up to date: before its variants are built."""
    _read(folder / CARD)
    if (folder / CROISSANT).is_dir():
        raise DatasetError(f"expected {folder / CROISSANT} to be a file, and it is a folder; remove it")
    if (folder / _LOCK).is_dir():
        raise DatasetError(f"expected {folder / _LOCK} to be a file that locks the card, and it is a folder; remove it")


def update_card(
    task: Task,
    build: Build,
    progress: Callable[[int], None] = lambda rows: None,
    describe: Describe = describe_variant,
    workers: int = 1,
) -> Survey | None:
    """The survey of the built variant, which the folder's card describes now; None if it did so before.

    `progress` is called with the number of further rows that were read, and `describe` writes the text about the variant. A variant
    that the card describes already is not read again.
    """
    address = (
        "/".join(build.folder.parts[-2:]) if build.is_remote or build.folder.is_absolute() else build.folder.as_posix()
    )
    block, survey = _known_block(build), None
    if block is None:
        (variant,) = find_variants(Address(str(build.folder), build.variant))
        survey = survey_of(variant, progress, workers)
        block = describe(task, build, survey, address, build.target)
    path = build.folder / CARD
    with held(build.folder, _LOCK, _PATIENCE):
        card = with_part(task, address, _read(path), make_part(build.variant, _footers(build.target), block))
        built = {variant.name: variant.manifest for variant in find_variants(Address(str(build.folder)))}
        card = finish(task, card, built, built)
        write_text(path, str(card))
        write_json(build.folder / CROISSANT, _metadata(task, card, address))
    return survey


def _metadata(task: Task, card: Card, address: str) -> dict[str, Any]:
    """The Croissant metadata of the configs that a card lists."""
    return croissant(task, card.entries("configs"), card.data["license"], citation(address, task.name))


def merge(task: Task, address: str, theirs: Card | None, mine: Card, variant: str, faults: str = "") -> Card:
    """Their card with my part about one config. Their other configs stay, and so does a text that a person edited.

    A text edited in theirs comes before one edited in mine, and both come before the text that synthctx writes. The card
    lists the faults that the config is published with, as long as it has the same rows.
    """
    part = with_faults(mine.part(variant), faults, theirs)
    if theirs is not None and theirs.changed:
        return join(task, address, theirs, theirs, part)
    if mine.edited:
        return _signed(join(task, address, theirs, Card(mine.data, _with_address(mine.text, address)), part))
    return with_part(task, address, theirs, part)


def with_faults(part: Part, faults: str, theirs: Card | None = None) -> Part:
    """The part with these faults in its text, or else with those that their card lists for the same rows."""
    told = theirs.blocks.get(part.variant, "") if theirs else ""
    known = _FAULTS.search(told)
    line = f"| faults | found by `synthctx check`: {faults} |\n" if faults else ""
    if not line and known and _HASH.findall(told) == _HASH.findall(part.block):
        line = known[0]
    return replace(part, block=part.block + line)


def with_part(task: Task, address: str, card: Card | None, part: Part) -> Card:
    """The card with this part in place of its own part about that config. Its text stays if a person edited it."""
    return join(task, address, card, card if card and card.edited else None, part)


def join(task: Task, address: str, card: Card | None, text: Card | None, part: Part) -> Card:
    """The card with this part in place of its own part about that config.

    Its text is that of the card `text`, or (None) the one that synthctx writes.
    """
    card = card or Card({}, "")
    blocks = {**card.blocks, **({part.variant: _with_address(part.block, address)} if part.block else {})}
    ordered = {variant: blocks[variant] for variant in sorted(blocks, key=_order(task))}
    fresh = _fresh(task, address, ordered, part.variant)
    data = {**fresh.data, **(text.data if text else {}), **card.data}
    for key, entry in (("configs", part.config), ("dataset_info", part.info)):
        entries = {**card.entries(key), part.variant: entry}
        data[key] = [entries[variant] for variant in sorted(entries, key=_order(task))]
    return Card(data, _with_blocks(text.text, ordered) if text else fresh.text)


def finish(task: Task, card: Card, there: Collection[str], manifests: Mapping[str, Mapping[str, Any]]) -> Card:
    """The card with what follows from all its configs together: their licences (by their manifests), and a size category.

    Parts about variants of the task, and about mixtures, that are not `there` (the names of folders) are removed.
    """
    gone = {*task.variants, *card.blocks} - {*there}
    data = {
        key: [e for name, e in card.entries(key).items() if name not in gone] for key in ("configs", "dataset_info")
    }
    blocks = {variant: block for variant, block in card.blocks.items() if variant not in gone}
    card = Card({**card.data, **data}, _with_blocks(card.text, blocks))
    licenses = {license for manifest in manifests.values() if manifest for license in licenses_of(task, manifest)}
    given = card.data.get("license") or []
    of_others = {*([given] if isinstance(given, str) else given)} - LICENSES
    infos = card.entries("dataset_info").values()
    rows = sum(split.get("num_examples", 0) for info in infos for split in info.get("splits") or [])
    size = next((name for most, name in _SIZES if rows < most), _LARGEST)
    return Card({**card.data, "license": sorted(licenses | of_others), "size_categories": [size]}, card.text)


def _with_address(text: str, address: str) -> str:
    """The text with this address wherever a card names its own."""
    for place in _ADDRESS_PLACES:
        text = place.sub(lambda found: f"{found[1]}{address}{found[2]}", text)
    return text


def _read(path: Place) -> Card | None:
    return read_card(path.read_bytes(), str(path)) if path.exists() else None


def _order(task: Task) -> Callable[[str], tuple[int, str]]:
    known = list(task.variants)
    return lambda variant: (known.index(variant) if variant in known else len(known), variant)


def _known_block(build: Build) -> str | None:
    """The text of the card about the variant; None if it is about another build of it, or if the picture is missing."""
    card = _read(build.folder / CARD)
    block = card.blocks.get(build.variant) if card else None
    same = block and f"`{read_manifest(build.target).get('fingerprint')}`" in block and (build.target / PLOT).exists()
    return block if same else None


def _fresh(task: Task, address: str, blocks: Mapping[str, str], variant: str) -> Card:
    example = next(iter(blocks), variant)
    values = {
        "task": task.name,
        "address": address,
        "example": example,
        "version": __version__,
        "configs": _region(blocks),
    }
    return _signed(read_card(templates.get_template(f"{task.name}.md").render(values), f"{task.name}.md"), "synthctx")


def _region(blocks: Mapping[str, str], by: str = "synthctx", mark: str = "0") -> str:
    texts = "".join(f"<!-- config {variant} -->\n{text}<!-- end of config -->\n\n" for variant, text in blocks.items())
    head = f"<!-- configs: synthctx writes them anew, and leaves the rest to you (text {by} {mark}) -->\n"
    here = ", ".join(f"[`{variant}`](#{variant})" for variant in blocks)
    return f"{head}Here: {here}.\n\n{texts}<!-- end of configs -->"


def _with_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """The text with these blocks, if it has a place for them."""
    return _REGION.sub(lambda region: _region(blocks, region["by"], region["hash"]), text)


def _signed(card: Card, by: str = "yours") -> Card:
    """The card with the hash of its prose in the first comment."""
    return Card(card.data, _REGION.sub(lambda region: _region(card.blocks, by, card.prose), card.text))


def make_part(variant: str, footers: Mapping[str, Sequence[Footer]], block: str) -> Part:
    """The part of a card about a config whose splits have files with these footers."""
    files = [{"split": split, "path": f"{variant}/{split}-*.parquet"} for split in footers]
    name = {"config_name": variant}
    return Part(variant, {**name, "data_files": files}, {**name, **_info(footers)}, block)


def _footers(folder: Place) -> dict[str, list[Footer]]:
    footers: dict[str, list[Footer]] = {}
    for file in listed(folder, "*.parquet"):
        with opened(file) as parquet:
            footers.setdefault(file.name.split("-")[0], []).append(Footer.of(parquet.metadata, file.stat().st_size))
    return footers


def _info(footers: Mapping[str, Sequence[Footer]]) -> dict[str, Any]:
    from datasets import Features

    sizes = [
        {
            "name": split,
            "num_bytes": sum(file.memory for file in files),
            "num_examples": sum(file.rows for file in files),
        }
        for split, files in footers.items()
    ]
    return {
        "features": Features.from_arrow_schema(SCHEMA)._to_yaml_list(),
        "splits": sizes,
        "download_size": sum(file.size for files in footers.values() for file in files),
        "dataset_size": sum(size["num_bytes"] for size in sizes),
    }
