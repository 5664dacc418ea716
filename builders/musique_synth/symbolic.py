"""Symbolic needles: a chain of entries `key: value`. The key of an entry is the value of the entry before it."""

from collections.abc import Iterator
from itertools import chain, islice

from builders.musique_synth.hops import draw_hops
from synthctx_data.example import Concept, Page, Step
from synthctx_data.prompts import wordings
from synthctx_data.seeding import Stream
from synthctx_data.task import ConceptExpression, Setting
from synthctx_data.world import keys

_BATCH = 8  # documents drawn at once


class Symbolic(ConceptExpression):
    """The concept expression `symbolic` of MuSiQue. The needles are the entries of one chain, each in a document of its own.

    All other entries belong to other chains of as many hops, mixed with each other.
    """

    name = "symbolic"
    reads = frozenset({"key_style", "hops"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._entries = keys.entries(setting.options.max_tokens)
        address = f"{setting.task}/{self.name}"
        (self._entry,) = wordings(address, "entry", "key", "value")
        (self._question,) = wordings(address, "ask", "key", "hops")
        (self._step,) = wordings(address, "step", "key")

    def concept(self, split: str, index: int) -> Concept:
        hops = draw_hops(self.setting, split, index)
        gold, others = self._gold(split, index, hops)
        stream = self.rng(split, index, "entry")
        needles = []
        for hop, pair in enumerate(gold):
            at = stream.below(self._entries)
            document = others[hop * (self._entries - 1) : (hop + 1) * (self._entries - 1)]
            document.insert(at, pair)
            needles.append(keys.entry_needle(self.setting.layout, self._entry, document, at))
        answer = gold[-1][1]
        steps = tuple(Step(self._step.fill(key=key), value) for key, value in gold)
        return Concept(self._question.fill(key=gold[0][0], hops=str(hops)), answer, (answer,), tuple(needles), steps)

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        hops = draw_hops(self.setting, split, index)
        gold, others = self._gold(split, index, hops)
        taken = {name for pair in [*gold, *others] for name in pair}
        stream = self.rng(split, index, "haystack")
        linked = keys.chains(keys.names(self.setting.options.key_style, stream, taken), hops)
        order = self.rng(split, index, "mix")
        while True:
            mixed = _mixed(linked, _BATCH * self._entries // hops, order)
            whole = range(0, len(mixed) - self._entries + 1, self._entries)
            documents = [keys.entries_document(self._entry, mixed[i : i + self._entries]) for i in whole]
            yield from self.setting.layout.pages(documents)

    def _gold(self, split: str, index: int, hops: int) -> tuple[list[keys.Pair], list[keys.Pair]]:
        """The chain that is asked for, and the entries that share its documents."""
        drawn = keys.names(self.setting.options.key_style, self.rng(split, index, "needle"), set())
        linked = keys.chains(drawn, hops)
        return next(linked), _mixed(linked, self._entries - 1, self.rng(split, index, "mix gold"))


def _mixed(linked: Iterator[list[keys.Pair]], count: int, order: Stream) -> list[keys.Pair]:
    """The pairs of the next `count` chains in random order."""
    pairs = list(chain.from_iterable(islice(linked, count)))
    return [pairs[i] for i in order.order(len(pairs))]
