"""Built data sets, found by an address (PLACE:VARIANT@REVISION): their rows, manifests and schema."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synthctx_data.errors import DatasetError, UsageError
from synthctx_data.files import Place, expanded
from synthctx_data.hub import read_from
from synthctx_data.manifest import DRAFT, MANIFEST, computed_fingerprint, parse_manifest, sizes_in, wrong_form
from synthctx_data.places import at, here, is_remote, listed, opened
from synthctx_data.schema import SCHEMA, require_values

_ROWS = 16  # rows read at once: a row can have megabytes
_ADDRESS = re.compile(r"(?P<place>.+?)(?::(?P<variant>\w+))?(?:@(?P<revision>[\w./-]+))?")
_SHARD = re.compile(r"\w+-(?P<number>\d{5})-of-(?P<count>\d{5})\.parquet", re.ASCII)
_GROUPS = 4  # row groups of a piece: some megabytes
_EXPECTED = "expected a folder here, or a data set on the Hub"
_NAMED = 3  # missing shards that are named
_FETCHED = 16  # footers at a time, from a store


@dataclass(frozen=True)
class Address:
    """The address of a data set: its place (a folder, here or in a store, or else a Hub id), a variant, and on the Hub a revision.

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
    def is_folder(self) -> bool:
        """True if the place is a folder of this machine, or an address such as s3://bucket/folder, and not a Hub id."""
        return is_remote(self.place) or Path(self.place).is_dir()

    @property
    def folder(self) -> Place:
        """The folder."""
        return at(self.place)


def parse_address(text: str, revision: str | None = None) -> Address:
    """The address in a text such as "synthctx/mdqa_synth:symbolic_haystack@v1.0.0". All but the place may be left out.

    revision: the revision if the text names none.

    Raises: UsageError if the text is not an address, or if a local folder comes with a revision.
    """
    whole = _home(text)
    if not text:
        raise UsageError("expected PLACE:VARIANT@REVISION, such as synthctx/mdqa_synth:symbolic_haystack; got ''")
    if Path(whole).is_dir():  # the name of a folder may hold ":" and "@"
        found = Address(whole, None, revision)
    else:
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise UsageError(
                f"expected PLACE:VARIANT@REVISION, such as synthctx/mdqa_synth:symbolic_haystack; got {text!r}"
            )
        if match["revision"] and revision and match["revision"] != revision:
            raise UsageError(f"--revision {revision}: {text} names another revision; leave one of them out")
        found = Address(_home(match["place"]), match["variant"], match["revision"] or revision)
        folder, _, name = whole.rpartition(":")
        if (
            match["variant"] is None and folder and name and Path(folder).is_dir()
        ):  # what follows is no name of a variant
            found = Address(folder, name, revision)
    if found.is_folder and found.revision is not None:
        raise UsageError(
            f"--revision {found.revision}: {found.place} is a folder, and only a set on the Hub has revisions; leave it out"
        )
    return found


def _home(text: str) -> str:
    """The text with a home folder in place of ~. All else stays: ./NAME is a folder, and NAME may be on the Hub."""
    return str(expanded(text)) if text.startswith("~") else text


def parse_variant_address(text: str, option: str = "--data") -> Address:
    """The address of one variant in a text, as an option takes it.

    Raises: UsageError as `parse_address` does, and if the address names no variant.
    """
    found = parse_address(text)
    if found.variant is None:
        said = f"{option}: " if option else ""
        raise UsageError(f"{said}expected PLACE:VARIANT, such as synthctx/mdqa_synth:symbolic_haystack; got {text!r}")
    return found


