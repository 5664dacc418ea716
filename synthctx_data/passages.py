"""Passages of a text, and the texts of Markdown and HTML files."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import chain
from typing import Any

import yaml

from synthctx_data.example import Span
from synthctx_data.files import parse_yaml
from synthctx_data.matching import SPACELESS

_PASSAGE_WORDS = 100  # as in Natural Questions-Open (Karpukhin et al. 2020): a passage ends at the next paragraph end
_LONG_WORDS = 300  # a longer paragraph is cut
_WORD = re.compile(
    rf"[^\s{SPACELESS}]+[.!?]?|[{SPACELESS}]{{1,2}}[。！？]*|\S"
)  # two characters without spaces make about a word
_ENDS = (".", "!", "?", "。", "！", "？")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\s*---[ \t]*\n(?=\S)(?P<yaml>.*?)\n(---|\.\.\.)[ \t]*(\n|$)", re.DOTALL)
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_HIDDEN = ("script", "style", "template", "head", "svg")  # elements of HTML whose text nobody reads
_IN_HEAD = frozenset({"title", "meta", "link", "base", "script", "style", "noscript", "template", "head", "html"})
_INLINE = frozenset(
    "a abbr b bdi cite code em i kbd mark q s small span strong sub sup u wbr".split()  # noqa: SIM905  # one line
)


def split_passages(text: str) -> Iterator[str]:
    """The passages of a text: 100 words or more each, up to the end of a paragraph. The last may be shorter.

    A paragraph of more than 300 words is cut where sentences end, or else between words; a fenced block of code stays whole. In
    scripts without spaces, two characters count as a word.
    """
    paragraphs: list[str] = []
    words = 0
    for paragraph in chain.from_iterable(map(_pieces, _paragraphs(text.replace("\r\n", "\n")))):
        paragraphs.append(paragraph)
        words += count_words(paragraph)
        if words >= _PASSAGE_WORDS:
            yield "\n".join(paragraphs)
            paragraphs, words = [], 0
    if paragraphs:
        yield "\n".join(paragraphs)


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The front matter of a Markdown text, and the text without it. It is empty if there is none that is a mapping in YAML."""
    found = _FRONT_MATTER.match(text)
    if not found:
        return {}, text
    try:
        values = parse_yaml(found["yaml"])
    except (yaml.YAMLError, ValueError):  # also a date that is none
        return {}, text
    return (values, text[found.end() :]) if isinstance(values, dict) else ({}, text)


def html_text(source: str) -> tuple[str, str]:
    """The title of an HTML page, and the text that a reader sees, with a blank line between its blocks."""
    page = _Html()
    page.feed(source)
    page.close()
    lines = (" ".join(line.split()) for line in "".join(page.parts).split("\0"))
    return " ".join("".join(page.title).split()), "\n\n".join(filter(None, lines))


class _Html(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.title: list[str] = []
        self.parts: list[str] = []
        self._in_title = False
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in _IN_HEAD and "head" in self._hidden:  # a head may lack its end
            self._hidden.clear()
        if tag == "title":
            self._in_title = not self.title and "svg" not in self._hidden
        elif tag in _HIDDEN:
            self._hidden.append(tag)
        if tag not in _INLINE:
            self.parts.append("\0")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        if tag not in _INLINE:
            self.parts.append("\0")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title.append(data)
        elif not self._hidden:
            self.parts.append(data.replace("\0", " "))


def _paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a text. A fenced block of code is one, whatever blank lines it holds."""
    at = 0
    for start, end in fenced_blocks(text):
        yield from _BLANK_LINE.split(text[at:start])
        yield text[start:end]
        at = end
    yield from _BLANK_LINE.split(text[at:])


def fenced_blocks(text: str) -> Iterator[Span]:
    """The fenced blocks of code of a text, from the mark that opens one to the next line that is a mark as long or longer.

    It takes time linear in the text: a mark after which no line is long enough opens nothing, and the rest is not searched for it.
    """
    lines = list(_FENCE.finditer(text))
    closes = [len(line[1]) if not line[2].strip(" \t`~") else 0 for line in lines]
    longest = {"`": [0] * (len(lines) + 1), "~": [0] * (len(lines) + 1)}  # of the marks from each line on
    for at in reversed(range(len(lines))):
        for mark, most in longest.items():
            most[at] = max(most[at + 1], closes[at] if lines[at][1][0] == mark else 0)
    at = 0
    while at < len(lines):
        opened, mark = at, lines[at][1]
        at += 1
        if longest[mark[0]][at] < len(mark):
            continue
        while closes[at] < len(mark) or lines[at][1][0] != mark[0]:
            at += 1
        yield Span(lines[opened].start(), lines[at].end())
        at += 1


def _pieces(paragraph: str) -> Iterator[str]:
    """The pieces of a paragraph: one if it is short, several if it is long, none if it is only whitespace."""
    paragraph = paragraph.strip()
    start = 0
    if count_words(paragraph) > _LONG_WORDS and next(fenced_blocks(paragraph), Span(-1, -1)).start != 0:
        for end in sentences_end(paragraph):
            yield paragraph[start:end].strip()
            start = end
    if rest := paragraph[start:].strip():
        yield rest


def sentences_end(paragraph: str) -> Iterator[int]:
    """The characters at which a long paragraph is cut: where a sentence ends after 100 words, or else after 300 words."""
    words = 0
    for word in _WORD.finditer(paragraph):
        words += 1
        spaced = word.end() == len(paragraph) or paragraph[word.end()].isspace() or word.group().endswith(_ENDS[3:])
        if words >= _LONG_WORDS or (words >= _PASSAGE_WORDS and spaced and word.group().endswith(_ENDS)):
            yield word.end()
            words = 0


def count_words(paragraph: str) -> int:
    """The number of words. In scripts without spaces, two characters count as one."""
    return len(paragraph.split()) if paragraph.isascii() else sum(1 for _ in _WORD.finditer(paragraph))
