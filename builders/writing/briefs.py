"""Briefs, which steer requested documents: made-up names, and a domain, a time, a form and a tone drawn for each."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from synthctx_data.prompts import render
from synthctx_data.seeding import Stream, rng
from synthctx_data.world.entities import World, make_world

_SHARED = "llm"
_WORLD = 2048  # entities of a world that names come from; after as many briefs, the next world begins
_WORDS = (70, 80, 90, 100, 110, 120)
KIND_WORDS = {
    "person": "a person",
    "work": "a book, play or song",
    "organisation": "an organisation",
    "place": "a town",
}


@dataclass(frozen=True)
class Brief:
    """The brief of a document: its subject and kind (of synthctx_data/world/entities.py), another name of that kind, its style.

    words: the number of words that its passage should have, about.
    asked: the thing that a question about it asks for.
    """

    subject: str
    kind: str
    other: str
    domain: str
    era: str
    form: str
    register: str
    asked: str
    words: int

    @property
    def kind_words(self) -> str:
        """The kind of the subject in words, such as "a person"."""
        return KIND_WORDS[self.kind]

    @property
    def steering(self) -> str:
        """The lines of a request that describe the document."""
        return render(_SHARED, "brief", it=self).strip()


class Briefs:
    """Briefs by index, each with a subject of its own. `name` names their worlds and random streams.

    No subject of one split is a subject of another.
    """

    def __init__(self, *name: str | int) -> None:
        self._name = name
        self._world = lru_cache(maxsize=2)(self._make_world)

    def draw(self, split: str, index: int, number: int) -> Brief:
        """The brief of this index in draw `number`. Every draw has the same subject."""
        world, turns = self._world(split, index // _WORLD)
        stream = rng(*self._name, split, index, "brief", number)
        entity = turns[index % _WORLD]
        kind = world.entities[entity].kind
        (other,) = _sample(world, kind, 1, stream, (entity,))
        return Brief(
            subject=world.entities[entity].name,
            kind=kind,
            other=world.entities[other].name,
            domain=stream.choice(_lines("domains")),
            era=stream.choice(_lines("eras")),
            form=stream.choice(_lines("forms")),
            register=stream.choice(_lines("registers")),
            asked=stream.choice(_lines("asked")),
            words=stream.choice(_WORDS),
        )

    def names(self, split: str, index: int, purpose: str, kinds: Sequence[str]) -> list[str]:
        """Made-up names, one of each of these kinds. All differ from each other and from the subject of this index."""
        world, turns = self._world(split, index // _WORLD)
        stream = rng(*self._name, split, index, purpose)
        taken = dict.fromkeys([turns[index % _WORLD]])
        for kind in kinds:
            taken.update(dict.fromkeys(_sample(world, kind, 1, stream, taken)))
        return [world.entities[entity].name for entity in list(taken)[1:]]

    def _make_world(self, split: str, number: int) -> tuple[World, list[int]]:
        world = make_world(_WORLD, split, *self._name, "names", number)
        return world, rng(*self._name, split, "turns", number).order(len(world.entities))


@cache
def _lines(block: str) -> tuple[str, ...]:
    return tuple(line for line in render(_SHARED, block).splitlines() if line.strip())


def _sample(world: World, kind: str, count: int, stream: Stream, without: Collection[int]) -> list[int]:
    members = world.by_kind[kind]
    drawn: dict[int, None] = {}
    while len(drawn) < count:
        entity = members[stream.below(len(members))]
        if entity not in without:
            drawn[entity] = None
    return list(drawn)
