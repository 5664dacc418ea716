"""Symbolic needles: random keys and values; the answer is the value of the key that the question names."""

from collections.abc import Iterator
from itertools import islice

from synthctx_data.example import Concept, Page
from synthctx_data.prompts import wordings
from synthctx_data.task import ConceptExpression, Setting
from synthctx_data.world import keys

_BATCH = 8  # documents drawn at once: those that are not needed were counted in vain


class Symbolic(ConceptExpression):
    """The concept expression `symbolic` of MDQA. Documents hold a few entries `key: value`, and one entry is the needle.

    All keys and values of an example differ.
    """

    name = "symbolic"
    reads = frozenset({"key_style", "questions", "needle_in", "needle_format", "completion"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._entries = keys.entries(setting.options.max_tokens)
        address = f"{setting.task}/{self.name}"
        (self._entry,) = wordings(address, "entry", "key", "value")
        (self._question,) = wordings(address, "ask", "key")

    def concept(self, split: str, index: int) -> Concept:
        pairs = self._gold(split, index)
        at = self.rng(split, index, "entry").below(self._entries)
        key, value = pairs[at]
        needle = keys.entry_needle(self.setting.layout, self._entry, pairs, at)
        return Concept(self._question.fill(key=key), value, (value,), (needle,))

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        taken = {name for pair in self._gold(split, index) for name in pair}
        pairs = keys.pairs(keys.names(self.setting.options.key_style, self.rng(split, index, "haystack"), taken))
        while True:
            groups = [list(islice(pairs, self._entries)) for _ in range(_BATCH)]
            yield from self.setting.layout.pages([keys.entries_document(self._entry, group) for group in groups])

    def other_answers(self, split: str, index: int, count: int) -> list[str]:
        taken = {name for pair in self._gold(split, index) for name in pair}
        return list(islice(keys.names(self.setting.options.key_style, self.rng(split, index, "others"), taken), count))

    def _gold(self, split: str, index: int) -> list[keys.Pair]:
        drawn = keys.names(self.setting.options.key_style, self.rng(split, index, "needle"), set())
        return list(islice(keys.pairs(drawn), self._entries))
