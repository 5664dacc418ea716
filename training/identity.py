"""Identifiers of data, models and adapters, so that a run is never mixed with another."""

import hashlib
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from synthctx_data.dataset import Address, parse_variant_address
from synthctx_data.errors import UsageError
from synthctx_data.hub import read_from
from synthctx_data.manifest import MANIFEST, read_manifest
from training.benchmarks.catalog import benchmark_in
from training.options import ReadingOptions

_SAMPLE = 2**20  # bytes that are read at each end of a file: reading all weights would take minutes


def identify_data(address: Address) -> dict[str, str]:
    """The address of a data set, with the fingerprint of its build (in a folder) or its revision (on the Hub).

    Raises: UsageError if there is no such data set.
    """
    if address.is_folder:
        folder = address.folder / str(address.variant)
        fingerprint = read_manifest(folder).get("fingerprint")
        if fingerprint is None and (folder / MANIFEST).is_file():
            raise UsageError(
                f"--data: expected {folder / MANIFEST} to be as `synthctx build` wrote it; build the variant again"
            )
        return {"address": str(address), "fingerprint": fingerprint or "unknown"}
    with read_from(address.place, "--data: expected a folder or a Hub id of a data set"):
        revision = HfApi().dataset_info(address.place, revision=address.revision).sha
    return {"address": str(address), "revision": str(revision)}


def identify(options: ReadingOptions) -> dict[str, Any]:
    """The identifiers of the model, of the adapter, and of the data that they read."""
    served = getattr(options, "endpoint", None)  # a model behind an endpoint is a name there, not a folder here
    weights = [] if served else [identify_model(options.model, options.model_revision), identify_model(options.adapter)]
    benchmark = benchmark_in(options.data)
    data = benchmark.identity() if benchmark else identify_data(parse_variant_address(options.data))
    return {"weights": weights, "data": data}


def identify_model(name: str | None, revision: str | None = None) -> str | None:
    """The Hub id with its revision; for a folder, a hash of its configuration and of a sample of its weights."""
    if name is None or not Path(name).is_dir():
        return f"{name}@{revision}" if revision else name
    digest = hashlib.sha256()
    kinds = ("*.json", "*.safetensors", "*.bin", "*.jinja", "*.model")  # weights, tokenizers and their templates
    for file in sorted(file for kind in kinds for file in Path(name).glob(kind)):
        with file.open("rb") as content:
            digest.update(f"{file.name} {file.stat().st_size} ".encode() + content.read(_SAMPLE))
            content.seek(max(file.stat().st_size - _SAMPLE, 0))
            digest.update(content.read())
    return digest.hexdigest()[:16]
