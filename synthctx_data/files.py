"""Files that are whole or absent: the one way to write aside and rename."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A path beside the file, to be written. It takes the file's place at the end, and goes away if the end is not reached."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with whole(file) as aside:
        aside.write_text(text, encoding="utf-8")
