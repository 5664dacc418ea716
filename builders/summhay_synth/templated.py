"""Templated needles: a statement about a made-up entity in several documents, worded anew in each or the same in all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations
from operator import itemgetter

from builders.summhay_synth.citing import (
    MOST,
    citing_concept,
    draw_citations,
    draw_rival_citations,
    most_citations,
)
from synthctx_data.distractors import Pool
from synthctx_data.example import Concept, Page
from synthctx_data.prompts import Wording
from synthctx_data.seeding import Stream, rng
from synthctx_data.task import ConceptExpression, Setting, require_enough
from synthctx_data.world.articles import Article, split_wordings, write_article
from synthctx_data.world.entities import BY_SUBJECT, KINDS, MAX_SIZE, Families, World, make_world, numbered_worlds

_STATED = "mdqa_synth/templated"  # the template of the sentences
_RELATIONS, _SENTENCES = 6, 4
# The digests about an entity state all choices of four of its six relations. Of these 15, ten state a given relation.
_CHOICES = tuple(combinations(range(_RELATIONS), _SENTENCES))
_STATING, _SILENT = (
    [[i for i, choice in enumerate(_CHOICES) if (at in choice) is stated] for at in range(_RELATIONS)]
    for stated in (True, False)
)
_TURNS = 3  # rows that ask about each entity, for a relation each
_MIN_WORLD = 512  # entities
_VARIETY = 6  # of dates and numbers: each is stated of several entities

Statement = tuple[int, str]  # an entity, and the relation that is stated of it


@dataclass(frozen=True, slots=True)
class Digests:
    """A world and its digests: documents of four statements about one entity, 15 about each.

    `relations[entity]` are the six relations that the digests about an entity state, and `having` holds the statements with
    each object.
    """

    world: World
    families: Families
    relations: Sequence[Sequence[str]]
    articles: Sequence[Article]
    having: Mapping[str, Sequence[Statement]]
    turns: Sequence[int]
    pool: Pool

    def stating(self, statement: Statement) -> list[int]:
        """The numbers of the ten digests that hold a statement."""
        return self._numbers(statement, _STATING)

    def silent(self, statement: Statement) -> list[int]:
        """The numbers of the five digests about the same entity that do not hold a statement."""
        return self._numbers(statement, _SILENT)

    def _numbers(self, statement: Statement, choices: Sequence[Sequence[int]]) -> list[int]:
        entity, relation = statement
        return [len(_CHOICES) * entity + i for i in choices[self.relations[entity].index(relation)]]


class Templated(ConceptExpression):
    """The concept expression `templated` of SummHay. Documents are digests: four statements about one entity.

    One statement is the insight, and the needles are digests that hold it. Digests about its subject with other statements stand
    there too. The rest of a haystack is made of clusters of digests about other entities, which hold one statement of theirs as
    often as the needles hold the insight. Behind each cluster comes one about an entity of which the same is stated, and clusters
    come by families of entities with similar names. So neither subject nor object alone tells which documents to cite, and
    whatever is said several times is no sign of the insight. The digests of one example's needles are distractors in others.
    """

    name = "templated"
    reads = frozenset({"insight_wording"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        wanted = max(_MIN_WORLD, setting.options.max_tokens // 256)
        self._size = min(wanted // len(KINDS) * len(KINDS), MAX_SIZE)
        self._digests = lru_cache(maxsize=2)(self._make_digests)
        for split, rows in setting.sizes.items():
            require_enough(setting, split, rows, (1 + numbered_worlds(self._size, split)) * self._size * _TURNS)

    def concept(self, split: str, index: int) -> Concept:
        digests, statement = self._pick(split, index)
        stream = self.rng(split, index, "digests")
        entity, relation = statement
        way = self._way(split, entity, relation, stream.below(2**32))
        world = digests.world
        insight = way.fill(subject=world.entities[entity].name, object=world.objects[entity][relation])
        found = []
        for number in stream.shuffled(digests.stating(statement))[: draw_citations(self.setting, split, index)]:
            page = digests.pool.page(number)
            found.append((page, digests.articles[number].statements[relation][0].shift(page.text.start)))
        return citing_concept(self.setting, insight, found)

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        digests, statement = self._pick(split, index)
        world, (entity, relation) = digests.world, statement
        stream = self.rng(split, index, "haystack")
        link = world.entities[entity].name, world.objects[entity][relation]
        order = (digests.families.all[i] for i in stream.order(len(digests.families.all)))
        entities = chain(digests.families.of[entity], chain.from_iterable(order))
        rivals = _rivals(digests, statement, entities, stream)
        most = most_citations(self.setting, concept)
        numbers = chain(_silent(digests, statement, stream), _clusters(digests, rivals, entity, stream, most))
        return digests.pool.pages(numbers, (), digests.stating(statement), links=[link])

    def _pick(self, split: str, index: int) -> tuple[Digests, Statement]:
        """The digests, and the statement that an example asks for."""
        digests = self._digests(split, index // (self._size * _TURNS))
        turn, at = divmod(index % (self._size * _TURNS), self._size)
        entity = digests.turns[at]
        return digests, (entity, digests.relations[entity][turn])

    def _way(self, split: str, entity: int, relation: str, drawn: int) -> Wording:
        """The wording of a statement: the one of this number, or the same for all numbers (`--insight-wording identical`)."""
        ways = split_wordings(_STATED, relation, split, "subject", "object")
        return ways[(drawn if self.setting.options.insight_wording == "varied" else entity) % len(ways)]

    def _make_digests(self, split: str, number: int) -> Digests:
        name: tuple[str | int, ...] = (self.setting.options.seed, self.setting.task, self.name, "digests")
        if number == 0:
            name = (*name, number)
            world = make_world(self._size, split, *name, variety=_VARIETY)
        else:  # about entities that no other digests know, so that no statement comes twice
            world = make_world(self._size, split, *name, "further", variety=_VARIETY, number=number - 1)
            name = (*name, number)
        stream = rng(*name, split, "texts")
        relations = [
            [relation.name for relation in stream.shuffled(BY_SUBJECT[entity.kind])[:_RELATIONS]]
            for entity in world.entities
        ]
        having: dict[str, list[Statement]] = {}
        articles: list[Article] = []
        for entity, six in enumerate(relations):
            for relation in six:
                having.setdefault(world.objects[entity][relation], []).append((entity, relation))
            draws = iter(stream.integers(2**32, 2 * _SENTENCES * len(_CHOICES)))
            for choice in _CHOICES:
                said = [six[i] for i, _ in sorted(zip(choice, draws, strict=False), key=itemgetter(1))]
                worded = [(relation, self._way(split, entity, relation, next(draws))) for relation in said]
                articles.append(write_article(entity, world.entities[entity].name, worded, world.objects[entity], ""))
        turns = rng(*name, split, "turns").order(len(world.entities))
        pool = Pool(self.setting.layout, [article.document for article in articles])
        return Digests(world, Families(world, rng(*name, split, "families")), relations, articles, having, turns, pool)


def _silent(digests: Digests, statement: Statement, stream: Stream) -> list[int]:
    """From one to all of the digests about an entity that do not hold a statement."""
    return stream.shuffled(digests.silent(statement))[: 1 + stream.below(len(_CHOICES) - MOST)]


def _rivals(digests: Digests, asked: Statement, entities: Iterable[int], stream: Stream) -> Iterator[Statement]:
    """Statements about other entities. Behind the one that is asked for, and behind each of them, comes one with the same object."""
    yield from _with_same_object(digests, asked, stream)
    for entity in entities:
        statement = entity, stream.choice(digests.relations[entity])
        yield statement
        yield from _with_same_object(digests, statement, stream)


def _with_same_object(digests: Digests, statement: Statement, stream: Stream) -> list[Statement]:
    """One statement with the same object about another entity; none if there is none."""
    entity, relation = statement
    others = [one for one in digests.having[digests.world.objects[entity][relation]] if one[0] != entity]
    return [stream.choice(others)] if others else []


def _clusters(digests: Digests, rivals: Iterator[Statement], without: int, stream: Stream, most: int) -> Iterator[int]:
    """The digests of a cluster for each of these statements, except about the entity `without`. None comes twice.

    A cluster holds what the context of an example about its statement would hold about the statement's subject.
    """
    seen = {without}
    for statement in rivals:
        if statement[0] not in seen:
            seen.add(statement[0])
            yield from stream.shuffled(digests.stating(statement))[: draw_rival_citations(stream, most)]
            yield from _silent(digests, statement, stream)
