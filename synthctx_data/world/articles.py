"""Articles about a made-up world: the documents of templated needles and haystacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synthctx_data.distractors import Pool
from synthctx_data.example import Document, Needle, Span
from synthctx_data.layout import Layout
from synthctx_data.metrics import holds, normalize_answer, normalize_answers
from synthctx_data.prompts import Wording, wordings
from synthctx_data.seeding import Stream, rng
from synthctx_data.world.entities import BY_SUBJECT, MAX_SIZE, RELATIONS, World, make_world

ARTICLES = 2  # about each entity
_MIN_WORLD = 2048  # entities
_MOST_RELATIONS = max(map(len, BY_SUBJECT.values()))


def world_size(max_tokens: int) -> int:
    """The number of entities whose articles fill a context.

    An article has over 32 tokens under any tokenizer that splits at spaces.
    """
    return min(max(_MIN_WORLD, max_tokens // 32 // ARTICLES), MAX_SIZE)


def split_wordings(address: str, block: str, split: str, *slots: str) -> tuple[Wording, ...]:
    """The wordings of a block for a split: the last one for validation, all others for train."""
    lines = wordings(address, block, *slots)
    return lines[:-1] if split == "train" else lines[-1:]


@dataclass(frozen=True, slots=True)
class Article:
    """A document that states some relations of an entity.

    `statements` holds two spans for each relation, in characters of the text: of its sentence, and of its object.
    """

    entity: int
    document: Document
    statements: Mapping[str, tuple[Span, Span]]


@dataclass(frozen=True, slots=True)
class Chapter:
    """A world and its articles, two about each entity. Examples ask about the entities in the order of `turns`.

    `stating` holds the numbers of the articles that state each relation, and `pool` the articles as pages.
    """

    world: World
    articles: Sequence[Article]
    stating: Mapping[str, Sequence[int]]
    turns: Sequence[int]
    pool: Pool

    def about(self, entity: int) -> range:
        """The numbers of the articles about an entity."""
        return range(ARTICLES * entity, ARTICLES * (entity + 1))

    def needle(self, number: int, relation: str) -> Needle:
        """The needle of a relation: the sentence of an article that states it. Its answer is the object of the relation."""
        page = self.pool.page(number)
        sentence, answer = (span.shift(page.text.start) for span in self.articles[number].statements[relation])
        return Needle(page, sentence, answer)

    def says_once(self, number: int, relation: str) -> bool:
        """True if an article holds the object of a relation only in the sentence that states that relation."""
        body = self.pool.page(number).body
        needle = self.needle(number, relation)
        outside = f"{body[: needle.span.start]} {body[needle.span.end :]}"
        return not holds(normalize_answer(outside), normalize_answers([needle.text]))

    def distractors(self, number: int, relation: str, stream: Stream, each: int) -> list[int]:
        """The numbers of the articles that are nearest to article `number`, which states `relation`.

        These are all articles about its subject (itself too), then up to `each` that state the relation of a subject whose
        name is easily confused with this one's, and `each` that state it of any subject.
        """
        article = self.articles[number]
        namesakes = [
            other
            for entity in self.world.namesakes(article.entity)
            for other in self.about(entity)
            if relation in self.articles[other].statements
        ]
        stating = self.stating[relation]
        return [
            *self.about(article.entity),
            *(namesakes[i] for i in stream.order(len(namesakes))[:each]),
            *(stating[i] for i in stream.integers(len(stating), each)),
        ]


def make_chapter(layout: Layout, address: str, size: int, split: str, *name: str | int) -> Chapter:
    """The chapter of this name: `size` entities, whose relations are worded by the template at `address`."""
    world = make_world(size, split, *name)
    articles = _write(world, address, split, rng(*name, split, "articles"))
    stating: dict[str, list[int]] = {relation.name: [] for relation in RELATIONS}
    for i, article in enumerate(articles):
        for relation in article.statements:
            stating[relation].append(i)
    turns = rng(*name, split, "turns").order(len(world.entities))
    return Chapter(world, articles, stating, turns, Pool(layout, [article.document for article in articles]))


def _write(world: World, address: str, split: str, stream: Stream) -> list[Article]:
    """Two articles about every entity. Each states half of its relations."""
    ways = {relation.name: split_wordings(address, relation.name, split, "subject", "object") for relation in RELATIONS}
    numbers = stream.integers(2**32, 2 * _MOST_RELATIONS * len(world.entities))
    articles = []
    for i, (entity, objects) in enumerate(zip(world.entities, world.objects, strict=True)):
        drawn = numbers[2 * _MOST_RELATIONS * i : 2 * _MOST_RELATIONS * (i + 1)]
        shuffled = sorted(zip(drawn, objects, strict=False))
        picks = iter(drawn[_MOST_RELATIONS:])
        half = (len(shuffled) + 1) // 2
        for part in (shuffled[:half], shuffled[half:]):
            said = [(relation, ways[relation][next(picks) % len(ways[relation])]) for _, relation in part]
            articles.append(_article(i, entity.name, said, objects))
    return articles


def _article(entity: int, subject: str, said: Sequence[tuple[str, Wording]], objects: Mapping[str, str]) -> Article:
    sentences: list[str] = []
    statements: dict[str, tuple[Span, Span]] = {}
    at = 0
    for relation, way in said:
        values = {"subject": subject, "object": objects[relation]}
        sentence = way.fill(**values)
        statements[relation] = Span(at, at + len(sentence)), way.span("object", **values).shift(at)
        sentences.append(sentence)
        at += len(sentence) + 1
    return Article(entity, Document(subject, " ".join(sentences)), statements)
