"""A made-up world: people, works, organisations and places, and the relations between them.

Names are put together from invented syllables and plain words, so that no model knows them and no library's word list can
change them. A world is closed: the place where somebody was born is one of its places. So relations form chains.
"""

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

from synthctx_data.example import SPLITS
from synthctx_data.seeding import Stream, rng
from synthctx_data.world.names import joined, longer_names, short_names

_MOST_NAMES = 4096  # of a kind: those of the largest world
MAX_SIZE = 16384  # entities: every kind has names for a quarter of them in each split
_FAMILY = 5  # the most entities of a family
KINDS = ("person", "work", "organisation", "place")


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation, such as birthplace: its name, the kind of its subjects, and the type of its objects.

    The relations of one kind of subject come in groups of three with objects of one type. An article states a whole group, so
    whoever reads only the subject and the type of the answer is left with three objects.

    `asks` is a regular expression that finds real questions, in lower case, that ask for this relation; empty if there is none.
    `between` is the range of a number or count, or the years of a date or year since the subject's first year.
    """

    name: str
    subject: str
    object: str
    asks: str = ""
    between: tuple[int, int] = (0, 0)


RELATIONS = (
    Relation("birthplace", "person", "place", r"^where (was|were|is|did) .*\b(born|grow up|raised)\b"),
    Relation("home", "person", "place", r"^where (does|do|did) .*\b(live|reside|settle)\b"),
    Relation("burial", "person", "place", r"^where (is|was|are|were) .*\bburied\b"),
    Relation("mentor", "person", "person", r"^who (taught|trained|mentored|influenced)\b"),
    Relation("biographer", "person", "person"),
    Relation("assistant", "person", "person"),
    Relation("employer", "person", "organisation", r"\b(play|plays|played|work|works|worked) for\b"),
    Relation("first_job", "person", "organisation"),
    Relation("client", "person", "organisation"),
    Relation("birth_date", "person", "date", r"^(when|what year|what day) .*\b(born|birthday)\b", (0, 20)),
    Relation("wedding_date", "person", "date", r"^when (did|was|were) .*\b(married|marry|wed)\b", (41, 50)),
    Relation("death_date", "person", "date", r"^(when|what year) (did|was) .*\b(die|died|killed|pass away)\b", (61, 90)),
    Relation("author", "work", "person", r"^who (wrote|writes|composed|created|made|directed|produced|(is|was) the (author|writer))\b"),
    Relation("lead_actor", "work", "person", r"^who (plays|played|stars|starred|voices|voiced|portrayed|(is|was) the (actor|actress|voice)\b)"),
    Relation("singer", "work", "person", r"^who (sang|sings|sung|recorded|performed|originally|(is|was) the (singer|original singer|lead singer))\b"),
    Relation("setting", "work", "place", r"^where (was|is|were|are|did|does|do) .*\b(filmed|shot|set in|take place)\b"),
    Relation("premiere_place", "work", "place"),
    Relation("archive", "work", "place"),
    Relation("filming_date", "work", "date", r"^when (did|was) .*\b(filmed|start filming)\b", (80, 90)),
    Relation("release_date", "work", "date", r"^(when|what year) (did|does|do|was|is|will) .*\b(come out|coming out|released|air|premiere|published)\b", (91, 92)),
    Relation("revival_date", "work", "date", "", (105, 130)),
    Relation("episodes", "work", "number", r"^how many (episodes|seasons|chapters|books|parts|movies|series)\b", (104, 480)),
    Relation("extras", "work", "number", "", (120, 960)),
    Relation("shooting_days", "work", "number", "", (110, 690)),
    Relation("founder", "organisation", "person", r"^who (founded|started|established|invented|discovered|built|developed|(is|was) the (founder|inventor))\b"),
    Relation("chief", "organisation", "person", r"^who (owns|owned|runs|heads|leads|(is|was) the (current )?(ceo|owner|president|head|chairman|director|leader|captain|coach))\b"),
    Relation("treasurer", "organisation", "person"),
    Relation("headquarters", "organisation", "place", r"^where (is|are|was|were) .*\b(headquarters|headquartered|based|head office)\b"),
    Relation("warehouse", "organisation", "place"),
    Relation("training_centre", "organisation", "place"),
    Relation("founding_year", "organisation", "year", r"^(when|what year) (was|were) .*\b(founded|established|created|formed|started|set up)\b", (0, 30)),
    Relation("listing_year", "organisation", "year", "", (50, 90)),
    Relation("moving_year", "organisation", "year", "", (31, 49)),
    Relation("employees", "organisation", "count", r"^how many (employees|people work|members|players)\b", (1_040, 9_800)),
    Relation("shareholders", "organisation", "count", "", (2_100, 29_000)),
    Relation("customers", "organisation", "count", "", (10_400, 290_000)),
    Relation("mayor", "place", "person", r"^who (is|was) the (\w+ ){0,3}(mayor|governor|minister|chief|king|queen|emperor|chancellor|secretary)\b"),
    Relation("architect", "place", "person", r"^who (designed|is the architect|was the architect)\b"),
    Relation("chronicler", "place", "person"),
    Relation("region", "place", "land", r"^(what|which) (state|country|county|region|province|district|continent) (is|was|are|does) (?!.*\b(border|share))"),
    Relation("river", "place", "land", r"\b(what|which) (\w+ )?(river|sea|ocean|lake)\b"),
    Relation("forest", "place", "land"),
    Relation("population", "place", "count", r"^(what|how).*\bpopulation of (?!.*\b(percent|study))|^how many people live\b", (3_200, 96_000)),
    Relation("library_books", "place", "count", "", (4_100, 88_000)),
    Relation("visitors", "place", "count", "", (10_200, 240_000)),
)  # fmt: skip

BY_SUBJECT: Mapping[str, tuple[Relation, ...]] = {
    kind: tuple(relation for relation in RELATIONS if relation.subject == kind) for kind in KINDS
}
KIND_OF: Mapping[str, str] = {
    relation.name: relation.object for relation in RELATIONS
}  # the type of each one's objects
GROUPS: Mapping[str, tuple[tuple[Relation, ...], ...]] = {
    kind: tuple(tuple(group) for _, group in groupby(relations, key=lambda relation: relation.object))
    for kind, relations in BY_SUBJECT.items()
}


@dataclass(frozen=True, slots=True)
class Entity:
    """A made-up entity. Two of the same kind that share one of the two `parts` of their names are easily confused."""

    kind: str
    name: str
    parts: tuple[str, str]


@dataclass(frozen=True, slots=True)
class World:
    """A made-up world: entities of every kind, and for each entity the objects of its relations, by the relation's name."""

    entities: tuple[Entity, ...]
    objects: tuple[Mapping[str, str], ...]
    by_kind: Mapping[str, tuple[int, ...]]
    by_part: Mapping[tuple[str, str], tuple[int, ...]] = field(repr=False)
    by_name: Mapping[tuple[str, str], int] = field(repr=False)


