"""Articles about a made-up world: the documents of templated needles and haystacks."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, chain

from synthctx_data.distractors import Pool
from synthctx_data.example import Document, Needle, Span
from synthctx_data.layout import Layout
from synthctx_data.matching import comparable, comparables, holds
from synthctx_data.prompts import Wording, wordings
from synthctx_data.seeding import Stream, rng
from synthctx_data.world.entities import GROUPS, KIND_OF, MAX_SIZE, Families, World, make_world

_MIN_WORLD = 1024  # entities
_KEPT = 4  # one wording in four is kept for validation
_MOST_GROUPS = max(map(len, GROUPS.values()))
_GROUP = max(len(group) for groups in GROUPS.values() for group in groups)  # relations
_GROUP_OF = {relation.name: i for groups in GROUPS.values() for i, group in enumerate(groups) for relation in group}
_DRAWS = 2 * _GROUP  # numbers drawn for each article


def world_size(max_tokens: int) -> int:
    """The number of entities of which two articles each fill a context.

    An article has over 32 tokens under any tokenizer that splits at spaces.
    """
    return min(max(_MIN_WORLD, max_tokens // 64), MAX_SIZE)


@cache
def split_wordings(address: str, block: str, split: str, *slots: str) -> tuple[Wording, ...]:
    """The wordings of a block for a split. A quarter of them, drawn by the block's name, is kept for validation."""
    lines = wordings(address, block, *slots)
    order = rng("wordings", address, block).order(len(lines))
    kept = len(lines) // _KEPT
    return tuple(lines[i] for i in sorted(order[kept:] if split == "train" else order[:kept]))


@dataclass(frozen=True, slots=True)
class Article:
    """A document that states a group of relations of an entity, whose objects have one type.

    `statements` holds two spans for each relation, in characters of the text: of its sentence, and of its object.
    """

    entity: int
    document: Document
    statements: Mapping[str, tuple[Span, Span]]


@dataclass(frozen=True, slots=True)
class Chapter:
    """A world and its articles, one about each entity and group of relations. Examples ask about the entities in `turns`.

    `starts[entity]` is the number of the first article about an entity, and `pool` holds the articles as pages. The objects of
    the relations `outward` are not entities of the world.
    """

    world: World
    families: Families
    articles: Sequence[Article]
    starts: Sequence[int]
    turns: Sequence[int]
    pool: Pool
    outward: Collection[str]

    def about(self, entity: int) -> range:
        """The numbers of the articles about an entity."""
        return range(self.starts[entity], self.starts[entity + 1])

    def article_stating(self, entity: int, relation: str) -> int:
        """The number of the article that states a relation of an entity."""
        return self.starts[entity] + _GROUP_OF[relation]

    def object_of(self, entity: int, relation: str) -> int:
        """The entity that is the object of a relation of an entity.

        Raises: KeyError if the object is no entity.
        """
        return self.world.by_name[KIND_OF[relation], self.world.objects[entity][relation]]

    def needle(self, number: int, relation: str) -> Needle:
        """The needle of a relation: the sentence of an article that states it. Its answer is the object of the relation."""
        page = self.pool.page(number)
        sentence, answer = (span.shift(page.text.start) for span in self.articles[number].statements[relation])
        return Needle(page, sentence, answer)

    def sentence(self, number: int, relation: str) -> str:
        """The sentence of an article that states a relation."""
        start, end = self.articles[number].statements[relation][0]
        return self.articles[number].document.text[start:end]

    def says_once(self, number: int, relation: str) -> bool:
        """True if an article holds the object of a relation only in the sentence that states that relation."""
        body = self.pool.page(number).body
        needle = self.needle(number, relation)
        outside = f"{body[: needle.span.start]} {body[needle.span.end :]}"
        return not holds(comparable(outside), comparables([needle.text]))

    def group_of(self, number: int) -> int:
        """The index of the group of relations that an article states, among those of its subject's kind."""
        return number - self.starts[self.articles[number].entity]

    def of_family(self, entity: int, group: int) -> list[int]:
        """The numbers of the articles about an entity and then about the rest of its family, which state one group of relations."""
        starts = self.starts
        return [
            starts[entity] + group,
            *(starts[other] + group for other in self.families.of[entity] if other != entity),
        ]

    def one_each(self, first: Iterable[int], stream: Stream) -> Iterator[int]:
        """The numbers of articles about different entities: those of `first`, then one about every other entity.

        Of articles in `first` about one entity, only the first is kept. The others come by families in random order, and a
        family's articles state the same group of relations.
        """
        order = stream.order(len(self.families.all))
        draws = stream.integers(2**32, len(order))
        seen = set()
        for number in chain(first, chain.from_iterable(self._any_group(self.families.all[i], draws[i]) for i in order)):
            entity = self.articles[number].entity
            if entity not in seen:
                seen.add(entity)
                yield number

    def two_each(self, first: Iterable[int], stream: Stream) -> Iterator[int]:
        """The numbers of articles, two about every entity, one after the other. Those of `first` come first, each with another.

        So a title that stands above two documents says nothing: every title does.
        """
        draws = stream.integers(2**32, len(self.world.entities))
        for number in self.one_each(first, stream):
            entity = self.articles[number].entity
            about = self.about(entity)
            yield number
            yield about[(number - about.start + 1 + draws[entity] % (len(about) - 1)) % len(about)]

    def _any_group(self, family: Sequence[int], drawn: int) -> list[int]:
        return self.of_family(family[0], drawn % len(self.about(family[0])))


