"""Read a data set back: from the folder that `synthctx build` wrote, or from anywhere `load_dataset` reads."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders.shards import read_manifest
from synthctx_data.errors import DatasetError, UsageError
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

    @property
    def manifest(self) -> dict[str, Any]:
        return read_manifest(self.folder) if self.local else {}

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
        """Raises: DatasetError if the local files are not the rows that build.json speaks of."""
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

    Raises: UsageError if the folder has no such variant, if a Hub id comes without names, or a folder with a revision.
    """
    folder = Path(os.path.expanduser(address))
    if not folder.is_dir():
        if not names:
            raise UsageError(f"{address} is no folder here; to read it from the Hub, name its variants too")
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
    return parquet


def _require_schema(schema: pa.Schema, place: str) -> None:
    missing = [name for name in SCHEMA.names if name not in schema.names]
    if missing:
        raise DatasetError(
            f"{place}: expected the columns {', '.join(SCHEMA.names)}; {', '.join(missing)} missing; is this a set of synthctx?"
        )
