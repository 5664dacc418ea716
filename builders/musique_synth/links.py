"""Names that lead from one document to another: those that a few documents have in common."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from builders.writing.grounded_checks import CALENDAR, TITLE
from synthctx_data.example import Document
from synthctx_data.matching import comparables, holds
from synthctx_data.seeding import Stream

_NAME = re.compile(r"[A-Z][\w'’-]+(?:[ -](?:(?:of|the|de|van|von|and) )?[A-Z][\w'’-]+)*")
_SENTENCE = re.compile(r"(?:^|[.!?:][\"')]*\s+|\n+[#|*\s-]*)$")
_PLAIN = re.compile(r"(?<![\w'’-])[a-z][\w'’-]*")
_NO_PROSE = re.compile(r"^[ \t]*[#|].*$", re.MULTILINE)
_MOST_DOCUMENTS = 6  # that have a name in common: a name that more have leads nowhere
_SHORTEST = 5  # letters of a name of one word
_TRIED = 400  # steps of a search


@dataclass(frozen=True)
class Path:
    """Passages, by number, each of which leads to the next by a name."""

    passages: tuple[int, ...]
    names: tuple[str, ...]


class Links:
    """The names that passages of different documents have in common.

    `document_of` has the document of each passage, and `normals` its title and text, normalised as answers are.
    """

    def __init__(self, passages: Sequence[Document], document_of: Sequence[str], normals: Sequence[str]) -> None:
        self._document_of, self._normals = document_of, normals
        plain = {word for passage in passages for word in _PLAIN.findall(passage.text)}  # words that are no names
        self._names = [dict.fromkeys(names(passage.text, plain)) for passage in passages]
        self._holding: dict[str, list[int]] = {}
        for number, mine in enumerate(self._names):
            for name in mine:
                self._holding.setdefault(name, []).append(number)
        self._linking = {
            name
            for name, holding in self._holding.items()
            if 2 <= len({document_of[number] for number in holding}) <= _MOST_DOCUMENTS
        }

    def path(self, start: int, hops: int, allowed: Collection[int], stream: Stream) -> Path | None:
        """A path of so many passages from `start`, through documents that all differ; None if none is found.

        No passage holds the name of another step, so none can be skipped.
        """
        tried = 0

        def go_on(passages: tuple[int, ...], used: tuple[str, ...]) -> Path | None:
            nonlocal tried
            if len(passages) == hops:
                return Path(passages, used)
            for name, number in self._next(passages, used, allowed, stream):
                tried += 1
                found = go_on((*passages, number), (*used, name)) if tried < _TRIED else None
                if found:
                    return found
            return None

        return go_on((start,), ())

    def _next(
        self, passages: tuple[int, ...], used: tuple[str, ...], allowed: Collection[int], stream: Stream
    ) -> Iterator[tuple[str, int]]:
        known = {self._document_of[number] for number in passages}
        for name in stream.shuffled([name for name in self._names[passages[-1]] if name in self._linking]):
            if any(self._names_any(number, [name]) for number in passages[:-1]):
                continue
            for number in stream.shuffled(self._holding[name]):
                if number in allowed and self._document_of[number] not in known and not self._names_any(number, used):
                    yield name, number

    def _names_any(self, number: int, some: Sequence[str]) -> bool:
        return holds(self._normals[number], comparables(some))


def names(text: str, plain: Collection[str]) -> Iterator[str]:
    """The names in a text: runs of capitalised words, with a word that is not plain. Headings and tables do not count.

    `plain` holds words that a corpus has in lower case too: "Committee" is no name where there are committees. A single word counts only
    within a sentence, and if it is no month or day.
    """
    text = _NO_PROSE.sub("", text)
    for found in _NAME.finditer(text):
        words = found.group().removesuffix("'s").removesuffix("’s").split(" ")
        while words and TITLE.fullmatch(words[0]):
            words.pop(0)
        while words and TITLE.fullmatch(words[-1]):
            words.pop()
        if all(word.lower() in plain or CALENDAR.fullmatch(word) for word in words):
            continue
        if len(words) == 1 and (
            len(words[0]) < _SHORTEST or _SENTENCE.search(text[max(found.start() - 12, 0) : found.start()])
        ):
            continue
        yield " ".join(words)
