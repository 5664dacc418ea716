"""The shards of a variant: the Parquet files that share its examples, each written whole or not at all."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from builders import find_task
from builders.examples import Examples
from synthctx_data.errors import ConflictError
from synthctx_data.example import Example
from synthctx_data.files import Place, whole
from synthctx_data.log import LOG
from synthctx_data.manifest import DRAFT, MANIFEST
from synthctx_data.options import Options
from synthctx_data.places import is_remote
from synthctx_data.schema import SCHEMA, to_table

SHARD_TOKENS = 2**24  # about 60 MB of text
_GROUP_CHARACTERS = 2**23  # of a row group, which a reader of a stream reads at once
_GROUP_ROWS = 64
_SMALL_COLUMNS = [
    "prompt.list.element.role",
    "completion.list.element.role",
    "concept_expression",
    "context_diversity",
    "writer",
]

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Shard:
    """A shard: the Parquet file with the examples from `start` up to but not including `stop` of a split."""

    split: str
    number: int
    count: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"{self.split}-{self.number:05d}-of-{self.count:05d}.parquet"

    @property
    def rows(self) -> int:
        """The number of its examples."""
        return self.stop - self.start


@dataclass(frozen=True)
class Build:
    """A variant to build, with the folder for all variants of its task, and the number of shards of each split."""

    task: str
    variant: str
    options: Options
    folder: Place
    shards: int | None = None
    corpus: str | None = field(default=None, compare=False)
    """The identity of the corpus that all processes must read; None if nobody has read it yet."""

    @property
    def target(self) -> Place:
        """The folder of the finished variant."""
        return self.folder / self.variant

    @property
    def is_remote(self) -> bool:
        """True if the folder is one of a store such as s3://bucket/folder."""
        return is_remote(self.folder)

    @property
    def staging(self) -> Place:
        """The folder in which its shards lie until all of them are there: a hidden one. In a store it is `target`.

        Stores cannot rename a folder. There a variant is finished when it has its build.json.
        """
        return self.target if self.is_remote else self.folder / f".{self.variant}.partial"

    @property
    def draft(self) -> str:
        """The name of the manifest in the staging folder."""
        return DRAFT if self.is_remote else MANIFEST

    @property
    def planned(self) -> list[Shard]:
        """The shards of every split, in order."""
        return plan(examples_of(self), self.shards)


def ranges(size: int, count: int) -> list[range]:
    """The numbers below `size` in at most `count` consecutive ranges of nearly equal size, none of them empty."""
    count = min(size, count)
    return [range(size * i // count, size * (i + 1) // count) for i in range(count)]


def plan_shards(split: str, rows: int, count: int) -> list[Shard]:
    """At most `count` shards of a split with some rows."""
    parts = ranges(rows, count)
    return [Shard(split, i, len(parts), part.start, part.stop) for i, part in enumerate(parts)]


def plan(examples: Examples, shards: int | None) -> list[Shard]:
    """The shards of every split: `shards` for each split, or (None) as many as are needed for 2**24 tokens in each shard."""
    planned = []
    for split, size in examples.sizes.items():
        parts = plan_shards(split, size, shards or -(-size * examples.options.max_tokens // SHARD_TOKENS))
        planned += parts
    return planned


@lru_cache(maxsize=1)
def examples_of(build: Build) -> Examples:
    """The examples of a variant. A process makes them once, since they hold the corpus and the counted documents."""
    return Examples(find_task(build.task), build.variant, build.options)


@lru_cache(maxsize=1)
def corpus_of(build: Build) -> str | None:
    """The identity of the corpus that this process read; None if the variant reads none."""
    corpus: str | None = examples_of(build).description().get("corpus")
    return corpus


def _require_corpus(build: Build) -> None:
    """Raises: ConflictError if this process read another corpus than the one that the build began with."""
    if build.corpus is not None and corpus_of(build) != build.corpus:
        raise ConflictError(
            "--corpus: a file changed while the variant was built; remove what lies in its folder, and call again when nobody writes it"
        )


def write_shard(build: Build, shard: Shard, progress: Progress) -> None:
    """Writes one shard into the staging folder. `progress` is called with the number of further examples that are made."""
    LOG.debug("writes %s: %d rows", build.staging / shard.name, shard.rows)
    with whole(build.staging / shard.name) as aside, aside.open("wb") as file:
        _write(build, shard, file, progress)


def shard_bytes(build: Build, shard: Shard) -> bytes:
    """The content of one shard's file."""
    file = io.BytesIO()
    _write(build, shard, file, lambda rows: None)
    return file.getvalue()


def keep_shard(build: Build, shard: Shard, content: bytes) -> None:
    """Writes the content of one shard's file into the staging folder."""
    with whole(build.staging / shard.name) as aside:
        aside.write_bytes(content)


def missing_shards(build: Build, shards: Sequence[Shard]) -> list[Shard]:
    """Those of the shards whose rows the staging folder does not hold. A torn file, as a power cut may leave it, holds none.

    In a store, a file is whole or absent.
    """
    there = {file.name for file in build.staging.glob("*.parquet")}
    return [
        shard
        for shard in shards
        if shard.name not in there or not (build.is_remote or is_whole(build.staging / shard.name, shard))
    ]


def is_whole(file: Place, shard: Shard) -> bool:
    """True if a file of this machine holds the rows of a shard."""
    try:
        return bool(pq.read_metadata(file).num_rows == shard.rows)
    except (OSError, pa.ArrowException):
        return False


def _write(build: Build, shard: Shard, file: BinaryIO, progress: Progress) -> None:
    _require_corpus(build)
    write_tables(file, map(to_table, _groups(examples_of(build), shard, progress)))


def write_tables(file: BinaryIO, tables: Iterable[pa.Table]) -> None:
    """Writes tables of SCHEMA into a Parquet file, each as a row group."""
    with pq.ParquetWriter(
        file,
        SCHEMA,
        compression="zstd",
        use_dictionary=_SMALL_COLUMNS,
        write_statistics=["id", "num_tokens"],
        write_page_index=True,
    ) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=len(table))


def row_groups(characters: Iterable[int]) -> Iterator[int]:
    """The rows of each row group, from the characters of each row's prompt: no more than a reader of a stream should read at once."""
    rows = filled = 0
    for size in characters:
        rows, filled = rows + 1, filled + size
        if filled >= _GROUP_CHARACTERS or rows == _GROUP_ROWS:
            yield rows
            rows = filled = 0
    if rows:
        yield rows


def _groups(examples: Examples, shard: Shard, progress: Progress) -> Iterator[list[Example]]:
    group: list[Example] = []
    characters = 0
    for index in range(shard.start, shard.stop):
        example = examples.make(shard.split, index)
        group.append(example)
        characters += len(example.prompt)
        progress(1)
        if characters >= _GROUP_CHARACTERS or len(group) == _GROUP_ROWS:
            yield group
            group, characters = [], 0
    if group:
        yield group
