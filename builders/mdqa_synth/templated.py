"""Templated needles: a sentence from a template states a relation of a made-up entity; the answer is the relation's object."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from synthctx_data.distractors import Pool
from synthctx_data.entities import BY_SUBJECT, MAX_SIZE, RELATIONS, World, make_world
from synthctx_data.example import Concept, Document, Needle, Page, Span
from synthctx_data.prompts import Wording, wordings
from synthctx_data.seeding import Stream, rng
from synthctx_data.task import ConceptExpression, Setting

_MIN_WORLD = 2048  # entities
_ARTICLES = 2  # of an entity
_NAMESAKES = 4  # distractors that state the same relation of an easily confused subject
_SAME_RELATION = 4  # and of any other subject
_MOST_RELATIONS = max(map(len, BY_SUBJECT.values()))


@dataclass(frozen=True, slots=True)
class Article:
    """A document that states some relations of an entity: where each sentence stands in its text, and where its object."""

    entity: int
    document: Document
    statements: Mapping[str, tuple[Span, Span]]


@dataclass(frozen=True, slots=True)
class Chapter:
    """A world and its articles, two an entity; each entity is asked about once, in the order of `turns`."""

    world: World
    articles: Sequence[Article]
    stating: Mapping[str, Sequence[int]]
    turns: Sequence[int]
    pool: Pool

    def namesakes(self, article: Article, relation: str) -> Iterator[int]:
        """The articles that state `relation` of a subject whose name is easily confused with this one's."""
        for entity in self.world.namesakes(article.entity):
            for number in range(_ARTICLES * entity, _ARTICLES * entity + _ARTICLES):
                if relation in self.articles[number].statements:
                    yield number


class Templated(ConceptExpression):
    """Needles are sentences of articles about the entities of a made-up world.

    The nearest distractors are the other article on the same subject, and articles that state the same relation of subjects
    with a similar name; the rest of the world follows. Every article is a needle's and a distractor in turn, so that none is
    known by being seen only once.
    """

    name = "templated"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        # An article has over 32 tokens under any tokenizer that splits at spaces.
        self._world_size = min(max(_MIN_WORLD, setting.options.max_tokens // 32 // _ARTICLES), MAX_SIZE)
        self._chapter = lru_cache(maxsize=2)(self._make_chapter)

    def concept(self, split: str, index: int) -> Concept:
        chapter, number, relation = self._pick(split, index)
        article = chapter.articles[number]
        page = chapter.pool.page(number)
        sentence, answer = (span.shift(page.text.start) for span in article.statements[relation])
        text = page.body[answer.start : answer.end]
        asked = self.rng(split, index, "question").choice(self._wordings(f"ask_{relation}", split))
        question = asked.fill(subject=article.document.title)
        return Concept(question, text, (text,), (Needle(page, sentence, answer),))

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        chapter, number, relation = self._pick(split, index)
        order = self._distractors(chapter, number, relation, self.rng(split, index, "haystack"))
        return chapter.pool.pages(order, concept.answers, without=(number,))

    def _pick(self, split: str, index: int) -> tuple[Chapter, int, str]:
        """The chapter, the article and the relation that an example asks for."""
        chapter = self._chapter(split, index // self._world_size)
        stream = self.rng(split, index, "needle")
        number = _ARTICLES * chapter.turns[index % self._world_size] + stream.below(_ARTICLES)
        return chapter, number, stream.choice(tuple(chapter.articles[number].statements))

    def _distractors(self, chapter: Chapter, number: int, relation: str, stream: Stream) -> Iterator[int]:
        article = chapter.articles[number]
        first = _ARTICLES * article.entity
        yield from range(first, first + _ARTICLES)
        namesakes = list(chapter.namesakes(article, relation))
        yield from (namesakes[i] for i in stream.order(len(namesakes))[:_NAMESAKES])
        stating = chapter.stating[relation]
        yield from (stating[i] for i in stream.integers(len(stating), _SAME_RELATION))
        yield from stream.order(len(chapter.articles))

    def _wordings(self, block: str, split: str) -> tuple[Wording, ...]:
        """The wordings of a block for a split: validation has the last one for itself."""
        slots = ("subject",) if block.startswith("ask_") else ("subject", "object")
        lines = wordings(f"{self.setting.task}/{self.name}", block, *slots)
        return lines[:-1] if split == "train" else lines[-1:]

    def _make_chapter(self, split: str, number: int) -> Chapter:
        name = (self.setting.options.seed, self.setting.task, self.name, "chapter", number)
        world = make_world(self._world_size, split, *name)
        articles = self._write(world, split, rng(*name, split, "articles"))
        stating: dict[str, list[int]] = {relation.name: [] for relation in RELATIONS}
        for i, article in enumerate(articles):
            for relation in article.statements:
                stating[relation].append(i)
        turns = rng(*name, split, "turns").order(len(world.entities))
        pool = Pool(self.setting.layout, [article.document for article in articles])
        return Chapter(world, articles, stating, turns, pool)

    def _write(self, world: World, split: str, stream: Stream) -> list[Article]:
        """Two articles on every entity, which share its relations between them."""
        ways = {relation.name: self._wordings(relation.name, split) for relation in RELATIONS}
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
