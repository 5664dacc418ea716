"""Templated needles: a chain of relations through a made-up world, each stated by a sentence of an article."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, count, pairwise

from builders.musique_synth.hops import draw_hops
from synthctx_data.distractors import interleave
from synthctx_data.example import Concept, Page, Step
from synthctx_data.matching import comparable, holds
from synthctx_data.prompts import Wording
from synthctx_data.seeding import Stream, rng
from synthctx_data.task import ConceptExpression, Setting
from synthctx_data.world.articles import Chapter, make_chapter, split_wordings, world_size
from synthctx_data.world.entities import BY_SUBJECT, GROUPS, KINDS

_STATED = "mdqa_synth/templated"  # the template of the sentences, and of the question for the last hop
_TRIES = 32  # families of subjects from which rival trees are tried
_ARTICLE = 48  # tokens of an article, about
_BREADTH = 3, 2  # objects of an article that have articles of their own: in large contexts, and in small ones
_SMALL = 8192  # tokens
_PATIENCE = 50  # chains that are drawn from one entity before the next entity's turn


@dataclass(frozen=True, slots=True)
class RelationChain:
    """A chain of relations: `steps` holds, for every hop, an article and the relation that it states.

    `names` holds the first subject, then the object of every hop.
    """

    steps: tuple[tuple[int, str], ...]
    names: tuple[str, ...]


class Templated(ConceptExpression):
    """The concept expression `templated` of MuSiQue. A needle is a sentence about the object of the sentence before.

    A haystack has one article about every subject. The chain is a path of a tree: the other objects of its articles have articles
    too, which state the next relation, and so on. Rival trees of the same relations follow, from the rest of the first subject's
    family and from others. So whoever does not read the first subject, or one of the relations, has many paths to choose from.
    No document but a hop's own links its subject and its object, and no distractor holds the answer. The objects of the last
    relation are not subjects of other articles, whichever article states it.
    """

    name = "templated"
    reads = frozenset({"hops", "completion"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._size = world_size(setting.options.max_tokens)
        self._chapter = lru_cache(maxsize=2)(self._make_chapter)
        self._pick = lru_cache(maxsize=1)(self._find)  # a concept and its haystack are asked for one after the other

    def concept(self, split: str, index: int) -> Concept:
        chapter, found = self._pick(split, index)
        stream = self.rng(split, index, "question")
        phrase = found.names[0]
        for _, relation in found.steps[:-1]:
            phrase = stream.choice(self._ways(f"the_{relation}", split)).fill(subject=phrase)
        asks = self._asks(found.steps[-1][1], split)
        # A long phrase reads best at the end: "Who trained the mayor of ...", and not "By whom was the mayor of ... trained".
        question = stream.choice([ask for ask in asks if ask.pieces[-1] == "?"] or asks).fill(subject=phrase)
        needles = tuple(chapter.needle(number, relation) for number, relation in found.steps)
        return Concept(question, needles[-1].text, (needles[-1].text,), needles, self._steps(split, index, found))

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        chapter, found = self._pick(split, index)
        stream = self.rng(split, index, "haystack")
        gold = [number for number, _ in found.steps]
        trees = list(self._trees(chapter, found, stream))
        # Of every subject of every tree, the others of its family: so no subject is known by having namesakes.
        alike = (
            chapter.of_family(chapter.articles[number].entity, chapter.group_of(number)) for number in interleave(trees)
        )
        order = chapter.one_each(chain(gold, chain.from_iterable(trees), chain.from_iterable(alike)), stream)
        return chapter.pool.pages(order, concept.answers, gold, pairwise(found.names))

    def _trees(self, chapter: Chapter, found: RelationChain, stream: Stream) -> Iterator[list[int]]:
        """The articles of the tree that the chain is a path of, then those of rival trees, as many as a context has room for."""
        tokens = self.setting.options.max_tokens
        breadth = _BREADTH[tokens < _SMALL]
        relations = [relation for _, relation in found.steps]
        room = tokens // _ARTICLE
        on_the_path = {chapter.articles[number].entity for number, _ in found.steps}
        first = chapter.articles[found.steps[0][0]].entity
        for root in _roots(chapter, first, stream):
            tree = _tree(chapter, root, relations, breadth)
            if root == first or on_the_path.isdisjoint(chapter.articles[number].entity for number in tree):
                yield tree
                room -= len(tree)
                if room < 0:
                    return

    def _steps(self, split: str, index: int, found: RelationChain) -> tuple[Step, ...]:
        stream = self.rng(split, index, "decomposition")
        return tuple(
            Step(stream.choice(self._asks(relation, split)).fill(subject=subject), answer)
            for (_, relation), (subject, answer) in zip(found.steps, pairwise(found.names), strict=True)
        )

    def _asks(self, relation: str, split: str) -> tuple[Wording, ...]:
        return split_wordings(_STATED, f"ask_{relation}", split, "subject")

    def _ways(self, block: str, split: str) -> tuple[Wording, ...]:
        return split_wordings(f"{self.setting.task}/{self.name}", block, split, "subject")

    def _find(self, split: str, index: int) -> tuple[Chapter, RelationChain]:
        """The chapter and the chain that an example asks for: the first chain drawn that cannot be cut short."""
        chapter = self._chapter(split, index // self._size)
        hops = draw_hops(self.setting, split, index)
        stream = self.rng(split, index, "needle")
        for attempt in count():
            turn = (index + attempt // _PATIENCE) % self._size
            found = _draw_chain(chapter, chapter.turns[turn], hops, stream)
            if _is_needed(chapter, found):
                return chapter, found
        raise AssertionError

    def _make_chapter(self, split: str, number: int) -> Chapter:
        options, task = self.setting.options, self.setting.task
        name = (options.seed, task, self.name, "chapter", number)
        return make_chapter(self.setting.layout, _STATED, self._size, split, *name, outward=_draw_outward(*name))


def _draw_outward(*name: str | int) -> frozenset[str]:
    """The relations whose objects are no subjects of articles: of each kind but places, one group of those with names as objects."""
    stream = rng(*name, "outward")
    groups = [[group for group in GROUPS[kind] if group[0].object in KINDS] for kind in KINDS]
    return frozenset(relation.name for named in groups if len(named) > 1 for relation in stream.choice(named))


def _draw_chain(chapter: Chapter, entity: int, hops: int, stream: Stream) -> RelationChain:
    world = chapter.world
    steps, names = [], [world.entities[entity].name]
    for hop in range(hops):
        relations = BY_SUBJECT[world.entities[entity].kind]
        leads_on = [r for r in relations if r.object in KINDS and r.name not in chapter.outward]
        relation = stream.choice(leads_on if hop < hops - 1 else [r for r in relations if r not in leads_on])
        steps.append((chapter.article_stating(entity, relation.name), relation.name))
        names.append(world.objects[entity][relation.name])
        if hop < hops - 1:
            entity = chapter.object_of(entity, relation.name)
    return RelationChain(tuple(steps), tuple(names))


def _is_needed(chapter: Chapter, found: RelationChain) -> bool:
    """True if the chain cannot be cut short: if every name of it stands only in the articles of the two hops that it joins."""
    normal = [chapter.pool.normal(number) for number, _ in found.steps]
    names = [comparable(name) for name in found.names]
    if not chapter.says_once(*found.steps[-1]):
        return False
    return len(set(names)) == len(names) and not any(
        holds(text, (name,))
        for hop, text in enumerate(normal)
        for i, name in enumerate(names)
        if i not in (hop, hop + 1)
    )


def _roots(chapter: Chapter, first: int, stream: Stream) -> Iterator[int]:
    """An entity, the rest of its family, and then other families of its kind."""
    kin = chapter.world.by_kind[chapter.world.entities[first].kind]
    others = (entity for i in stream.integers(len(kin), _TRIES) for entity in chapter.families.of[kin[i]])
    return iter(dict.fromkeys(chain([first], chapter.families.of[first], others)))


def _tree(chapter: Chapter, root: int, relations: Sequence[str], breadth: int) -> list[int]:
    """The articles of a tree, level by level: one about the root, then about `breadth` objects of each article before.

    An article at level i states the i-th relation, and one of its objects is that relation's. So whoever does not read the
    relations has as many ways to go on at every level.
    """
    numbers: list[int] = []
    level = [root]
    for hop, relation in enumerate(relations):
        articles = [chapter.article_stating(entity, relation) for entity in level]
        numbers += articles
        if hop < len(relations) - 1:
            level = [
                chapter.object_of(entity, stated)
                for entity, number in zip(level, articles, strict=True)
                for stated in [relation, *(r for r in chapter.articles[number].statements if r != relation)][:breadth]
            ]
    return list(dict.fromkeys(numbers))
