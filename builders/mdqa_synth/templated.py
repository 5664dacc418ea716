"""Templated needles: a sentence from a template states a relation of a made-up entity; the answer is the relation's object."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice

from synthctx_data.example import Concept, Needle, Page
from synthctx_data.options import CORPUS_OPTIONS, parse_shares
from synthctx_data.prompts import Wording
from synthctx_data.seeding import Stream
from synthctx_data.task import ConceptExpression, Setting, require_enough
from synthctx_data.wording import shared_words
from synthctx_data.world.articles import Chapter, make_chapter, split_wordings, world_size
from synthctx_data.world.entities import KIND_OF, numbered_worlds

_NEAR = 2  # further families of subjects of which the same relation is stated
_FIRST = 16  # chapters whose subjects may have the names of each other's


class Templated(ConceptExpression):
    """The concept expression `templated` of MDQA. Needles are sentences of articles about the entities of a made-up world.

    A haystack has two articles about every subject. The nearest distractors are the other article about the needle's subject,
    and articles that state the same relation of its family, which has similar names, and of other families. The rest of the
    world follows, by families. An article holds the needle of one example and is a distractor in others, so that no article is
    known by being seen only once.

    No needle comes twice. In the first chapters, a sentence that an earlier one asks for is not asked for again. The others are about
    subjects that no other chapter knows.

    Raises: UsageError if there are more examples than the made-up worlds have needles for.
    """

    name = "templated"
    reads = frozenset({"questions", "question_wording", "needle_in", "needle_format", "completion"})
    haystack_reads = CORPUS_OPTIONS | {"rivals"}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._address = f"{setting.task}/{self.name}"
        self._size = world_size(setting.options.max_tokens)
        self._chapter = lru_cache(maxsize=2)(self._make_chapter)
        self._asked_before = lru_cache(maxsize=2 * _FIRST)(self._find_asked_before)
        for split, rows in setting.sizes.items():
            require_enough(setting, split, rows, (_FIRST + numbered_worlds(self._size, split)) * self._size)

    def apart(self, split: str, one: int, other: int) -> bool:
        return one // self._size != other // self._size

    def concept(self, split: str, index: int) -> Concept:
        chapter, number, relation = self._pick(split, index)
        needle = chapter.needle(number, relation)
        asked = self.rng(split, index, "question").choice(self._questions(split, index, relation, needle))
        question = asked.fill(subject=chapter.articles[number].document.title)
        return Concept(question, needle.text, (needle.text,), (needle,))

    def _questions(self, split: str, index: int, relation: str, needle: Needle) -> Sequence[Wording]:
        """The wordings that may ask for a relation: any, far ones, or those of the others that share most words with the needle."""
        asks = split_wordings(self._address, f"ask_{relation}", split, "subject")
        wanted = self.setting.options.question_wording
        if wanted is None:
            return asks
        shares = parse_shares(wanted, "--question-wording")
        if self.rng(split, index, "question wording").uniform() >= shares.get("near", 0.0):
            return split_wordings(f"{self._address}_far", f"far_{relation}", split, "subject")
        nearness = [shared_words(ask.fill(subject=""), [needle.sentence]) or 0.0 for ask in asks]
        return [ask for ask, near in zip(asks, nearness, strict=True) if near == max(nearness)]

    def other_answers(self, split: str, index: int, count: int) -> list[str]:
        chapter, number, relation = self._pick(split, index)
        world, entity = chapter.world, chapter.articles[number].entity
        objects = dict.fromkeys(world.objects[kin][relation] for kin in world.by_kind[world.entities[entity].kind])
        del objects[world.objects[entity][relation]]
        return self.rng(split, index, "others").shuffled(list(objects))[:count]

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        chapter, number, _ = self._pick(split, index)
        stream = self.rng(split, index, "haystack")
        entity = chapter.articles[number].entity
        kin = chapter.world.by_kind[chapter.world.entities[entity].kind]
        near = [entity, *(kin[i] for i in stream.integers(len(kin), _NEAR))]
        group = chapter.group_of(number)
        first = [rival for one in near for rival in chapter.of_family(one, group)]
        rivals = self.setting.options.rivals
        order = (
            chapter.two_each(first, stream) if rivals is None else _few_rivals(chapter, number, first, rivals, stream)
        )
        return chapter.pool.pages(order, concept.answers, without=(number,))

    def _pick(self, split: str, index: int) -> tuple[Chapter, int, str]:
        """The chapter, the article and the relation that an example asks for."""
        chapter = self._chapter(split, index // self._size)
        asked_before = self._asked_before(split, index // self._size)
        stream = self.rng(split, index, "needle")
        about = chapter.about(chapter.turns[index % self._size])
        drawn = stream.choice(about)
        stated = stream.shuffled(tuple(chapter.articles[drawn].statements))
        others = ((number, relation) for number in about for relation in chapter.articles[number].statements)
        for number, relation in chain(((drawn, relation) for relation in stated), others):
            if chapter.says_once(number, relation) and chapter.sentence(number, relation) not in asked_before:
                return chapter, number, relation
        raise AssertionError(f"{split} {index}: every statement about its subject is asked for before")

    def _find_asked_before(self, split: str, chapter: int) -> frozenset[str]:
        """The sentences that the examples of earlier chapters ask for, if a chapter may have them too."""
        if chapter == 0 or chapter >= _FIRST:
            return frozenset()
        last = range((chapter - 1) * self._size, chapter * self._size)
        asked = (self._pick(split, index) for index in last)
        return self._asked_before(split, chapter - 1).union(said.sentence(number, name) for said, number, name in asked)

    def _make_chapter(self, split: str, number: int) -> Chapter:
        options, task = self.setting.options, self.setting.task
        first = number < _FIRST
        name = (options.seed, task, self.name, "chapter" if first else "further chapter")
        # An object seldom stands in two articles: so it is no sign of the answer that no other document may hold it.
        return make_chapter(
            self.setting.layout,
            self._address,
            self._size,
            split,
            *(*name, number) if first else name,
            outward=KIND_OF,
            number=None if first else number - _FIRST,
        )


def _few_rivals(chapter: Chapter, number: int, first: Sequence[int], most: int, stream: Stream) -> Iterator[int]:
    """The numbers of articles, of which at most `most` could be taken for article `number`: rivals, which come first.

    A rival states the same relations, or its subject's name shares a part with that of the article's. After the rivals come all other
    articles, at first of each family only as many as there are rivals and the article itself: no subject is known by its likes.
    """
    entities, articles = chapter.world.entities, chapter.articles
    own, group = articles[number].entity, chapter.group_of(number)

    def is_rival(other: int) -> bool:
        entity = entities[articles[other].entity]
        of_kind = entity.kind == entities[own].kind
        return of_kind and (chapter.group_of(other) == group or not {*entities[own].parts}.isdisjoint(entity.parts))

    others = [other for other in chapter.one_each([number, *first], stream) if articles[other].entity != own]
    yield from islice(filter(is_rival, others), most)
    unlike = [other for other in others if not is_rival(other)]
    alike: Counter[int] = Counter()
    for other in unlike:
        family = chapter.families.of[articles[other].entity][0]
        alike[family] += 1
        if alike[family] <= most + 1:
            yield other
    yield from unlike
    yield from (
        other for other in chapter.two_each(unlike, stream) if not is_rival(other) and articles[other].entity != own
    )