class Families:
    """The entities of a world in families: up to five of one kind whose names share a part, and which are easily confused.

    A haystack holds whole families, so that a needle's subject is not known by being like others. `all` holds the families,
    and `of[entity]` the family of an entity.
    """

    def __init__(self, world: World, stream: Stream) -> None:
        self.all: list[list[int]] = []
        self.of: dict[int, list[int]] = {}
        for entity in stream.order(len(world.entities)):
            if entity not in self.of:
                family = [entity, *self._free_namesakes(world, entity, stream)]
                self.all.append(family)
                self.of.update(dict.fromkeys(family, family))

    def _free_namesakes(self, world: World, entity: int, stream: Stream) -> list[int]:
        """Other entities that share one part of this one's name, and that have no family yet."""
        mine = world.entities[entity]
        free = [[i for i in world.by_part[mine.kind, part] if i != entity and i not in self.of] for part in mine.parts]
        return stream.shuffled(stream.choice([found for found in free if found] or [[]]))[: _FAMILY - 1]


def make_world(
    size: int,
    split: str,
    *name: str | int,
    variety: int = 2**32,
    outward: Collection[str] = (),
    number: int | None = None,
) -> World:
    """A world of `size` entities (at most MAX_SIZE), the same number of each kind, drawn from the stream `name`.

    No entity of one split has the name of one of another split. `variety` is the most different numbers, and first years, that
    dates, years, numbers and counts are made of: the smaller, the more entities share each. The objects of the relations
    `outward` are not entities of this world, but have names of the same kind, as long as there are enough. Worlds of one stream and
    size with a `number` below `numbered_worlds(size, split)` share no entity's name with each other, nor with any world without a
    number.
    """
    each = size // len(KINDS)
    if number is None:
        names = {kind: _entities(kind, split, rng(*name, split, kind)) for kind in KINDS}
    else:
        names = {kind: _further_entities(kind, split, number * each, *name) for kind in KINDS}
        name = (*name, number)
    entities = tuple(entity for kind in KINDS for entity in names[kind][:each])
    by_kind: dict[str, list[int]] = {kind: [] for kind in KINDS}
    by_part: dict[tuple[str, str], list[int]] = {}
    for i, entity in enumerate(entities):
        by_kind[entity.kind].append(i)
        for part in entity.parts:
            by_part.setdefault((entity.kind, part), []).append(i)
    options = {kind: [entity.name for entity in found] for kind, found in names.items()}
    return World(
        entities,
        _objects(entities, options, each, variety, outward, split, *name),
        {kind: tuple(members) for kind, members in by_kind.items()},
        {part: tuple(members) for part, members in by_part.items()},
        {(entity.kind, entity.name): i for i, entity in enumerate(entities)},
    )


