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

    The haystack is made of documents that hold copies of other entries in the same way, so that an entry which stands in several
    documents says nothing. The entries come two by two: the key of each has another value in a document of the other.
    """

    name = "symbolic"
    reads = frozenset({"key_style"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        # With one entry alone, all documents that are cited would be the same.
        self._entries = max(keys.entries(setting.options.max_tokens), 2)
        (self._entry,) = wordings(f"{setting.task}/{self.name}", "entry", "key", "value")

    def concept(self, split: str, index: int) -> Concept:
        pair, documents, _ = self._gold(split, index)
        found = []
        for entries in documents:
            needle = keys.entry_needle(self.setting.layout, self._entry, entries, entries.index(pair))
            found.append((needle.page, needle.span))
        return citing_concept(self.setting, self._entry.fill(key=pair[0], value=pair[1]), found)

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        pair, documents, rival = self._gold(split, index)
        taken = {name for entries in documents for entry in entries for name in entry} | {*rival}
        stream = self.rng(split, index, "haystack")
        pairs = keys.pairs(keys.names(self.setting.options.key_style, stream, taken))
        most = most_citations(self.setting, concept)
        copies = self._copies(rival, pairs, stream, draw_rival_citations(stream, most))
        self._give_other_value(pair[0], copies[0], rival)
        yield from self._pages(copies)
        while True:
            two = next(pairs), next(pairs)
            clusters = [self._copies(one, pairs, stream, draw_rival_citations(stream, most)) for one in two]
            self._give_other_value(two[1][0], clusters[0][0], two[0])
            self._give_other_value(two[0][0], clusters[1][0], two[1])
            yield from self._pages([entries for cluster in clusters for entries in cluster])

    def _gold(self, split: str, index: int) -> tuple[keys.Pair, list[list[keys.Pair]], keys.Pair]:
        """The entry that is asked for, the documents with it, and the entry whose key has another value in the first of them."""
        stream = self.rng(split, index, "needle")
        pairs = keys.pairs(keys.names(self.setting.options.key_style, stream, set()))
        pair, rival = next(pairs), next(pairs)
        documents = self._copies(pair, pairs, stream, draw_citations(self.setting, split, index))
        self._give_other_value(rival[0], documents[0], pair)
        return pair, documents, rival

    def _copies(self, pair: keys.Pair, pairs: Iterator[keys.Pair], stream: Stream, count: int) -> list[list[keys.Pair]]:
        """The entries of `count` documents, each with this one among others."""
        return [self._with(pair, pairs, stream) for _ in range(count)]

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
