"""Sections of a text with headings, tables and code: the passages that questions are asked about, each as it stands in the text."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from synthctx_data.example import Span
from synthctx_data.passages import count_words, fenced_blocks, sentences_end

_LEAST_WORDS = 40  # of a section that a heading ends
_ENOUGH_WORDS = 100  # after which a section ends with its block
_LONG_WORDS = 300  # a longer paragraph is cut at the ends of sentences
_HEADING = re.compile(r"#{1,6}[ \t]+(?=\S)")
_BLANK_LINE = re.compile(r"\n[ \t]*(?=\n)")
_TABLE_ROW = re.compile(r"[ \t]*\|")


class Section(NamedTuple):
    """A section: its span, in characters of the text, and the heading that it stands under, if any."""

    span: Span
    heading: str


class _Block(NamedTuple):
    span: Span
    heading: str  # empty but for a heading
    words: int


def sections(text: str) -> Iterator[Section]:
    """The sections of a text, in order: 100 words or more each, up to the end of a paragraph, or fewer up to the next heading.

    A table and a fenced block of code stay whole. A paragraph of more than 300 words is cut at the ends of sentences. A heading stands
    at the start of a section, or within it if the part before it has fewer than 40 words.
    """
    here: list[_Block] = []
    above = heading = ""
    for block in _blocks(text):
        words = sum(one.words for one in here)
        if here and not here[-1].heading and (words >= _ENOUGH_WORDS or (block.heading and words >= _LEAST_WORDS)):
            yield _joined(here, above)
            here, above = [], heading
        heading = block.heading or heading
        if not any(one.words for one in here):
            above = heading
        here.append(block)
    if any(one.words for one in here):
        yield _joined(here, above)


def first_heading(text: str) -> tuple[str, int]:
    """The heading at the top of a text, and where its line ends, in characters; an empty one, and 0, if the text begins otherwise."""
    start = len(text) - len(text.lstrip())
    end = _line_end(text, start)
    heading = _heading(text[start:end])
    return heading, end if heading else 0


def _line_end(text: str, start: int) -> int:
    """Where the line that holds this place ends, in characters."""
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _heading(line: str) -> str:
    """The heading that a line of Markdown is, without its marks; empty if it is none."""
    found = _HEADING.match(line)
    if not found:
        return ""
    words = line[found.end() :].rstrip()
    closed = words.rstrip("#")
    return closed.rstrip() if closed.endswith((" ", "\t")) else words


def _joined(blocks: list[_Block], heading: str) -> Section:
    return Section(Span(blocks[0].span.start, blocks[-1].span.end), heading)


def _blocks(text: str) -> Iterator[_Block]:
    """The headings, paragraphs, tables and blocks of code of a text. A heading counts no words."""
    at = 0
    for fence in fenced_blocks(text):
        yield from _plain_blocks(text, at, fence.start)
        yield _Block(fence, "", count_words(text[fence.start : fence.end]))
        at = fence.end
    yield from _plain_blocks(text, at, len(text))


def _plain_blocks(text: str, start: int, end: int) -> Iterator[_Block]:
    for edges in _apart(text, start, end):
        span = _stripped(text, *edges)
        while span.start < span.end:
            line_end = min(_line_end(text, span.start), span.end)
            heading = _heading(text[span.start : line_end])
            if not heading:
                break
            yield _Block(Span(span.start, line_end), heading, 0)
            span = _stripped(text, line_end, span.end)
        if span.start < span.end:
            yield from _pieces(text, span)


def _apart(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The edges of what blank lines part."""
    for gap in _BLANK_LINE.finditer(text, start, end):
        yield start, gap.start()
        start = gap.end()
    yield start, end


def _pieces(text: str, span: Span) -> Iterator[_Block]:
    paragraph = text[span.start : span.end]
    words = count_words(paragraph)
    if words <= _LONG_WORDS or _TABLE_ROW.match(paragraph):
        yield _Block(span, "", words)
        return
    at = 0
    for end in (*sentences_end(paragraph), len(paragraph)):
        piece = _stripped(text, span.start + at, span.start + end)
        if piece.start < piece.end:
            yield _Block(piece, "", count_words(text[piece.start : piece.end]))
        at = end


def _stripped(text: str, start: int, end: int) -> Span:
    """The span without whitespace at its ends."""
    inside = text[start:end]
    return Span(start + len(inside) - len(inside.lstrip()), end - len(inside) + len(inside.rstrip()))
