"""Files and folders that are whole or absent: each is written beside its place and then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A path beside the file, to be written. At the end it replaces the file; after an error it is deleted instead."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(file)
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


def write_text(file: Path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all."""
    with whole(file) as aside:
        aside.write_text(text, encoding="utf-8")
