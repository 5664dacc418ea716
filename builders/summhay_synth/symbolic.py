"""Symbolic needles: an entry `key: value` that stands in several documents."""

from collections.abc import Iterator
from itertools import islice

from builders.summhay_synth.citing import citing_concept, draw_citations
from synthctx_data.example import Concept, Page
from synthctx_data.prompts import wordings
from synthctx_data.task import ConceptExpression, Setting
from synthctx_data.world import keys

_BATCH = 8  # documents drawn at once
_SAME_KEY = 2  # documents that give another value to the same key


class Symbolic(ConceptExpression):
    """The concept expression `symbolic` of SummHay. Documents hold a few entries, and the needles are copies of one entry.

    In two other documents, its key has another value.
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
        pairs = keys.pairs(keys.names(self.setting.options.key_style, self.rng(split, index, "haystack"), taken))
        groups = iter(lambda: list(islice(pairs, self._entries)), [])
        for group in islice(groups, _SAME_KEY):
            yield self.setting.layout.page(keys.entries_document(self._entry, [(pair[0], group[0][1]), *group[1:]]))
        while True:
            documents = [keys.entries_document(self._entry, group) for group in islice(groups, _BATCH)]
            yield from self.setting.layout.pages(documents)

    def _gold(self, split: str, index: int, wanted: int) -> tuple[keys.Pair, list[keys.Pair]]:
        """The entry that is asked for, and those that share its documents."""
        drawn = keys.pairs(keys.names(self.setting.options.key_style, self.rng(split, index, "needle"), set()))
        return next(drawn), list(islice(drawn, wanted * (self._entries - 1)))
