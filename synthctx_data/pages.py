"""HTML files with scripts of their own: what the page of a data set and the report of an experiment share."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from synthctx_data.errors import UsageError

_MARK = '<meta name="generator" content="synthctx">'
_HEAD = 1000  # characters in which the mark stands
_DOM = Path(__file__).with_name("dom.js")


def require_page(file: Path, default: str) -> None:
    """Raises: UsageError if something else than a page of synthctx has the name of a file that is to be written."""
    if file.is_dir() or not file.name:
        raise UsageError(f"--output: expected a file such as {default}, got the folder {file}")
    if file.exists() and not file.is_file():
        raise UsageError(f"--output: expected a file such as {default}, got {file}, which is something else")
    try:
        with file.open(encoding="utf-8") as there:
            is_page = _MARK in there.read(_HEAD)
    except FileNotFoundError:
        return
    except ValueError:
        is_page = False
    if not is_page:
        raise UsageError(
            f"--output: expected a new file or a page of synthctx, and {file} is something else; name another"
        )


def rendered(template: Path, **values: Any) -> str:
    """The text of a page, from its template, whose values are escaped.

    The template also gets `mark`, by which the file is known as a page, and `dom`, the script that other scripts call.
    """
    environment = Environment(loader=FileSystemLoader(template.parent), autoescape=True, keep_trailing_newline=True)
    return environment.get_template(template.name).render(mark=_MARK, dom=_DOM.read_text(encoding="utf-8"), **values)
