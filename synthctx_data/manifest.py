"""The manifest of a built variant, build.json: everything that decides its rows. It is written, read and compared here."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from synthctx_data import CONTENT_VERSION, __version__
from synthctx_data.files import write_text

MANIFEST = "build.json"
MIXED = "mixed"  # the depth of a mixture whose parts were built with different ones
Manifest = Mapping[str, Any]


def make_manifest(description: Manifest, shards: int | None) -> dict[str, Any]:
    """The manifest of a variant with this description. Each split has `shards` shards (None: as many as its tokens need)."""
    return {"synthctx": __version__, "content": CONTENT_VERSION, "shards": shards, **description}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest into a variant's folder."""
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in a variant's folder; empty if there is none that can be parsed."""
    file = folder / MANIFEST
    return parse_manifest(file.read_bytes()) if file.exists() else {}


def parse_manifest(content: bytes) -> dict[str, Any]:
    """The manifest in the bytes of a build.json; empty if they do not hold one."""
    try:
        manifest = json.loads(content)
    except ValueError:
        return {}
    return manifest if isinstance(manifest, dict) else {}


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
