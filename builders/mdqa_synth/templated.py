"""Templated needles: a sentence from a template states a relation of a made-up entity; the answer is the relation's object."""

from collections.abc import Iterator
from functools import lru_cache

from synthctx_data.example import Concept, Page
from synthctx_data.task import ConceptExpression, Setting
from synthctx_data.world.articles import Chapter, make_chapter, split_wordings, world_size
from synthctx_data.world.entities import KIND_OF

_NEAR = 2  # further families of subjects of which the same relation is stated


class Templated(ConceptExpression):
    """The concept expression `templated` of MDQA. Needles are sentences of articles about the entities of a made-up world.

    A haystack has two articles about every subject. The nearest distractors are the other article about the needle's subject,
    and articles that state the same relation of its family, which has similar names, and of other families. The rest of the
    world follows, by families. An article holds the needle of one example and is a distractor in others, so that no article is
    known by being seen only once.
    """

    name = "templated"
    reads = frozenset({"questions"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._address = f"{setting.task}/{self.name}"
        self._size = world_size(setting.options.max_tokens)
        self._chapter = lru_cache(maxsize=2)(self._make_chapter)

    def apart(self, split: str, one: int, other: int) -> bool:
        return one // self._size != other // self._size

    def concept(self, split: str, index: int) -> Concept:
        chapter, number, relation = self._pick(split, index)
        needle = chapter.needle(number, relation)
        asks = split_wordings(self._address, f"ask_{relation}", split, "subject")
        asked = self.rng(split, index, "question").choice(asks)
        question = asked.fill(subject=chapter.articles[number].document.title)
        return Concept(question, needle.text, (needle.text,), (needle,))

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        chapter, number, _ = self._pick(split, index)
        stream = self.rng(split, index, "haystack")
        entity = chapter.articles[number].entity
        kin = chapter.world.by_kind[chapter.world.entities[entity].kind]
        near = [entity, *(kin[i] for i in stream.integers(len(kin), _NEAR))]
        group = chapter.group_of(number)
        order = chapter.two_each([rival for one in near for rival in chapter.of_family(one, group)], stream)
        return chapter.pool.pages(order, concept.answers, without=(number,))

    def _pick(self, split: str, index: int) -> tuple[Chapter, int, str]:
        """The chapter, the article and the relation that an example asks for."""
        chapter = self._chapter(split, index // self._size)
        stream = self.rng(split, index, "needle")
        number = stream.choice(chapter.about(chapter.turns[index % self._size]))
        stated = stream.shuffled(tuple(chapter.articles[number].statements))
        return chapter, number, next((r for r in stated if chapter.says_once(number, r)), stated[0])

    def _make_chapter(self, split: str, number: int) -> Chapter:
        options, task = self.setting.options, self.setting.task
        name = (options.seed, task, self.name, "chapter", number)
        # An object seldom stands in two articles: so it is no sign of the answer that no other document may hold it.
        return make_chapter(self.setting.layout, self._address, self._size, split, *name, outward=KIND_OF)
