"""Places: folders and files of this machine, or of a store such as s3://bucket/folder, as paths that are used in one way.

A path of a store is a `UPath` (universal-pathlib), which behaves as those of `pathlib` do. What it needs to reach a store, such as keys,
it takes from where the store's own tools take it, e.g. AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from upath import UPath

from synthctx_data.errors import PlaceError, SynthctxError, UsageError, first_line
from synthctx_data.files import Place, expanded, whole_folder

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}  # those of ours that bring a store's package
_LOCAL = ("file", "local")
_RETRIES = {"max_attempts": 6, "mode": "standard"}  # of botocore: half a minute in all
_CONFIG = {"connect_timeout": 10, "read_timeout": 60, "retries": _RETRIES}
_OPTIONS: dict[str, dict[str, Any]] = {scheme: {"config_kwargs": _CONFIG} for scheme in ("s3", "s3a")}
_SAID = 300  # characters of a store's own message
_OF_STORES = frozenset(  # packages
    [
        "adlfs",
        "aiobotocore",
        "aiohttp",
        "azure",
        "botocore",
        "fsspec",
        "gcsfs",
        "google",
        "httpx",
        "httpx2",
        "huggingface_hub",
        "s3fs",
    ]
)


def is_remote(place: str | Place) -> bool:
    """True if a place is one of a store, such as s3://bucket/folder."""
    return "://" in place if isinstance(place, str) else not isinstance(place, Path)


def at(place: str | Place) -> Place:
    """The path of a place: of this machine, with a home folder in place of ~, or of a store.

    Raises: UsageError if it can be neither, or if the package of the store is not installed.
    """
    if isinstance(place, UPath):
        return place
    if isinstance(place, Path) or not is_remote(place):
        return expanded(place)
    scheme = place.partition("://")[0]
    if scheme in _LOCAL:
        return expanded(place.partition("://")[2])
    try:
        path = UPath(place, use_listings_cache=False, **_OPTIONS.get(scheme, {}))  # others write there, too
        path.fs  # noqa: B018  # it is made when it is first asked for
        if not path.path.strip("/") or (scheme in _EXTRAS and path.path.startswith("/")):
            raise ValueError("there is no bucket in it")
        if ".." in path.path.split("/"):
            raise ValueError("there is .. in it")
    except ImportError as error:
        extra = f'pip install "synthctx[{_EXTRAS[scheme]}]"' if scheme in _EXTRAS else first_line(error)
        raise UsageError(
            f"{place}: expected a package that reads {scheme}://, and it is not installed; {extra}"
        ) from error
    except Exception as error:  # each store has errors of its own for a wrong address
        raise UsageError(
            f"expected a folder, or an address such as s3://bucket/folder, got {place!r}: {first_line(error)}"
        ) from error
    found: Place = path
    return found


def folder_here(option: str, place: str) -> Path:
    """The path of a folder of this machine.

    Raises: UsageError if the place is one of a store.
    """
    path = at(place)
    if not isinstance(path, Path):
        raise UsageError(f"{option}: expected a folder of this machine, got {place}; build there, and copy the folder")
    return path


@contextmanager
def reached(place: str | Place) -> Iterator[None]:
    """A context in which a place of a store is read or written.

    Raises: PlaceError for the errors of the store and of the network.
    """
    try:
        yield
    except SynthctxError:
        raise
    except Exception as error:
        if not is_remote(place) or not _is_of_store(error):
            raise
        kind, said = type(error).__name__, " ".join(str(error).split())[:_SAID]
        raise PlaceError(
            f"expected {place} to be a place that can be reached, and it cannot be: {kind}: {said.rstrip('.')}; see that it is "
            "there, that the network is up, and that your keys are valid, and call again: what is done is kept"
        ) from error


def _is_of_store(error: Exception) -> bool:
    origins = {one.__module__.partition(".")[0] for one in type(error).__mro__}
    trace = error.__traceback__
    while trace is not None:  # some of their errors are plain ValueErrors
        origins.add(str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0])
        trace = trace.tb_next
    return isinstance(error, OSError | TimeoutError) or bool(origins & _OF_STORES)


@contextmanager
def opened(file: Place) -> Iterator["pq.ParquetFile"]:
    """A Parquet file, of which only the parts that are read are fetched."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(file, Path):
        with pq.ParquetFile(file) as parquet:
            yield parquet
    else:
        with file.open("rb") as content, pq.ParquetFile(pa.PythonFile(content), pre_buffer=True) as parquet:
            yield parquet


def listed(folder: Place, pattern: str) -> list[Place]:
    """The files and folders in a folder that match a pattern, by name."""
    found: list[Place] = list(folder.glob(pattern))
    return sorted(found, key=lambda one: str(one.name))


def here(place: str) -> str:
    """The same for a path of this machine. Of a place of a store, the path of a copy on this machine, which is made now or was before.

    Raises: UsageError if there is no such place; PlaceError if it cannot be reached.
    """
    if not is_remote(place):
        return place
    path = at(place)
    if isinstance(path, Path):
        return str(path)
    with reached(place):
        found = path.fs.find(path.path, detail=True)
        if not found:
            raise UsageError(f"expected a file or a folder at {place}, and there is nothing")
        said = json.dumps([place, {name: _version(about) for name, about in found.items()}], sort_keys=True)
    kept = cache_folder() / "copies" / hashlib.sha256(said.encode()).hexdigest()[:16]
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        if not kept.is_dir():
            _fetch(path, found, kept)
    except OSError as error:
        raise PlaceError(
            f"expected to copy {place} into {kept.parent} (SYNTHCTX_CACHE): {first_line(error)}"
        ) from error
    return str(kept / path.name)


def _version(about: dict[str, Any]) -> list[str]:
    """What tells a version of a file from others."""
    return [str(about.get(name)) for name in ("size", "ETag", "etag", "LastModified", "mtime", "sha256", "blob_id")]


def _fetch(path: UPath, found: dict[str, Any], kept: Path) -> None:
    with whole_folder(kept) as folder:
        for name in found:
            inner = PurePosixPath(name).relative_to(path.path.rstrip("/"))
            target = folder.joinpath(path.name, *inner.parts)
            if ".." in inner.parts:
                raise UsageError(f"expected names of files in {path}, got {name!r}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with reached(path):
                path.fs.get_file(name, str(target))


def cache_folder() -> Path:
    """The folder for what can be made again: SYNTHCTX_CACHE, or else ~/.cache/synthctx. It may not be there.

    Raises: UsageError if SYNTHCTX_CACHE is no whole path.
    """
    named = os.environ.get("SYNTHCTX_CACHE") or "~/.cache/synthctx"
    if not expanded(named).is_absolute():
        raise UsageError(f"SYNTHCTX_CACHE: expected the whole path of a folder of this machine, got {named!r}")
    return expanded(named)


def remove_folder(folder: Place) -> None:
    """Removes a folder with all that it holds, if it is there."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        folder.fs.rm(folder.path, recursive=True)