@dataclass(frozen=True)
class BuiltVariant:
    """One variant of a built data set, in a folder or on the Hub: its files, its rows and its manifest."""

    name: str
    address: Address

    @cached_property
    def folder(self) -> Place:
        """The folder of the variant."""
        return self.address.folder / self.name

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the variant; empty if there is none.

        Raises: DatasetError if there is a file of this name that holds something else.
        """
        content = self._own_manifest() if self.address.is_folder else _remote_manifest(self)
        if content is None:
            return {}
        manifest = parse_manifest(content)
        problem = wrong_form(manifest) if manifest else "it is no JSON object"
        if problem:
            raise DatasetError(
                f"expected {self.folder / MANIFEST} to be what synthctx wrote, and it is not: {problem}; remove that folder and build it "
                "again"
            )
        return manifest

    def _own_manifest(self) -> bytes | None:
        file = self.folder / MANIFEST
        return file.read_bytes() if file.is_file() else None

    def count(self) -> int | None:
        """The number of rows of a variant in a folder; None for one on the Hub, where only reading them would tell."""
        return sum(self.count_by_split().values()) if self.address.is_folder else None

    def count_by_split(self) -> Counter[str]:
        """The number of rows of a variant in a folder, by split."""
        rows: Counter[str] = Counter()
        for split, _, metadata in self._footers:
            rows[split] += metadata.num_rows
        return rows

    @cached_property
    def _footers(self) -> list[tuple[str, Place, pq.FileMetaData]]:
        """The files with their splits and footers, several of which are fetched at a time from a store."""
        files = self.files()
        with ThreadPoolExecutor(_FETCHED if is_remote(self.address.place) else 1) as pool:
            found = pool.map(_footer, (file for _, file in files))
            return [(split, file, metadata) for (split, file), metadata in zip(files, found, strict=True)]

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every row with its split.

        Raises: DatasetError if a file cannot be read or is of another schema.
        """
        if not self.address.is_folder:
            yield from self._streamed()
            return
        for piece in self.pieces():
            yield from ((piece.split, row) for row in piece.rows())

    def row(self, split: str, index: int) -> dict[str, Any] | None:
        """The row at an index of a split; None if the split has fewer rows."""
        if not self.address.is_folder:
            return next(islice((row for of, row in self.rows() if of == split), index, None), None)
        for piece in self.pieces():
            if piece.split == split and index in range(piece.start, piece.start + piece.count):
                return next(islice(piece.rows(), index - piece.start, None))
        return None

    def pieces(self) -> list["Piece"]:
        """The row groups of a variant in a folder, a few at a time, in order: what several processes can read at once."""
        found, start = [], Counter[str]()
        for split, file, metadata in self._footers:
            found += pieces_in(split, start[split], file, metadata)
            start[split] += metadata.num_rows
        return found

    def missing(self) -> list[str]:
        """The ways in which the variant is not what its manifest promises, in words: other names, hashes, sizes, or files.

        Of a variant on the Hub, the files are not looked at. The rows are not read.
        """
        if not self.manifest:
            return []
        found = []
        if self.manifest["variant"] != self.name:
            found.append(
                f"{MANIFEST} is that of the variant {self.manifest['variant']!r}, and the folder is {self.name}"
            )
        if computed_fingerprint(self.manifest) != self.manifest["fingerprint"]:
            found.append(
                f"{MANIFEST} was changed: its fingerprint {self.manifest['fingerprint']} is not that of its other entries"
            )
        return found + self._missing_files() if self.address.is_folder else found

    def _missing_files(self) -> list[str]:
        asked, rows = sizes_in(self.manifest), self.count_by_split()
        found = [
            f"{MANIFEST} promises {asked.get(split, 0):,} rows of {split}, and the files have {rows[split]:,}"
            for split in sorted({*asked, *rows})
            if asked.get(split, 0) != rows[split]
        ]
        numbers: dict[tuple[str, int], set[int]] = {}
        for split, file in self.files():
            name = _SHARD.fullmatch(file.name)
            if name is None:
                found.append(f"{file.name} is no name of a shard, such as {split}-00000-of-00001.parquet")
            else:
                numbers.setdefault((split, int(name["count"])), set()).add(int(name["number"]))
        gaps = (
            f"{split}-{number:05d}-of-{count:05d}.parquet is missing"
            for (split, count), there in numbers.items()
            for number in range(count)
            if number not in there
        )
        return [*found, *islice(gaps, _NAMED)]

    def require_complete(self) -> None:
        """Raises: DatasetError if build.json is missing, or promises something else than there is."""
        if not self.manifest:
            raise DatasetError(
                f"expected {self.folder / MANIFEST} to say what was built; remove the folder and build it again"
            )
        for problem in self.missing():
            raise DatasetError(f"{self.folder} is not what was built: {problem}; remove it and build it again")

    def files(self) -> list[tuple[str, Place]]:
        """The Parquet files of a variant in a folder, each with its split.

        Raises: DatasetError if there are none.
        """
        files = listed(self.folder, "*.parquet")
        if not files:
            raise DatasetError(f"expected Parquet files in {self.folder}, found none; build the variant first")
        for file in files:
            if isinstance(file, Path) and not file.is_file():  # a pipe would be waited for
                raise DatasetError(f"expected {file} to be a file; remove it and build the variant again")
        return [(file.name.split("-")[0], file) for file in files]

    def _streamed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for split, rows in _load(replace(self.address, variant=self.name), streaming=True).items():
            require_schema(rows.features.arrow_schema, str(self.address))
            for batch in rows.with_format("arrow").iter(batch_size=_ROWS):
                require_values(batch, str(self.address))
                yield from ((split, row) for row in batch.to_pylist())


