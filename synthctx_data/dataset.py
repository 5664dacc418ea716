"""Built data sets, found by an address (PLACE:VARIANT@REVISION): their rows, manifests and schema."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synthctx_data.errors import DatasetError, UsageError, first_line
from synthctx_data.manifest import MANIFEST, parse_manifest, read_manifest
from synthctx_data.schema import SCHEMA

_ROWS = 16  # rows read at once: a row can have megabytes
_ADDRESS = re.compile(r"(?P<place>.+?)(?::(?P<variant>\w+))?(?:@(?P<revision>[\w./-]+))?")
_SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Address:
    """The address of a data set: its place (a local folder, or else a Hub id), a variant, and on the Hub a revision.

    variant: None means all variants.
    revision: None means the newest revision.
    """

    place: str
    variant: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        variant = f":{self.variant}" if self.variant else ""
        return f"{self.place}{variant}" + (f"@{self.revision}" if self.revision else "")

    @property
    def is_local(self) -> bool:
        """True if the place is a local folder."""
        return Path(self.place).is_dir()


def parse_address(text: str, revision: str | None = None) -> Address:
    """The address in a text such as "synthctx/mdqa_synth:symbolic_haystack@v1.0.0". All but the place may be left out.

    revision: the revision if the text names none.

    Raises: UsageError if the text is not an address, or if a local folder comes with a revision.
    """
    whole = os.path.expanduser(text)
    if Path(whole).is_dir():  # the name of a folder may hold ":" and "@"
        found = Address(whole, None, revision)
    else:
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise UsageError(
                f"expected PLACE:VARIANT@REVISION, such as synthctx/mdqa_synth:symbolic_haystack; got {text!r}"
            )
        found = Address(os.path.expanduser(match["place"]), match["variant"], match["revision"] or revision)
    if found.is_local and found.revision is not None:
        raise UsageError(
            f"--revision {found.revision}: {found.place} is a folder here, and only a set on the Hub has revisions; leave it out"
        )
    return found


def parse_variant_address(text: str) -> Address:
    """The address of one variant in a text, as `--data` takes it.

    Raises: UsageError as `parse_address` does, and if the address names no variant.
    """
    found = parse_address(text)
    if found.variant is None:
        raise UsageError(f"--data: expected PLACE:VARIANT, such as synthctx/mdqa_synth:symbolic_haystack; got {text!r}")
    return found


@dataclass(frozen=True)
class BuiltVariant:
    """One variant of a built data set, in a local folder or on the Hub: its files, its rows and its manifest."""

    name: str
    address: Address

    @property
    def folder(self) -> Path:
        """The folder of a local variant."""
        return Path(self.address.place) / self.name

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the variant; empty if there is none."""
        return read_manifest(self.folder) if self.address.is_local else _remote_manifest(self)

    def count(self) -> int | None:
        """The number of rows of a local variant; None for one on the Hub, where only reading them would tell."""
        return sum(self.count_by_split().values()) if self.address.is_local else None

    def count_by_split(self) -> Counter[str]:
        """The number of rows of a local variant, by split."""
        rows: Counter[str] = Counter()
        for split, file in self.files():
            rows[split] += _open(file).metadata.num_rows
        return rows

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every row with its split.

        Raises: DatasetError if a file cannot be read or is of another schema.
        """
        if not self.address.is_local:
            yield from self._streamed()
            return
        for split, file in self.files():
            try:
                yield from ((split, row) for row in file_rows(_open(file)))
            except (pa.ArrowException, OSError) as error:
                raise DatasetError(f"{file} is damaged, remove its folder and build again: {error}") from error

    def require_complete(self) -> None:
        """Raises: DatasetError if build.json is missing or damaged, or if the local files have another number of rows."""
        for name, kind in (("task", str), ("variant", str), ("fingerprint", str), ("depth", str), ("max_tokens", int)):
            value = self.manifest.get(name)
            if not isinstance(value, kind) or (name == "variant" and value != self.name):
                raise DatasetError(
                    f"expected {self.folder / MANIFEST} to hold the {name} that was built, found {value!r}; "
                    "remove the folder and build it again"
                )
        asked = {split: self.manifest[split] for split in _SPLITS if self.manifest.get(split)}
        rows = self.count_by_split()
        if rows != asked:
            raise DatasetError(
                f"expected {asked} rows in {self.folder}, as its build.json says, found {dict(rows)}; remove it and build it again"
            )

    def files(self) -> list[tuple[str, Path]]:
        """The Parquet files of a local variant, each with its split.

        Raises: DatasetError if there are none.
        """
        files = sorted(self.folder.glob("*.parquet"))
        if not files:
            raise DatasetError(f"expected Parquet files in {self.folder}, found none; build the variant first")
        return [(file.name.split("-")[0], file) for file in files]

    def _streamed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for split, rows in _load(replace(self.address, variant=self.name), streaming=True).items():
            require_schema(rows.features.arrow_schema, str(self.address))
            yield from ((split, row) for row in rows)


def find_variants(address: Address, names: list[str] | None = None) -> list[BuiltVariant]:
    """The variants of a data set: those of these names, or else the one of the address, or else all of them.

    Raises: UsageError if the folder has no such variant, or if there is no such data set on the Hub.
    """
    wanted = names or ([address.variant] if address.variant else [])
    if not address.is_local:
        return [BuiltVariant(name, address) for name in wanted or _hub_variants(address)]
    folder = Path(address.place)
    there = sorted({file.parent.name for file in folder.glob("[!.]*/*.parquet")})
    for name in wanted:
        if name not in there:
            raise UsageError(f"expected a variant in {folder}, one of {', '.join(there) or 'none'}; got {name!r}")
    if not there:
        raise UsageError(f"expected variants in {folder}, such as symbolic_haystack/train-*.parquet; found none")
    return [BuiltVariant(name, address) for name in wanted or there]


def load_rows(address: Address, split: str, limit: int | None = None) -> Any:
    """The rows of a split as a datasets.Dataset: all of them, or the first `limit`.

    Raises: UsageError if there is no such data set, split or variant; DatasetError if its rows have another schema.
    """
    try:
        rows = _load(address, split=split)
    except DatasetError as error:
        raise UsageError(
            f"--data: expected a folder or a Hub id of a data set with this variant and split, got {address}: {error}; "
            f"build one:  synthctx build {Path(address.place).name} {address.variant}"
        ) from error
    require_schema(rows.features.arrow_schema, str(address))
    return rows.select(range(len(rows) if limit is None else min(limit, len(rows))))


def has_split(address: Address, split: str) -> bool:
    """True if a data set has a split of this name. False also if it cannot be loaded."""
    import datasets

    try:
        return split in datasets.get_dataset_split_names(address.place, address.variant, revision=address.revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError):
        return False


def file_rows(parquet: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    """The rows of one Parquet file."""
    for batch in parquet.iter_batches(batch_size=_ROWS):
        yield from batch.to_pylist()


def require_schema(schema: pa.Schema, place: str) -> None:
    """Raises: DatasetError if columns of synthctx are missing or have other types."""
    missing = [name for name in SCHEMA.names if name not in schema.names]
    if missing:
        raise DatasetError(
            f"{place}: expected the columns {', '.join(SCHEMA.names)}; {', '.join(missing)} missing; is this a set of synthctx? "
            "Build one:  synthctx build --help"
        )
    for name in SCHEMA.names:
        there, asked = schema.field(name).type, SCHEMA.field(name).type
        if there != asked:
            raise DatasetError(f"{place}: expected {name} to be {asked}, found {there}; build the data set again")


def _load(address: Address, **options: Any) -> Any:
    """The data set at an address, as load_dataset loads it.

    Raises: DatasetError if it cannot be loaded.
    """
    import datasets

    try:
        return datasets.load_dataset(address.place, address.variant, revision=address.revision, **options)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DatasetError(f"{address} cannot be loaded: {first_line(error)}") from error


def _open(file: Path) -> pq.ParquetFile:
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"expected a Parquet file, but {file} does not open: {error}") from error
    require_schema(parquet.schema_arrow, str(file))
    return parquet


def _remote_manifest(variant: BuiltVariant) -> dict[str, Any]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    address = variant.address
    try:
        file = hf_hub_download(
            address.place, f"{variant.name}/{MANIFEST}", repo_type="dataset", revision=address.revision
        )
    except (OSError, ValueError, HfHubHTTPError, HFValidationError):
        return {}
    return parse_manifest(Path(file).read_bytes())


def _hub_variants(address: Address) -> list[str]:
    import datasets

    try:
        return list(datasets.get_dataset_config_names(address.place, revision=address.revision))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise UsageError(
            f"expected a folder here, or a data set on the Hub; {address.place} is no folder, and on the Hub: {first_line(error)}"
        ) from error
