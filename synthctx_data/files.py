"""Files and folders that are whole or absent: each is written beside its place and then renamed. And the reader of YAML files.

A file may be one of a store such as s3://bucket/folder (`places.py`). There it appears whole, when all of it was sent.
"""

import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from itertools import chain
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import yaml
from upath import UPath

from synthctx_data.errors import UsageError, first_line
from synthctx_data.log import LOG

Place: TypeAlias = Path | UPath


def expanded(path: str | Path) -> Path:
    """The path, with a home folder in place of ~ or ~NAME.

    Raises: UsageError if there is no such home folder, or if the text cannot be a path.
    """
    try:
        found = Path(path).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            os.lstat(found)
    except (RuntimeError, ValueError, OSError) as error:
        raise UsageError(f"expected a path, got {str(path)!r}: {first_line(error)}") from None
    return found


@contextmanager
def whole(file: Place) -> Iterator[Path]:
    """A path beside the file, to be written. At the end it replaces the file; after an error it is deleted instead.

    Raises: UsageError if something else than a file has its name: a link, a device or a folder must not be replaced.
    """
    if not isinstance(file, Path):
        with TemporaryDirectory(prefix="synthctx-") as folder:
            yield Path(folder, file.name)
            file.fs.put_file(str(Path(folder, file.name)), file.path)
        LOG.info("wrote %s", file)
        return
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise UsageError(
            f"expected {file} to be a file or not there, and it is a link, a folder or a device; name another"
        )
    if not file.parent.is_dir():
        raise UsageError(f"expected a folder {file.parent} for {file.name}, and there is none")
    aside = file.with_name(
        f".{file.name}.{token_hex(6)}"
    )  # machines that share a folder may have processes of one number
    try:
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(file)
        LOG.info("wrote %s", file)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A path for a folder beside this one, to be filled. At the end it is renamed to this one; after an error it is deleted."""
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        yield aside
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_text(file: Place, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all."""
    with whole(file) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(file: Place, value: object) -> None:
    """Writes a value as JSON, whole or not at all. Numbers that JSON does not have, such as NaN, become null."""
    write_text(file, json.dumps(_plain(value), indent=1, allow_nan=False) + "\n")


def parse_json(content: str | bytes) -> Any:
    """The value in a text of JSON.

    Raises: ValueError if it does not parse. (Python has another error for one that is nested too deep.)
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses as objects, and null for a number that is not finite."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_MOST_ENTRIES = 1_000_000  # of a YAML file


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Reads YAML as people write it: "2048:4" is a text and no number to the base 60, and no name comes twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{twice!r} comes twice")
        return dict(super().construct_mapping(node, deep))


_Loader.yaml_implicit_resolvers = {
    first: [(tag, re.compile(f"(?!.*[0-9]:[0-9])(?:{pattern.pattern})", pattern.flags)) for tag, pattern in resolvers]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """The value in a text of YAML.

    Raises: YAMLError or ValueError if it does not parse, is nested too deep, or repeats itself without measure.
    """
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        if node is not None and _entries(node, {}) > _MOST_ENTRIES:
            raise ValueError(f"expected at most {_MOST_ENTRIES:,} entries, aliases counted as often as they stand")
        return yaml.load(text, loader)  # a SafeLoader
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _entries(node: yaml.Node, known: dict[int, float]) -> float:
    """The number of entries below a node, those of aliases counted each time; infinite if one stands within itself."""
    if id(node) in known or not isinstance(node, yaml.CollectionNode):
        return known.get(id(node), 1.0)
    known[id(node)] = math.inf
    inner = chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value
    known[id(node)] = 1 + sum(_entries(one, known) for one in inner)
    return known[id(node)]


def read_yaml(file: Path, expected: str) -> dict[str, Any]:
    """The values of a YAML file, by name. `expected` begins each error, such as "--config: expected options by name".

    Raises: UsageError if the file cannot be read, or if it does not hold names and values.
    """
    try:
        if not expanded(file).is_file():  # a pipe would be waited for
            raise ValueError("it is no file")
        values = parse_yaml(expanded(file).read_text(encoding="utf-8"), _Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{expected}, and {file} cannot be read: {first_line(error)}") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        found = "nothing" if values is None else type(values).__name__
        raise UsageError(f"{expected}, got {found} in {file}")
    return values