@dataclass(frozen=True)
class Piece:
    """Some row groups of a Parquet file, with the index of their first row in the split, and the number of their rows."""

    split: str
    start: int
    count: int
    file: Place
    groups: range

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows.

        Raises: DatasetError if the file is damaged, or if a row lacks something.
        """
        try:
            with opened(self.file) as parquet:
                yield from file_rows(parquet, str(self.file), self.groups)
        except (pa.ArrowException, OSError) as error:
            if is_remote(self.file):
                raise
            raise DatasetError(f"{self.file} is damaged, remove its folder and build again: {error}") from error


def pieces_in(split: str, start: int, file: Place, metadata: pq.FileMetaData) -> list[Piece]:
    """The pieces of a file, whose first row has the index `start` in its split."""
    found = []
    for first in range(0, metadata.num_row_groups, _GROUPS):
        groups = range(first, min(first + _GROUPS, metadata.num_row_groups))
        rows = sum(metadata.row_group(i).num_rows for i in groups)
        found.append(Piece(split, start, rows, file, groups))
        start += rows
    return found


def find_variants(address: Address, names: list[str] | None = None) -> list[BuiltVariant]:
    """The variants of a data set: those of these names, or else the one of the address, or else all of them.

    Raises: UsageError if the folder has no such variant, or if there is no such data set on the Hub.
    """
    wanted = names or ([address.variant] if address.variant else [])
    if not address.is_folder:
        return [BuiltVariant(name, address) for name in wanted or _hub_variants(address)]
    folder = address.folder
    there = sorted({file.parent.name for file in folder.glob(f"[!.]*/{_finished(folder)}")})
    if is_remote(folder) and not there:
        _refuse_begun(folder, wanted)
    for name in wanted:
        if name not in there:
            raise UsageError(f"expected a variant in {folder}, one of {', '.join(there) or 'none'}; got {name!r}")
    if not there and any(folder.glob("*.parquet")):
        raise UsageError(f"expected PLACE:VARIANT, and {folder} is a variant: give {folder.parent}:{folder.name}")
    if not there and (below := sorted({file.parent.parent for file in folder.glob("[!.]*/[!.]*/*.parquet")})):
        raise UsageError(f"expected variants in {folder}, and they are one folder below: give {below[0]}")
    if not there:
        raise UsageError(f"expected variants in {folder}, such as symbolic_haystack/train-*.parquet; found none")
    return [BuiltVariant(name, address) for name in wanted or there]


def _refuse_begun(folder: Place, wanted: list[str]) -> None:
    """Raises: UsageError if a variant in a store was begun, and is not finished."""
    begun = sorted({file.parent.name for file in folder.glob(f"[!.]*/{DRAFT}")})
    if named := [name for name in begun if not wanted or name in wanted]:
        raise UsageError(
            f"expected a finished variant in {folder}, and {', '.join(named)} is not: call synthctx build again with the options that it "
            "was begun with, or synthctx finish"
        )


def _finished(folder: Place) -> str:
    """The pattern of the names of files that tell of a finished variant: in a store, its shards may lie in their place before."""
    return MANIFEST if is_remote(folder) else "*.parquet"


def load_rows(address: Address, split: str, limit: int | None = None) -> Any:
    """The rows of a split as a datasets.Dataset: all of them, or the first `limit`.

    Raises: UsageError if there is no such data set, split or variant; DatasetError if its rows have another schema.
    """
    if address.is_folder:
        try:
            find_variants(address)  # whose error says which there are
        except UsageError as error:
            raise UsageError(f"--data: {error}") from error
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
        if address.is_folder:
            return split in BuiltVariant(str(address.variant), address).count_by_split()
        return split in datasets.get_dataset_split_names(address.place, address.variant, revision=address.revision)
    except (OSError, ValueError, DatasetError, datasets.exceptions.DatasetsError):
        return False


def file_rows(parquet: pq.ParquetFile, place: str, groups: Sequence[int] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one Parquet file, or of some of its row groups. `place` names it in messages.

    Raises: DatasetError if a row lacks something.
    """
    for batch in parquet.iter_batches(batch_size=_ROWS, row_groups=groups):
        require_values(batch, place)
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
    try:
        with read_from(address.place, _EXPECTED):
            import datasets

            if address.is_folder:
                folder = Path(here(f"{address.place.rstrip('/')}/{address.variant}"))
                found = BuiltVariant(folder.name, Address(str(folder.parent))).files()
                files = {split: [str(file) for of, file in found if of == split] for split, _ in found}
                return datasets.load_dataset("parquet", data_files=files, **options)
            return datasets.load_dataset(address.place, address.variant, revision=address.revision, **options)
    except UsageError as error:
        raise DatasetError(f"{address} cannot be loaded: {error}") from error


def _footer(file: Place) -> pq.FileMetaData:
    try:
        with opened(file) as parquet:
            schema, metadata = parquet.schema_arrow, parquet.metadata
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"expected a Parquet file, but {file} does not open: {error}") from error
    require_schema(schema, str(file))
    return metadata


def _remote_manifest(variant: BuiltVariant) -> bytes | None:
    from huggingface_hub import hf_hub_download

    address = variant.address
    with suppress(UsageError), read_from(address.place, _EXPECTED):
        file = hf_hub_download(
            address.place, f"{variant.name}/{MANIFEST}", repo_type="dataset", revision=address.revision
        )
        return Path(file).read_bytes()
    return None


def _hub_variants(address: Address) -> list[str]:
    with read_from(address.place, _EXPECTED):
        import datasets

        return list(datasets.get_dataset_config_names(address.place, revision=address.revision))
    raise AssertionError  # read_from lets no error through without raising another
