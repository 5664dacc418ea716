"""A small world with a wording of its own, which no synthetic variant shares: passages and questions.

The names are those of synthctx_data/world/entities.py. Relations between them are drawn anew for every context, so they can be known
only by reading. Half of the time, a passage calls a person, a work or an organisation by a part of the name. Some passages have a
sentence that says nothing.
"""

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from synthctx_data.example import SPLITS
from synthctx_data.seeding import Stream
from synthctx_data.world.entities import KINDS, MAX_SIZE, RELATIONS, Relation, World, make_world

_FILLERS = (
    "Little else is known for sure.",
    "Letters from those days are rare.",
    "Some of this is still disputed.",
    "Visitors often ask about it.",
    "Few records survive.",
    "The rest was lost in a flood.",
)
# Statements of each relation between a subject (S) and its object (O), and questions for the object.
_WAYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "birthplace": (("S came into the world at O.", "It was O that saw S grow up.", "Home, for S, always meant O."),
        ("Which town was home to S?", "At what place did S come into the world?")),
    "employer": (("S drew wages from O.", "O kept S on its payroll.", "Every day S went to a desk at O."),
        ("On whose payroll was S?", "Where did S draw wages?")),
    "mentor": (("S was apprenticed to O.", "O passed every secret on to S.", "S owed it all to old O."),
        ("To whom was S apprenticed?", "To whom did S owe it all?")),
    "author": (("S came from the pen of O.", "O put S on paper.", "The manuscript of S is signed O."),
        ("From whose pen did S come?", "Who put S on paper?")),
    "lead_actor": (("Crowds came to see O in S.", "S made O famous.", "On the poster of S one sees O."),
        ("Whom did S make famous?", "Whom does the poster of S show?")),
    "setting": (("The story of S unfolds in O.", "S brings O to life.", "O is the scene of S."),
        ("Where does the story of S unfold?", "Which town does S bring to life?")),
    "founder": (("O set up S in a shed.", "S was the idea of O.", "S began with O and a loan."),
        ("Whose idea was S?", "With whom did S begin?")),
    "headquarters": (("S is run from O.", "The lights of S burn in O.", "S pays its taxes in O."),
        ("From where is S run?", "Where does S pay its taxes?")),
    "mayor": (("S is governed by O.", "The chain of office of S hangs on O.", "In S the votes went to O."),
        ("By whom is S governed?", "To whom did the votes of S go?")),
    "region": (("Maps show S inside O.", "S pays tribute to O.", "Travelers reach S through O."),
        ("Inside what do maps show S?", "Through what do travelers reach S?")),
}  # fmt: skip
_SAID = {kind: tuple(r for r in RELATIONS if r.subject == kind and r.name in _WAYS) for kind in KINDS}


class Ask(NamedTuple):
    """A question, its answer, and the relation that it asks for."""

    question: str
    answer: str
    relation: str = ""


@dataclass(frozen=True)
class Passage:
    """A document and the questions that it answers."""

    title: str
    text: str
    asks: tuple[Ask, ...]


@cache
def worlds() -> tuple[World, ...]:
    """A world for each split of the synthetic variants, large enough to hold all parts of names."""
    return tuple(make_world(MAX_SIZE, split, "mini") for split in SPLITS)


@cache
def entity_names(kind: str) -> tuple[str, ...]:
    """The names of a kind of entity, or of a kind of object of a relation, in both splits of the synthetic variants."""
    if kind in KINDS:
        return tuple(entity.name for world in worlds() for entity in world.entities if entity.kind == kind)
    relation = next(relation for relation in RELATIONS if relation.object == kind)
    found = (objects[relation.name] for world in worlds() for objects in world.objects if relation.name in objects)
    return tuple(dict.fromkeys(found))


def draw_subjects(stream: Stream, kind: str, count: int, without: Container[str] = ()) -> list[str]:
    """The names of `count` different subjects of a kind, none of them in `without`."""
    found: dict[str, None] = {}
    while len(found) < count:
        name = stream.choice(entity_names(kind))
        if name not in without:
            found[name] = None
    return list(found)


def make_passages(stream: Stream, count: int, without: Container[str] = ()) -> list[Passage]:
    """Passages on different subjects of one kind. All of them state one relation, so a question has distractors."""
    kind = stream.choice(KINDS)
    asked = stream.choice(_SAID[kind])
    return [_passage(stream, subject, asked) for subject in draw_subjects(stream, kind, count, without)]


def _passage(stream: Stream, subject: str, asked: Relation) -> Passage:
    """A passage whose first question asks for a given relation."""
    others = [relation for relation in _SAID[asked.subject] if relation is not asked]
    said = [asked, *stream.shuffled(others)[: stream.below(3) == 0]]
    sentences, asks = [], []
    for relation in said:
        value = stream.choice(entity_names(relation.object))
        statements, questions = _WAYS[relation.name]
        sentences.append(_fill(stream.choice(statements), _called(stream, relation.subject, subject), value))
        asks.append(Ask(_fill(stream.choice(questions), subject), value, relation.name))
    sentences += [stream.choice(_FILLERS)] * (stream.below(4) == 0)
    return Passage(subject, " ".join(stream.shuffled(sentences)), tuple(asks))


def is_worded(ask: Ask, subject: str, number: int) -> bool:
    """True if a question about a subject has the wording of this number for its relation."""
    return ask.question == _fill(_WAYS[ask.relation][1][number], subject)


def _called(stream: Stream, kind: str, name: str) -> str:
    """The name that a passage uses for its subject: the whole name, or the part that people use."""
    if kind == "place" or stream.below(2):
        return name
    return name.split()[0 if kind == "organisation" else -1]


def _fill(way: str, subject: str, value: str = "") -> str:
    return re.sub(r"\b[SO]\b", lambda found: subject if found[0] == "S" else value, way)


def sayings() -> Iterable[str]:
    """All statements, questions and sentences that say nothing, without names."""
    ways = (way for said, asked in _WAYS.values() for way in (*said, *asked))
    return (*(_fill(way, "") for way in ways), *_FILLERS)


def every_name() -> list[str]:
    """The names of all entities and of all objects of relations."""
    return [name for kind in dict.fromkeys([*KINDS, *(r.object for r in RELATIONS)]) for name in entity_names(kind)]
