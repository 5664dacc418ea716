"""HTML files with scripts of their own: what the page of a data set and the report of an experiment share."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

_DOM = Path(__file__).with_name("dom.js")


def rendered(template: Path, **values: Any) -> str:
    """The text of a page, from its template, whose values are escaped. `dom` is there for it: the script that other scripts call."""
    environment = Environment(loader=FileSystemLoader(template.parent), autoescape=True, keep_trailing_newline=True)
    return environment.get_template(template.name).render(dom=_DOM.read_text(encoding="utf-8"), **values)
