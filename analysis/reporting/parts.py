"""What a report is made of: sections, their parts, and tables, with the addresses under which a browser saves them."""

import base64
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """A table: the names of its columns, and its rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    def csv(self) -> str:
        """The table as CSV, in an address that holds it."""
        text = io.StringIO()
        csv.writer(text).writerows([self.columns, *self.rows])
        return address("text/csv", text.getvalue())


@dataclass(frozen=True)
class Part:
    """A part of a section: a title, a figure (SVG; "" if there is none) and its address, what the figure shows, and tables.

    inline: True if the figure stands in the page itself, so that its cells can be pointed at. drawn: what looks.js draws, as JSON.
    """

    title: str
    figure: str = ""
    alt: str = ""
    inline: bool = False
    tables: Sequence[Table] = ()
    note: str = ""
    drawn: str = ""

    @property
    def svg(self) -> str:
        """The figure, in an address that holds it."""
        return address("image/svg+xml", self.figure)

    @property
    def json(self) -> str:
        """What is drawn, in an address that holds it."""
        return address("application/json", self.drawn)

    @property
    def script(self) -> str:
        """What is drawn, as the content of a script: no character in it can end that."""
        return self.drawn.replace("<", "\\u003c")


@dataclass(frozen=True)
class Section:
    """A section of the report. points: sentences that stand before its parts."""

    name: str
    title: str
    says: str
    parts: list[Part] = field(default_factory=list)
    points: Sequence[str] = ()


def address(kind: str, text: str) -> str:
    """An address that holds a text of this MIME type itself."""
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode('ascii')}"
