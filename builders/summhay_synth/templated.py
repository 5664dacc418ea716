"""Templated needles: a statement about a made-up entity in several documents, worded anew in each or the same in all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from builders.summhay_synth.citing import citing_concept, draw_citations
from synthctx_data.distractors import Pool
from synthctx_data.example import Concept, Document, Page, Span
from synthctx_data.prompts import Wording, wordings
from synthctx_data.seeding import Stream, rng
from synthctx_data.task import ConceptExpression, Setting
from synthctx_data.world.articles import split_wordings, world_size
from synthctx_data.world.entities import BY_SUBJECT, KINDS, World, make_world

_STATED = "mdqa_synth/templated"  # the template of the sentences
_SENTENCES = 4  # sentences in a digest
_DIGESTS = 2  # digests for every entity of a world, as tasks of articles have two articles for each
_NEAR = 6  # digests with other insights about the same subject, or about subjects that are easily confused with it

Statement = tuple[int, str]  # an entity, and the relation that is stated of it


@dataclass(frozen=True, slots=True)
class Digests:
    """A world and its digests: documents of four statements about entities of one kind, which is the subtopic."""

    world: World
    by_entity: Sequence[Sequence[int]]
    by_kind: dict[str, Sequence[int]]
    turns: Sequence[int]
    pool: Pool


class Templated(ConceptExpression):
    """The concept expression `templated` of SummHay. Documents are digests of four statements, and one statement is the insight.

    The nearest distractors are digests with other insights about the same subject or easily confused ones. Other digests of
    the same subtopic follow.
    """

    name = "templated"
    reads = frozenset({"insight_wording"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._size = world_size(setting.options.max_tokens)
        self._digests = lru_cache(maxsize=2)(self._make_digests)

    def concept(self, split: str, index: int) -> Concept:
        digests, entity, relation = self._pick(split, index)
        stream = self.rng(split, index, "digests")
        asked = stream.choice(split_wordings(_STATED, relation, split, "subject", "object"))
        insight = self._say(digests.world, (entity, relation), asked)
        same = self.setting.options.insight_wording == "identical"
        found = []
        for _ in range(draw_citations(self.setting, split, index)):
            way = asked if same else stream.choice(wordings(_STATED, relation, "subject", "object"))
            sentence = self._say(digests.world, (entity, relation), way)
            sentences = self._others(digests.world, entity, split, stream)
            at = stream.below(_SENTENCES)
            sentences.insert(at, sentence)
            page = self.setting.layout.page(Document("", " ".join(sentences)))
            start = page.text.start + sum(len(other) + 1 for other in sentences[:at])
            found.append((page, Span(start, start + len(sentence))))
        return citing_concept(self.setting, insight, found)

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        digests, entity, relation = self._pick(split, index)
        world = digests.world
        stream = self.rng(split, index, "haystack")
        namesakes = [number for other in world.namesakes(entity) for number in digests.by_entity[other]]
        near = [*digests.by_entity[entity], *namesakes]
        kind = digests.by_kind[world.entities[entity].kind]
        order = chain(
            (near[i] for i in stream.order(len(near))[:_NEAR]),
            (kind[i] for i in stream.order(len(kind))),
            stream.order(len(digests.pool.documents)),
        )
        link = world.entities[entity].name, world.objects[entity][relation]
        return digests.pool.pages(order, (), links=[link])

    def _pick(self, split: str, index: int) -> tuple[Digests, int, str]:
        """The digests, the entity and the relation that an example asks for."""
        digests = self._digests(split, index // self._size)
        entity = digests.turns[index % self._size]
        relations = BY_SUBJECT[digests.world.entities[entity].kind]
        return digests, entity, self.rng(split, index, "needle").choice(relations).name

    def _say(self, world: World, statement: Statement, way: Wording) -> str:
        entity, relation = statement
        return way.fill(subject=world.entities[entity].name, object=world.objects[entity][relation])

    def _others(self, world: World, entity: int, split: str, stream: Stream) -> list[str]:
        """The other sentences of a digest, about other entities of the same kind as this one."""
        kind = world.entities[entity].kind
        members = [i for i in _sample(world.by_kind[kind], _SENTENCES, stream) if i != entity]
        return [self._any(world, member, split, stream) for member in members[: _SENTENCES - 1]]

    def _any(self, world: World, entity: int, split: str, stream: Stream) -> str:
        relation = stream.choice(BY_SUBJECT[world.entities[entity].kind]).name
        way = stream.choice(split_wordings(_STATED, relation, split, "subject", "object"))
        return self._say(world, (entity, relation), way)

    def _make_digests(self, split: str, number: int) -> Digests:
        name = (self.setting.options.seed, self.setting.task, self.name, "digests", number)
        world = make_world(self._size, split, *name)
        stream = rng(*name, split, "texts")
        documents: list[Document] = []
        by_entity: list[list[int]] = [[] for _ in world.entities]
        by_kind: dict[str, list[int]] = {kind: [] for kind in KINDS}
        for kind in KINDS:
            for _ in range(_DIGESTS * self._size // len(KINDS)):
                members = _sample(world.by_kind[kind], _SENTENCES, stream)
                for member in members:
                    by_entity[member].append(len(documents))
                by_kind[kind].append(len(documents))
                documents.append(Document("", " ".join(self._any(world, member, split, stream) for member in members)))
        turns = rng(*name, split, "turns").order(len(world.entities))
        return Digests(world, by_entity, dict(by_kind), turns, Pool(self.setting.layout, documents))


def _sample(options: Sequence[int], count: int, stream: Stream) -> list[int]:
    """`count` different options in random order."""
    drawn: dict[int, None] = {}
    while len(drawn) < count:
        drawn[options[stream.below(len(options))]] = None
    return list(drawn)
