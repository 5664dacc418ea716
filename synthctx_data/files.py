"""Files and folders that are whole or absent: the one way to write aside and rename."""

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
    """A folder beside this one, to be filled. It takes this one's place at the end, and goes away if the end is not reached."""
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
