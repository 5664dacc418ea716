"""The build of a variant: its missing shards are written, and then the finished folder moves to its place.

While a build runs, its shards lie in a hidden folder beside that place, which moves there once it is complete. So a reader
never sees half a variant, and a build that was interrupted goes on where it stopped. In a store such as s3://bucket/folder, which
cannot rename a folder, the shards lie in their place at once, and the manifest is written last.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders.on_ray import write_by_ray
from builders.parts import Part, held, remove_locks, require_no_part, writing_part
from builders.shards import Build, Progress, Shard, corpus_of, examples_of, missing_shards, write_shard
from builders.workers import write_by_processes
from synthctx_data.errors import ConflictError
from synthctx_data.files import Place
from synthctx_data.log import LOG
from synthctx_data.manifest import MANIFEST, Manifest, differing, make_manifest, read_manifest, write_manifest

_SOURCES = {"corpus", "model"}  # settings that stand in a manifest as what was read
_FINISH_SECONDS = 60  # for another part that ends at the same time
_PARTS = 2  # shards for each worker, in one part of a build
_RAY_PART = 64  # shards in one part of a build on a cluster: about 4 GB


def build_variant(
    build: Build, workers: int = 1, ray: str | None = None, progress: Progress = lambda rows: None
) -> bool:
    """True if the variant was built now, False if it was there already.

    `progress` is called, again and again, with the number of further rows that are done. `ray` is the address of a Ray
    cluster whose machines see the same folder.

    Raises: ConflictError if the folder holds another configuration or damaged files, or if another process builds the
    variant; BuildError if workers die again and again.
    """
    if _is_there(build):
        return False
    manifest = manifest_of(build)
    with alone(build):
        if _is_there(build):  # by now
            return False
        require_no_part(build)
        _open_staging(build, manifest, build.planned)
        _write_missing(build, build.planned, workers, ray, progress)
        _move_to_its_place(build)
    return True


def build_part(
    build: Build, part: Part, workers: int = 1, ray: str | None = None, progress: Progress = lambda rows: None
) -> list[Shard]:
    """The shards that the variant still lacks, after this part of it was written. If it lacks none, it is finished.

    Raises: as `build_variant` does; ConflictError also if another process writes the same part.
    """
    if _is_there(build):
        return []
    manifest, mine = manifest_of(build), part.of(build.planned)
    with writing_part(build, part):
        if _is_there(build):  # by now
            return []
        _open_staging(build, manifest, mine)
        _write_missing(build, mine, workers, ray, progress)
    return finish(build)


def finish(build: Build) -> list[Shard]:
    """The shards that the variant still lacks. If it lacks none, the finished folder moves to its place.

    Raises: ConflictError if the folder holds another configuration or damaged files, or if another process builds the variant.
    """
    with alone(build, _FINISH_SECONDS):
        if _is_there(build):
            return []
        if build.staging.exists():
            _refuse_other(build.staging, manifest_of(build), build.draft)
        missing = missing_shards(build, build.planned)
        if not missing:
            _move_to_its_place(build)
            remove_locks(build)
        return missing


def _is_there(build: Build) -> bool:
    """True if the variant is finished, with this configuration.

    Raises: ConflictError if the folder holds another configuration or damaged files.
    """
    if not is_built(build):
        return False
    there = read_manifest(build.target)
    _refuse_other(build.target, {**there, **_settings(build)})  # before answers are looked for
    _refuse_other(build.target, manifest_of(build))
    _refuse_incomplete(build)
    return True


def _move_to_its_place(build: Build) -> None:
    examples_of(build).expression.keep(build.staging)
    if build.is_remote:
        write_manifest(build.target, read_manifest(build.target, build.draft))
        (build.target / build.draft).unlink()
        return
    if build.target.exists():
        build.target.rmdir()
    build.staging.rename(str(build.target))
    LOG.info("finished %s", build.target)


def build_in_parts(
    build: Build, done: Collection[str], workers: int = 1, ray: str | None = None
) -> Iterator[Sequence[Shard]]:
    """The shards of the variant in order, a few at a time. Each is `done` (a set of file names) or lies in the staging folder.

    The caller may move or delete the files of these shards before it takes the next ones. At the end, the other files of
    the variant lie in the staging folder too.

    Raises: ConflictError if the staging folder holds another configuration, or if another process builds the variant;
    BuildError if workers die again and again.
    """
    with alone(build):
        require_no_part(build)
        _open_staging(build, manifest_of(build), build.planned)
        for is_done, group in groupby(build.planned, key=lambda shard: shard.name in done):
            together, size = list(group), _RAY_PART if ray else _PARTS * workers
            for first in range(0, len(together), size):
                part = together[first : first + size]
                if not is_done:
                    _write_missing(build, part, workers, ray, lambda rows: None)
                yield part
        examples_of(build).expression.keep(build.staging)


def manifest_of(build: Build) -> dict[str, Any]:
    """The manifest of the variant: everything that decides its rows."""
    return make_manifest(examples_of(build).description(), build.shards)


def _settings(build: Build) -> dict[str, Any]:
    """The part of the manifest that is known before a language model writes."""
    examples = examples_of(build)
    settings = {name: value for name, value in examples.settings().items() if name not in _SOURCES}
    return settings | examples.expression.sources_read()


def is_built(build: Build) -> bool:
    """True if the variant's folder holds something already; in a store, if the variant is finished.

    Raises: ConflictError if its name is taken by something that is no folder.
    """
    if build.is_remote:
        return (build.target / MANIFEST).exists()
    if (build.target.is_symlink() or build.target.exists()) and not build.target.is_dir():
        raise ConflictError(
            f"expected {build.target} to be a folder or not there, and it is a file or leads nowhere; remove it"
        )
    return build.target.exists() and any(build.target.iterdir())


@contextmanager
def alone(build: Build, seconds: float = 0) -> Iterator[None]:
    """Keeps other processes from building the same variant.

    Raises: ConflictError if one is at it, and not done after these seconds.
    """
    with held(build, f".{build.variant}.lock", seconds):
        yield


def _write_missing(build: Build, shards: Sequence[Shard], workers: int, ray: str | None, progress: Progress) -> None:
    missing = missing_shards(build, shards)
    progress(sum(shard.rows for shard in shards if shard not in missing))
    build = replace(build, corpus=corpus_of(build))
    if ray is not None:
        write_by_ray(build, missing, ray, progress)
    elif workers == 1 or len(missing) == 1:
        for shard in missing:
            write_shard(build, shard, progress)
    else:
        write_by_processes(build, missing, workers, progress)


def _open_staging(build: Build, manifest: Manifest, mine: Sequence[Shard]) -> None:
    """Makes the staging folder ready for these shards, of which nobody else writes any."""
    if any(build.staging.glob("*.parquet")):
        _refuse_other(build.staging, manifest, build.draft)
    names = {shard.name for shard in mine}
    for stale in build.staging.glob(".*.parquet.*"):
        if stale.stem.removeprefix(".") in names:
            stale.unlink()
    if not build.is_remote:
        build.staging.mkdir(parents=True, exist_ok=True)
    write_manifest(build.staging, manifest, build.draft)


def _refuse_other(folder: Place, manifest: Manifest, name: str = MANIFEST) -> None:
    known = read_manifest(folder, name)
    if not known:
        if any(folder.glob("*.parquet")):
            raise ConflictError(
                f"expected {folder / name} to say what these files were built from, and it is missing or does not parse; "
                "remove that folder, or choose another --output"
            )
        return
    changed = [
        f"{name} {known.get(name)!r} there, {manifest.get(name)!r} asked for"
        for name in differing(known, manifest, ("synthctx", "fingerprint"))
    ]
    if changed:
        raise ConflictError(
            f"{folder} was built with another configuration ({'; '.join(changed)}); "
            "remove that folder, or choose another --output"
        )


def _refuse_incomplete(build: Build) -> None:
    damaged = f"{build.target} is damaged, remove it and build again: "
    if build.is_remote:  # where a file is whole or absent
        for shard in missing_shards(build, build.planned):
            raise ConflictError(f"{damaged}{shard.name} is missing")
        return
    for shard in build.planned:
        try:
            rows = pq.read_metadata(build.target / shard.name).num_rows
        except (OSError, pa.ArrowException) as error:
            raise ConflictError(f"{damaged}{shard.name} does not open: {error}") from error
        if rows != shard.rows:
            raise ConflictError(f"{damaged}expected {shard.rows} examples in {shard.name}, found {rows}")
