"""Symbolic needles: a chain of entries `key: value`. The key of an entry is the value of the entry before it."""

from collections.abc import Iterator
from itertools import chain, islice

from builders.musique_synth.hops import any_hops, draw_hops
from synthctx_data.example import Concept, Page, Step
from synthctx_data.prompts import wordings
from synthctx_data.seeding import Stream
from synthctx_data.task import ConceptExpression, Setting
from synthctx_data.world import keys

_BATCH = 8  # documents drawn at once


class Symbolic(ConceptExpression):
    """The concept expression `symbolic` of MuSiQue. The needles are the first entries of one chain, each in its own document.

    The chain goes on behind the answer, in further documents that stand in every context, so that only the number of look-ups
    in the question tells where to stop. All other entries belong to other chains like this one, mixed with each other.
    """

    name = "symbolic"
    reads = frozenset({"key_style", "hops", "completion"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._entries = keys.entries(setting.options.max_tokens)
        address = f"{setting.task}/{self.name}"
        (self._entry,) = wordings(address, "entry", "key", "value")
        (self._question,) = wordings(address, "ask", "key", "hops")
        (self._step,) = wordings(address, "step", "key")

    def concept(self, split: str, index: int) -> Concept:
        hops = draw_hops(self.setting, split, index)
        pairs, documents = self._documents(split, index, hops)
        stream = self.rng(split, index, "entry")
        linked = []
        for entries in islice(documents, len(pairs)):
            at = stream.below(self._entries)
            entries.insert(at, entries.pop(0))
            linked.append(keys.entry_needle(self.setting.layout, self._entry, entries, at))
        answer = pairs[hops - 1][1]
        return Concept(
            self._question.fill(key=pairs[0][0], hops=str(hops)),
            answer,
            (answer,),
            tuple(linked[:hops]),
            tuple(Step(self._step.fill(key=key), value) for key, value in pairs[:hops]),
            companions=tuple(further.page for further in linked[hops:]),
        )

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        pairs, documents = self._documents(split, index, draw_hops(self.setting, split, index))
        order = self.rng(split, index, "haystack")
        documents = islice(documents, len(pairs), None)
        while True:
            mixed = [order.shuffled(entries) for entries in islice(documents, _BATCH)]
            yield from self.setting.layout.pages([keys.entries_document(self._entry, entries) for entries in mixed])

    def _documents(self, split: str, index: int, hops: int) -> tuple[list[keys.Pair], Iterator[list[keys.Pair]]]:
        """The chain that is asked for, and the entries of endless documents, each of another chain.

        The first entry of the first documents is that of the chain: one in each document.
        """
        stream = self.rng(split, index, "needle")
        names = keys.names(self.setting.options.key_style, stream, set())
        asked = keys.chain_of(names, hops, stream)
        # Chain after chain in each lane, so that a chain is whole within as many documents as it has entries.
        first, *lanes = (self._lane(names, stream) for _ in range(self._entries))
        return asked, map(list, zip(chain(asked, first), *lanes, strict=True))

    def _lane(self, names: Iterator[str], stream: Stream) -> Iterator[keys.Pair]:
        """The entries of one chain after the other, those of each in random order. Each chain is for a number of hops of its own."""
        while True:
            yield from stream.shuffled(keys.chain_of(names, any_hops(self.setting, stream), stream))
