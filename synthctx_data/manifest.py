"""The manifest of a built variant, build.json: everything that decides its rows. It is written, read and compared here."""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from synthctx_data import CONTENT_VERSION, __version__
from synthctx_data.errors import UsageError, first_problem
from synthctx_data.example import SPLITS
from synthctx_data.files import Place, parse_json, write_text
from synthctx_data.options import UNIFORM, fingerprint, parse_depth

MANIFEST = "build.json"
CROISSANT = "croissant.json"  # of all variants of a folder, beside their card
DRAFT = "building.json"  # the manifest of a variant in a store, until the variant is finished
MIXED = "mixed"  # the depth of a mixture whose parts were built with different ones
Manifest = Mapping[str, Any]
_Count = Annotated[int, Field(ge=0, strict=True)]
_NOT_HASHED = ("synthctx", "content", "shards", "fingerprint")  # entries that the fingerprint does not come from


class _Part(BaseModel):
    """A part of a mixture: the manifest of what it was made from."""

    made: "_Made"


class _Made(BaseModel):
    """Those entries of a part's manifest that are read."""

    model_config = ConfigDict(extra="allow")

    variant: str | None = None
    needle_format: str = "single"
    needle_in: str = "own"
    mixture: list[_Part] = []


def _parsed(depth: str) -> str:
    """The depth, if it can be read."""
    try:
        parse_depth(UNIFORM if depth == MIXED else depth)
    except UsageError as error:
        raise ValueError(str(error).removeprefix("--depth: ")) from None
    return depth


class _Form(BaseModel):
    """The form of those entries of a manifest that are read. There are others."""

    model_config = ConfigDict(extra="allow", strict=True)

    task: str
    variant: str
    fingerprint: str
    content: str = CONTENT_VERSION
    max_tokens: Annotated[_Count, Field(ge=1)]
    train: _Count | None = None
    validation: _Count | None = None
    depth: Annotated[str, AfterValidator(_parsed)] = UNIFORM
    questions: Annotated[_Count, Field(ge=1)] = 1
    budgets: list[Annotated[_Count, Field(ge=1)]] = []
    mixture: list[_Part] = []


def make_manifest(description: Manifest, shards: int | None) -> dict[str, Any]:
    """The manifest of a variant with this description. Each split has `shards` shards (None: as many as its tokens need)."""
    return {"synthctx": __version__, "content": CONTENT_VERSION, "shards": shards, **description}


def write_manifest(folder: Place, manifest: Manifest, name: str = MANIFEST) -> None:
    """Writes the manifest into a variant's folder."""
    write_text(folder / name, json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Place, name: str = MANIFEST) -> dict[str, Any]:
    """The manifest in a variant's folder; empty if there is none that can be parsed."""
    file = folder / name
    return parse_manifest(file.read_bytes()) if file.exists() else {}


def parse_manifest(content: bytes) -> dict[str, Any]:
    """The manifest in the bytes of a build.json; empty if they do not hold one."""
    try:
        manifest = parse_json(content)
    except ValueError:
        return {}
    return manifest if isinstance(manifest, dict) else {}


def wrong_form(manifest: Manifest) -> str:
    """The first problem of a manifest's form, in words, such as "depth: Input should be a valid string"; empty if there is none."""
    try:
        _Form.model_validate(manifest)
    except ValidationError as error:
        return first_problem(error)
    return ""


def sizes_in(manifest: Manifest) -> dict[str, int]:
    """The number of rows of each split that a manifest promises. A split without rows is left out."""
    return {split: manifest[split] for split in SPLITS if manifest.get(split)}


def computed_fingerprint(manifest: Manifest) -> str:
    """The fingerprint that follows from the other entries of a manifest."""
    described = {name: value for name, value in manifest.items() if name not in _NOT_HASHED}
    return fingerprint(described, manifest.get("content", CONTENT_VERSION))


def differing(one: Manifest, other: Manifest, ignored: Iterable[str] = ()) -> list[str]:
    """The names of the entries that differ between two manifests, in alphabetical order."""
    return sorted(name for name in {*one, *other} - {*ignored} if one.get(name) != other.get(name))


def has_own_documents(manifest: Manifest) -> bool:
    """True if a user's documents are the haystack around needles that are made up."""
    return bool(manifest.get("corpus")) and not str(manifest.get("variant")).startswith(("real", "grounded"))


def stands_out(manifest: Manifest) -> str:
    """The reason why needles stand out of their haystack by design; empty if they must not."""
    if "mixture" in manifest:
        return next(filter(None, (stands_out(part["made"]) for part in manifest["mixture"])), "")
    if has_own_documents(manifest):
        return "the haystack is a user's documents, and the needles are made up"
    if manifest.get("needle_format", "single") != "single":
        return "several documents differ in one answer"
    return "a needle is a sentence alone" if manifest.get("needle_in") == "sentence" else ""
