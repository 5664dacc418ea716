"""Symbolic needles: an entry `key: value` that stands in several documents."""

from collections.abc import Iterator
from itertools import islice

from builders.summhay_synth.citing import citing_concept, draw_citations, draw_rival_citations, most_citations
from synthctx_data.example import Concept, Page
from synthctx_data.prompts import wordings
from synthctx_data.seeding import Stream
from synthctx_data.task import ConceptExpression, Setting
from synthctx_data.world import keys


class Symbolic(ConceptExpression):
    """The concept expression `symbolic` of SummHay. Documents hold a few entries, and the needles are copies of one entry.

    In another document, its key has another value. The haystack is made of documents that hold copies of other entries in the
    same way, so that an entry which stands in several documents says nothing.
    """

    name = "symbolic"
    reads = frozenset({"key_style"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        # With one entry alone, all documents that are cited would be the same.
        self._entries = max(keys.entries(setting.options.max_tokens), 2)
        (self._entry,) = wordings(f"{setting.task}/{self.name}", "entry", "key", "value")

    def concept(self, split: str, index: int) -> Concept:
        wanted = draw_citations(self.setting, split, index)
        pair, others = self._gold(split, index, wanted)
        stream = self.rng(split, index, "entry")
        found = []
        for number in range(wanted):
            at = stream.below(self._entries)
            document = others[number * (self._entries - 1) : (number + 1) * (self._entries - 1)]
            document.insert(at, pair)
            needle = keys.entry_needle(self.setting.layout, self._entry, document, at)
            found.append((needle.page, needle.span))
        return citing_concept(self.setting, self._entry.fill(key=pair[0], value=pair[1]), found)

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        wanted = draw_citations(self.setting, split, index)
        pair, others = self._gold(split, index, wanted)
        taken = {name for entry in [pair, *others] for name in entry}
        stream = self.rng(split, index, "haystack")
        pairs = keys.pairs(keys.names(self.setting.options.key_style, stream, taken))
        most = most_citations(self.setting, concept)
        before = pair[0]
        while True:
            rival = next(pairs)
            copies = [self._with(rival, pairs, stream) for _ in range(draw_rival_citations(stream, most))]
            self._give_other_value(before, copies[0], rival)
            before = rival[0]
            yield from self._pages(copies)

    def _with(self, pair: keys.Pair, pairs: Iterator[keys.Pair], stream: Stream) -> list[keys.Pair]:
        """The entries of a document with this one among others."""
        entries = list(islice(pairs, self._entries - 1))
        entries.insert(stream.below(self._entries), pair)
        return entries

    def _give_other_value(self, key: str, entries: list[keys.Pair], kept: keys.Pair) -> None:
        """Puts the key in place of another one in these entries, so that it has another value there too."""
        at = next(i for i, entry in enumerate(entries) if entry != kept)
        entries[at] = (key, entries[at][1])

    def _pages(self, documents: list[list[keys.Pair]]) -> list[Page]:
        return self.setting.layout.pages([keys.entries_document(self._entry, entries) for entries in documents])

    def _gold(self, split: str, index: int, wanted: int) -> tuple[keys.Pair, list[keys.Pair]]:
        """The entry that is asked for, and those that share its documents."""
        drawn = keys.pairs(keys.names(self.setting.options.key_style, self.rng(split, index, "needle"), set()))
        return next(drawn), list(islice(drawn, wanted * (self._entries - 1)))
