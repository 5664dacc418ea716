"""Symbolic text: random keys and values, and documents of entries `key: value`."""

from collections.abc import Callable, Iterator
from itertools import islice, pairwise

from synthctx_data.example import Document, Needle, Span
from synthctx_data.layout import Layout
from synthctx_data.prompts import Wording
from synthctx_data.seeding import Stream
from synthctx_data.world.names import words

_BLOCK = 256  # names drawn at once
_MOST_FURTHER = 3  # pairs of a chain behind the answer

Pair = tuple[str, str]


def entries(max_tokens: int) -> int:
    """The number of entries in a document: 4 (with UUIDs about as long as a Wikipedia passage), or fewer in small budgets."""
    return 4 if max_tokens >= 4096 else 2 if max_tokens >= 1024 else 1


def names(style: str, stream: Stream, taken: set[str]) -> Iterator[str]:
    """Endless names of a style (uuid, integer or word): none comes twice, and none is in `taken`, to which they are added."""
    draw = _STYLES[style]
    while True:
        for name in draw(stream):
            if name not in taken:
                taken.add(name)
                yield name


def pairs(of: Iterator[str]) -> Iterator[Pair]:
    """Pairs of a key and a value, made of the names two by two."""
    return zip(of, of, strict=False)


def chain_of(of: Iterator[str], hops: int, stream: Stream) -> list[Pair]:
    """A chain of pairs, in which the key of a pair is the value of the pair before it.

    It has one to three pairs more than `hops`, so that its end is no sign of the answer.
    """
    return list(pairwise(islice(of, hops + 2 + stream.below(_MOST_FURTHER))))


def entries_document(entry: Wording, of: list[Pair]) -> Document:
    """A document with one line, an entry, for each pair."""
    return Document("", "\n".join([entry.fill(key=key, value=value) for key, value in of]))


def entry_needle(layout: Layout, entry: Wording, of: list[Pair], at: int) -> Needle:
    """The needle made of the entry at index `at` of a document. Its answer is the value of the entry."""
    page = layout.page(entries_document(entry, of))
    line = page.text.start + sum(len(entry.fill(key=k, value=v)) + 1 for k, v in of[:at])
    key, value = of[at]
    length = len(entry.fill(key=key, value=value))
    return Needle(page, Span(line, line + length), entry.span("value", key=key, value=value).shift(line))


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