def numbered_worlds(size: int, split: str) -> int:
    """The number of worlds of `size` entities of which no two share an entity's name."""
    return min(len(longer_names(kind, split)) for kind in KINDS) // (size // len(KINDS))


def _objects(
    entities: Sequence[Entity],
    names: Mapping[str, Sequence[str]],
    each: int,
    variety: int,
    outward: Collection[str],
    split: str,
    *name: str | int,
) -> tuple[Mapping[str, str], ...]:
    """The objects of every entity. `names` holds the names of each kind, of which the first `each` are entities."""
    # Dates follow each other: nobody dies before the wedding.
    firsts = {
        kind: [
            _FIRST_YEAR + n % variety * _FIRST_STEP % _FIRST_YEARS
            for n in rng(*name, split, kind, "first year").integers(2**32, each)
        ]
        for kind in KINDS
    }
    drawn: dict[str, list[str]] = {}
    for relation in RELATIONS:
        stream = rng(*name, split, relation.name)
        if relation.object in KINDS:
            inner, outer = names[relation.object][:each], names[relation.object][each:]
            far = relation.name in outward and len(outer) >= each
            drawn[relation.name] = (
                [outer[i] for i in stream.order(len(outer))[:each]] if far else _matched(inner, stream)
            )
        else:
            value = _VALUES[relation.object]
            low, high = relation.between
            some = stream.integers(2**32, variety) if variety < each else []
            numbers = [some[n % variety] if some else n for n in stream.integers(2**32, each)]
            drawn[relation.name] = [
                value(n, (first if relation.object in _TIMES else 0) + low + n % (high - low + 1))
                for n, first in zip(numbers, firsts[relation.subject], strict=True)
            ]
    return tuple(
        {relation.name: drawn[relation.name][i % each] for relation in BY_SUBJECT[entity.kind]}
        for i, entity in enumerate(entities)
    )


def _matched(names: Sequence[str], stream: Stream) -> list[str]:
    """For every name of a kind another one: nobody governs two towns, and nobody is their own mentor."""
    order = stream.order(len(names))
    after = dict(zip(order, [*order[1:], *order[:1]], strict=True))
    return [names[after[i]] for i in range(len(names))]


def _entities(kind: str, split: str, stream: Stream) -> list[Entity]:
    """All entities of a kind that a split may name, in random order."""
    names = short_names(kind, split)
    return [Entity(kind, *names.at(i)) for i in stream.order(len(names))[:_MOST_NAMES]]


def _further_entities(kind: str, split: str, start: int, *name: str | int) -> list[Entity]:
    """Entities of a kind with longer names, from place `start` on in a random order of all of these."""
    names, order = longer_names(kind, split), _further_order(kind, split, *name)
    return [Entity(kind, *names.at(order[i % len(order)])) for i in range(start, start + _MOST_NAMES)]


@lru_cache(maxsize=len(SPLITS) * len(KINDS))
def _further_order(kind: str, split: str, *name: str | int) -> "array[int]":
    return array("I", rng(*name, split, kind, "longer names").order(len(longer_names(kind, split))))


_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_LANDS = joined(
    "Al Ber Cyr Dol Er Fal Gav Hest Isk Jor Kest Lav Mend Nes Ost Pol Rhen Sav Thal Umb Vand Wex Yor Zan Brem Clov Drost Grev Stor Trem",
    "ade agan ava ell enna essa ine ona oth avia eria isle ora ume arn esk",
)
_FIRST_YEAR, _FIRST_YEARS, _FIRST_STEP = 1830, 60, 7  # the step and the number of years have no common divisor
_TIMES = frozenset({"date", "year"})  # types whose numbers count from a first year

# By the type of an object: its text, made of a random number and of a number in the relation's range.
_VALUES: Mapping[str, Callable[[int, int], str]] = {
    "date": lambda n, year: f"{n // 97 % 28 + 1} {_MONTHS[n // 2716 % 12]} {year}",
    "year": lambda n, year: str(year),
    "number": lambda n, number: str(number),
    "count": lambda n, number: f"{number:,}",
    "land": lambda n, number: _LANDS[n % len(_LANDS)],
}
