"""Read a data set back: from the folder that `synthctx build` wrote, or from anywhere `load_dataset` reads."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders.shards import MANIFEST, parse_manifest, read_manifest
from synthctx_data.errors import DatasetError, HubError, UsageError, first_line
from synthctx_data.schema import SCHEMA

_ROWS = 16  # read at once: rows can be megabytes


@dataclass(frozen=True)
class Variant:
    """The rows of one variant, and what it was built from (empty if that is not known)."""

    name: str
    address: str
    local: bool
    revision: str | None = None

    @property
    def folder(self) -> Path:
        return Path(self.address) / self.name

    @cached_property
    def manifest(self) -> dict[str, Any]:
        if self.local:
            return read_manifest(self.folder)
        with suppress(HubError, UsageError):  # what cannot be reached may lie in the cache
            return _remote_manifest(self.address, self.name, self.revision)
        return {}

    def count(self) -> int | None:
        """How many rows there are; None if only reading them would tell."""
        if not self.local:
            return None
        return sum(int(_open(file).metadata.num_rows) for _, file in self.files())

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every row with its split.

        Raises: DatasetError if a file cannot be read or is of another schema.
        """
        if not self.local:
            yield from self._loaded()
            return
        for split, file in self.files():
            try:
                yield from ((split, row) for row in file_rows(_open(file)))
            except (pa.ArrowException, OSError) as error:
                raise DatasetError(f"{file} is damaged, remove its folder and build again: {error}") from error

    def require_complete(self) -> None:
        """Raises: DatasetError if build.json is none, or not of the local files."""
        for name, kind in (("task", str), ("variant", str), ("fingerprint", str), ("depth", str), ("max_tokens", int)):
            if not isinstance(self.manifest.get(name), kind) or (
                name == "variant" and self.manifest[name] != self.name
            ):
                raise DatasetError(
                    f"expected {self.folder / MANIFEST} to hold the {name} that was built, found {self.manifest.get(name)!r}; "
                    "remove the folder and build it again"
                )
        rows: Counter[str] = Counter()
        for split, file in self.files():
            rows[split] += _open(file).metadata.num_rows
        asked = {split: self.manifest[split] for split in ("train", "validation") if self.manifest.get(split)}
        if rows != asked:
            raise DatasetError(
                f"expected {asked} rows in {self.folder}, as its build.json says, found {dict(rows)}; remove it and build it again"
            )

    def files(self) -> list[tuple[str, Path]]:
        """The Parquet files of a local variant, each with its split."""
        files = sorted(self.folder.glob("*.parquet"))
        if not files:
            raise DatasetError(f"expected Parquet files in {self.folder}, found none; build the variant first")
        return [(file.name.split("-")[0], file) for file in files]

    def _loaded(self) -> Iterator[tuple[str, dict[str, Any]]]:
        import datasets

        try:
            for split, rows in datasets.load_dataset(
                self.address, self.name, revision=self.revision, streaming=True
            ).items():
                _require_schema(rows.features.arrow_schema, self.address)
                yield from ((split, row) for row in rows)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise DatasetError(f"{self.address} ({self.name}) cannot be loaded: {error}") from error


def find_variants(address: str, names: list[str], revision: str | None = None) -> list[Variant]:
    """The named variants of a data set, or all of them: a folder of this machine, or else a Hub id (at a revision).

    Raises: UsageError if the folder has no such variant, or comes with a revision, or if there is no such data set on the Hub.
    """
    folder = Path(os.path.expanduser(address))
    if not folder.is_dir():
        names = names or _configs(address, revision)
        return [Variant(name, address, local=False, revision=revision) for name in names]
    if revision is not None:
        raise UsageError(
            f"--revision: {folder} is a folder here, and only a set on the Hub has revisions; leave it out"
        )
    there = sorted({file.parent.name for file in folder.glob("[!.]*/*.parquet")})
    for name in names:
        if name not in there:
            raise UsageError(f"expected a variant in {folder}, one of {', '.join(there) or 'none'}; got {name!r}")
    if not there:
        raise UsageError(f"expected variants in {folder}, such as symbolic_haystack/train-*.parquet; found none")
    return [Variant(name, str(folder), local=True) for name in names or there]


def _remote_manifest(address: str, name: str, revision: str | None) -> dict[str, Any]:
    from builders.repository import MAIN, Repository

    repository = Repository(address)
    sha = repository.find(revision or MAIN)
    path = f"{name}/{MANIFEST}"
    if sha is None or path not in repository.state_at(sha).files:
        return {}
    return parse_manifest(repository.read(path, sha))


def _configs(address: str, revision: str | None) -> list[str]:
    import datasets

    try:
        return list(datasets.get_dataset_config_names(address, revision=revision))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise UsageError(
            f"expected a folder here, or a data set on the Hub; {address} is no folder, and on the Hub: {first_line(error)}"
        ) from error


def file_rows(parquet: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    """The rows of one file."""
    for batch in parquet.iter_batches(batch_size=_ROWS):
        yield from batch.to_pylist()


def _open(file: Path) -> pq.ParquetFile:
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"expected a Parquet file, but {file} does not open: {error}") from error
    _require_schema(parquet.schema_arrow, str(file))
    for name in SCHEMA.names:
        there, asked = parquet.schema_arrow.field(name).type, SCHEMA.field(name).type
        if there != asked:
            raise DatasetError(
                f"{file}: expected {name} to be {asked}, found {there}; remove its folder and build again"
            )
    return parquet


def _require_schema(schema: pa.Schema, place: str) -> None:
    missing = [name for name in SCHEMA.names if name not in schema.names]
    if missing:
        raise DatasetError(
            f"{place}: expected the columns {', '.join(SCHEMA.names)}; {', '.join(missing)} missing; is this a set of synthctx?"
        )
