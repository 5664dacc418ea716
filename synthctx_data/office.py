"""The text of PDF and Word files, as Markdown (extra `office`)."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from synthctx_data.errors import CorpusError, first_line

_BEGINNINGS = {".pdf": b"%PDF", ".docx": b"PK"}
SUFFIXES = tuple(_BEGINNINGS)
INSTALL = 'pip install "synthctx[office]"'


def can_read_office() -> bool:
    """True if PDF and Word files can be read here."""
    return find_spec("markitdown") is not None


def office_text(file: Path) -> str:
    """The text of a PDF or Word file, with its headings and tables in Markdown as far as they can be told.

    Raises: CorpusError if the file cannot be read, or if what reads such files is not installed.
    """
    if not can_read_office():
        raise CorpusError(f"--corpus: expected markitdown, to read {file}; {INSTALL}")
    with file.open("rb") as content:
        begins = content.read(1024)
    if _BEGINNINGS[file.suffix.lower()] not in begins:  # markitdown would take it for plain text
        raise CorpusError(f"--corpus: expected {file} to be a {file.suffix} file, and it begins as none")
    from markitdown import MarkItDownException  # type: ignore[import-not-found,unused-ignore]

    try:
        text: str = _reader().convert_local(str(file)).text_content
    except (MarkItDownException, OSError, ValueError, KeyError) as error:
        raise CorpusError(
            f"--corpus: expected a {file.suffix} file that can be read in {file}: {first_line(error)}"
        ) from error
    return text.replace("\r\n", "\n").replace("\f", "\n\n")


@cache
def _reader() -> Any:
    from markitdown import MarkItDown

    return MarkItDown(enable_plugins=False)
