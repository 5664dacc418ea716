"""Wordings from the Jinja templates in `prompts/`, where each concept expression of a task has a file.

A wording is rendered once, with marks in place of its slots, and is then filled in many times. So filling is as fast as
joining strings, and the span of every slot is known.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from synthctx_data.example import Span

ROOT = Path(__file__).resolve().parent.parent / "prompts"
_FIRST_MARK = 0xF0000  # the start of a private use plane, whose characters no real text has


@dataclass(frozen=True, slots=True)
class Wording:
    """A text with slots: `pieces[0], slots[0], pieces[1], ..., pieces[-1]`."""

    pieces: tuple[str, ...]
    slots: tuple[str, ...]

    def fill(self, **values: str) -> str:
        """The text with every slot filled. `values` holds a text for each slot."""
        parts = [self.pieces[0]]
        for slot, piece in zip(self.slots, self.pieces[1:], strict=True):
            parts += (values[slot], piece)
        return "".join(parts)

    def span(self, slot: str, **values: str) -> Span:
        """The span of the first occurrence of `slot`, in characters of the text that `fill` returns for the same values."""
        at = self.slots.index(slot)
        before = sum(map(len, self.pieces[: at + 1])) + sum(len(values[name]) for name in self.slots[:at])
        return Span(before, before + len(values[slot]))


@cache
def template(address: str) -> Template:
    """The template at `prompts/<address>.jinja`."""
    return environment(ROOT).get_template(f"{address}.jinja")


def environment(folder: Path) -> Environment:
    """The Jinja environment for the templates of a folder. A value that is not given is an error, not an empty string."""
    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def source_hash(*addresses: str) -> str:
    """The SHA-256 of the templates at these addresses, comments included."""
    return hashlib.sha256(b"\0".join((ROOT / f"{address}.jinja").read_bytes() for address in addresses)).hexdigest()


def render(address: str, block: str, **values: Any) -> str:
    """The text of one block of a template."""
    source = template(address)
    return "".join(source.blocks[block](source.new_context(values)))


@cache
def wordings(address: str, block: str, *slots: str, **values: Any) -> tuple[Wording, ...]:
    """The wordings of a block: its non-empty lines, each a way to say the same, with `slots` open and `values` filled in."""
    text = _with_marks(address, block, slots, values)
    return tuple(_split(line.strip(), slots) for line in text.splitlines() if line.strip())


def wording(address: str, block: str, *slots: str, **values: Any) -> Wording:
    """A whole block as one wording, newlines included, with `slots` open and `values` filled in."""
    return _split(_with_marks(address, block, slots, values), slots)


def _with_marks(address: str, block: str, slots: tuple[str, ...], values: dict[str, Any]) -> str:
    marks = {slot: chr(_FIRST_MARK + i) for i, slot in enumerate(slots)}
    return render(address, block, **values, **marks)


def _split(text: str, slots: tuple[str, ...]) -> Wording:
    pieces, found = [""], []
    for character in text:
        number = ord(character) - _FIRST_MARK
        if 0 <= number < len(slots):
            found.append(slots[number])
            pieces.append("")
        else:
            pieces[-1] += character
    return Wording(tuple(pieces), tuple(found))