def make_chapter(
    layout: Layout,
    address: str,
    size: int,
    split: str,
    *name: str | int,
    outward: Collection[str] = (),
    number: int | None = None,
) -> Chapter:
    """The chapter of this name (and number): `size` entities, whose relations are worded by the template at `address`.

    The objects of the relations `outward` are no entities of it, and so seldom stand in two articles. Chapters with a number share no
    entity's name.
    """
    world = make_world(size, split, *name, outward=outward, number=number)
    name = name if number is None else (*name, number)
    articles = list(_write(world, address, split, rng(*name, split, "articles")))
    starts = [0, *accumulate(len(GROUPS[entity.kind]) for entity in world.entities)]
    turns = rng(*name, split, "turns").order(len(world.entities))
    families = Families(world, rng(*name, split, "families"))
    return Chapter(
        world, families, articles, starts, turns, Pool(layout, [article.document for article in articles]), outward
    )


def _write(world: World, address: str, split: str, stream: Stream) -> Iterator[Article]:
    """An article about every entity and every group of relations of its kind, which stand in random order."""
    numbers = stream.integers(2**32, _DRAWS * _MOST_GROUPS * len(world.entities))
    ways = {
        relation.name: split_wordings(address, relation.name, split, "subject", "object")
        for relation in chain.from_iterable(chain.from_iterable(GROUPS.values()))
    }
    for i, (entity, objects) in enumerate(zip(world.entities, world.objects, strict=True)):
        for j, group in enumerate(GROUPS[entity.kind]):
            at = _DRAWS * (_MOST_GROUPS * i + j)
            drawn = numbers[at : at + _DRAWS]
            shuffled = [
                relation.name for _, relation in sorted(zip(drawn, group, strict=False), key=lambda one: one[0])
            ]
            said = [(name, ways[name][n % len(ways[name])]) for name, n in zip(shuffled, drawn[_GROUP:], strict=False)]
            yield write_article(i, entity.name, said, objects, entity.name)


def write_article(
    entity: int, subject: str, said: Sequence[tuple[str, Wording]], objects: Mapping[str, str], title: str
) -> Article:
    """The article that states these relations of an entity, in order, each by its wording."""
    sentences: list[str] = []
    statements: dict[str, tuple[Span, Span]] = {}
    at = 0
    for relation, way in said:
        values = {"subject": subject, "object": objects[relation]}
        sentence = way.fill(**values)
        statements[relation] = Span(at, at + len(sentence)), way.span("object", **values).shift(at)
        sentences.append(sentence)
        at += len(sentence) + 1
    return Article(entity, Document(title, " ".join(sentences)), statements)
