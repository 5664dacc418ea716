"""Files that a build reads, such as a corpus, on their way to machines that do not have them.

The one who builds puts each of them into a cluster's memory once, in pieces. Each machine fetches them once, into a temporary folder,
where they have the paths that they have here: documents may be named by these.
"""

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from synthctx_data.errors import BuildError
from synthctx_data.files import expanded, whole_folder
from synthctx_data.options import PATHS, Options
from synthctx_data.places import is_remote

_PIECE = 2**26  # bytes
_STORE = "store"  # the option whose file others may write at the same time


@dataclass(frozen=True)
class Carried:
    """Files that options name: the whole paths of these, a hash of the content, and the pieces of each file by its whole path.

    A piece is whatever `put` gave for its bytes.
    """

    named: frozenset[str]
    hash: str
    files: tuple[tuple[str, tuple[Any, ...]], ...]


def carry(options: Options, put: Callable[[bytes], Any]) -> tuple[Options, Carried]:
    """The options with whole paths in place of relative ones, and the files that they name."""
    named: dict[str, str] = {}  # the options, by the path that they name

    def whole_path(option: str, place: str) -> str:
        if is_remote(place) or not expanded(place).exists():
            return place
        path = os.path.abspath(expanded(place))  # noqa: PTH100  # a link keeps its name
        named[path] = option
        return path

    changed = _replaced(options, whole_path)
    digest, files = hashlib.sha256(), []
    with tempfile.TemporaryDirectory(prefix="synthctx-") as folder:
        for place, option in sorted(named.items()):
            for file in _files(Path(place)):
                content = _settled(file, Path(folder)) if option == _STORE else file
                digest.update(f"\0{file}\0{content.stat().st_size}\0".encode(errors="surrogateescape"))
                pieces = []
                for piece in _pieces(content):
                    digest.update(piece)
                    pieces.append(put(piece))
                files.append((str(file), tuple(pieces)))
    return changed, Carried(frozenset(named), digest.hexdigest(), tuple(files))


def unpack(options: Options, carried: Carried, get: Callable[[Any], bytes]) -> Options:
    """The options with paths of this machine. Files that are not here yet are fetched."""
    if not carried.named:
        return options
    folder = _unpacked(carried, get)
    return _replaced(options, lambda _, place: str(_inside(folder, place)) if place in carried.named else place)


def _replaced(options: Options, replace: Callable[[str, str], str]) -> Options:
    """The options, with each value that may name a path replaced."""
    named = {name: getattr(options, name) for name in PATHS if getattr(options, name)}
    return options.model_copy(
        update={
            name: tuple(replace(name, one) for one in given) if isinstance(given, tuple) else replace(name, given)
            for name, given in named.items()
        }
    )


def _files(path: Path) -> list[Path]:
    """The file, or all files of the folder."""
    if path.is_file():
        return [path]
    found = sorted(Path(inner, name) for inner, _, names in os.walk(path) for name in names)
    return [file for file in found if file.is_file()]


def _settled(store: Path, folder: Path) -> Path:
    """A copy of a store as it is at one moment: SQLite keeps what was written last in files beside it."""
    copy = folder / store.name
    with (
        closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as there,
        closing(sqlite3.connect(copy)) as mine,
    ):
        there.backup(mine)
    return copy


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            yield piece


def _unpacked(carried: Carried, get: Callable[[Any], bytes]) -> Path:
    """The folder of this machine in which the files lie."""
    root = Path(tempfile.gettempdir(), f"synthctx-{os.getuid()}")
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise BuildError(f"expected {root} to be a folder of this user, and it is another's; remove it")
    place = root / carried.hash
    with FileLock(root / f"{carried.hash}.lock"):
        if not place.is_dir():
            with whole_folder(place) as folder:
                for name, pieces in carried.files:
                    file = _inside(folder, name)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    with file.open("wb") as content:
                        content.writelines(map(get, pieces))
    return place


def _inside(folder: Path, path: str) -> Path:
    """The place of a whole path inside a folder."""
    return folder.joinpath(*Path(path).parts[1:])
