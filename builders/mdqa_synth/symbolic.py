"""Symbolic needles: random keys and values; the answer is the value of the key that the question names."""

from collections.abc import Callable, Iterator
from itertools import islice

from synthctx_data.entities import words
from synthctx_data.example import Concept, Document, Needle, Page, Span
from synthctx_data.prompts import wordings
from synthctx_data.seeding import Stream
from synthctx_data.task import ConceptExpression, Setting

_ENTRIES = 4  # in a document, whatever their style: of UUIDs these are about as long as a passage of Wikipedia
_BATCH = 8  # documents drawn at once: what is drawn and not needed has been counted in vain
_BLOCK = 256  # names drawn at once

Pair = tuple[str, str]


class Symbolic(ConceptExpression):
    """Documents of four entries `key: value`; all keys and values of an example differ."""

    name = "symbolic"
    reads = frozenset({"key_style"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        address = f"{setting.task}/{self.name}"
        (self._entry,) = wordings(address, "entry", "key", "value")
        (self._question,) = wordings(address, "ask", "key")
        self._draw = _STYLES[setting.options.key_style]

    def concept(self, split: str, index: int) -> Concept:
        pairs = self._gold(split, index)
        at = self.rng(split, index, "entry").below(_ENTRIES)
        key, value = pairs[at]
        page = self.setting.layout.page(self._document(pairs))
        line = page.text.start + sum(len(self._entry.fill(key=k, value=v)) + 1 for k, v in pairs[:at])
        length = len(self._entry.fill(key=key, value=value))
        needle = Needle(
            page,
            span=Span(line, line + length),
            answer=self._entry.span("value", key=key, value=value).shift(line),
        )
        return Concept(self._question.fill(key=key), value, (value,), (needle,))

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        taken = {name for pair in self._gold(split, index) for name in pair}
        pairs = _pairs(self._names(self.rng(split, index, "haystack"), taken))
        while True:
            documents = [self._document(list(islice(pairs, _ENTRIES))) for _ in range(_BATCH)]
            yield from self.setting.layout.pages(documents)

    def _gold(self, split: str, index: int) -> list[Pair]:
        return list(islice(_pairs(self._names(self.rng(split, index, "needle"), set())), _ENTRIES))

    def _document(self, pairs: list[Pair]) -> Document:
        return Document("", "\n".join([self._entry.fill(key=key, value=value) for key, value in pairs]))

    def _names(self, stream: Stream, taken: set[str]) -> Iterator[str]:
        """Names without end, none of them twice and none of them in `taken`."""
        while True:
            for name in self._draw(stream):
                if name not in taken:
                    taken.add(name)
                    yield name


def _pairs(names: Iterator[str]) -> Iterator[Pair]:
    return zip(names, names, strict=False)


def _uuids(stream: Stream) -> list[str]:
    text = stream.bytes(16 * _BLOCK).hex()
    parts = [text[i : i + 32] for i in range(0, len(text), 32)]
    return [f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) % 4]}{h[17:20]}-{h[20:]}" for h in parts]


def _integers(stream: Stream) -> list[str]:
    return [str(10_000_000 + n) for n in stream.integers(90_000_000, _BLOCK)]


def _words(stream: Stream) -> list[str]:
    adjectives, nouns = words()
    a, n = len(adjectives), len(nouns)
    return [
        f"{adjectives[d % a]}-{nouns[d // a % n]}-{adjectives[d // (a * n) % a]}-{nouns[d // (a * a * n) % n]}"
        for d in stream.integers((a * n) ** 2, _BLOCK)
    ]


_STYLES: dict[str, Callable[[Stream], list[str]]] = {"uuid": _uuids, "integer": _integers, "word": _words}
