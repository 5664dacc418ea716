"""What a report is made of: sections, their parts, and tables, with the addresses under which a browser saves them."""

import base64
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from training.answer_scores import Mean


class Share(float):
    """A number in [0, 1] that is shown in percent."""


@dataclass(frozen=True)
class Table:
    """A table: the names of its columns, and its rows. A cell is a text, a number, a share, or a mean with its interval."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    def csv(self) -> str:
        """The table as CSV, in an address that holds it. A mean has columns of its own for the ends of its interval."""
        means = {i for row in self.rows for i, cell in enumerate(row) if isinstance(cell, Mean)}
        head = [part for i, name in enumerate(self.columns) for part in _columns(name, i in means)]
        rows = [[part for i, cell in enumerate(row) for part in _cells(cell, i in means)] for row in self.rows]
        text = io.StringIO()
        csv.writer(text).writerows([head, *rows])
        return address("text/csv", text.getvalue())


def said(cell: object) -> str:
    """A cell as it is shown: "0.367 [0.248, 0.504]", "78 %", "-" for nothing."""
    if isinstance(cell, Mean):
        return f"{cell.mean:.3f} [{cell.low:.3f}, {cell.high:.3f}]"
    if isinstance(cell, Share):
        return f"{100 * cell:.0f}\u00a0%"
    return "-" if cell is None else str(cell)


def _columns(name: str, is_mean: bool) -> list[str]:
    return [name, f"{name}: low", f"{name}: high"] if is_mean else [name]


def _cells(cell: object, is_mean: bool) -> list[object]:
    if isinstance(cell, Mean):
        return [cell.mean, cell.low, cell.high]
    return [cell, "", ""] if is_mean else [float(cell) if isinstance(cell, Share) else cell]


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
