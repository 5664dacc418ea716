"""Atomic writing: a file is written beside its place and then renamed, so that it is whole or absent."""

import os
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


def write_text(file: Path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all."""
    with whole(file) as aside:
        aside.write_text(text, encoding="utf-8")
