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
_CHAINS = 8  # chains that are mixed with each other


class Symbolic(ConceptExpression):
    """The concept expression `symbolic` of MuSiQue. The needles are the first entries of one chain, each in its own document.

    The chain goes on behind the answer, in further documents that stand in every context, so that only the number of look-ups
    in the question tells where to stop. All other entries belong to other chains like this one, mixed with each other.
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
        pairs, others = self._gold(split, index, hops)
        stream = self.rng(split, index, "entry")
        linked = []
        for pair in pairs:
            at = stream.below(self._entries)
            document = [next(others) for _ in range(self._entries - 1)]
            document.insert(at, pair)
            linked.append(keys.entry_needle(self.setting.layout, self._entry, document, at))
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
        pairs, others = self._gold(split, index, draw_hops(self.setting, split, index))
        for _ in range(len(pairs) * (self._entries - 1)):  # these stand beside the chain that is asked for
            next(others)
        while True:
            documents = [keys.entries_document(self._entry, list(islice(others, self._entries))) for _ in range(_BATCH)]
            yield from self.setting.layout.pages(documents)

    def _gold(self, split: str, index: int, hops: int) -> tuple[list[keys.Pair], Iterator[keys.Pair]]:
        """The chain that is asked for, and the entries of other chains."""
        stream = self.rng(split, index, "needle")
        linked = keys.chains(keys.names(self.setting.options.key_style, stream, set()), hops, stream)
        return next(linked), _mixed(linked, self.rng(split, index, "mix"))


def _mixed(linked: Iterator[list[keys.Pair]], order: Stream) -> Iterator[keys.Pair]:
    """The pairs of all chains, mixed with those of the chains nearby."""
    while True:
        pairs = list(chain.from_iterable(islice(linked, _CHAINS)))
        yield from (pairs[i] for i in order.order(len(pairs)))
