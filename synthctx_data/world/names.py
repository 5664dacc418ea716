"""The names of made-up entities, put together from invented syllables and plain words."""

from dataclasses import dataclass
from functools import cache
from itertools import product

from synthctx_data.example import SPLITS

_FEW_MIDDLES = "al an ar el en er il in ol or"  # in the longer names of people
_MIDDLES = " ".join(vowel + end for vowel in "aeiou" for end in "bdgklmnprstv")  # in those of places and organisations
_PAIRED = 36  # nouns that may follow one in the longer titles of works


@dataclass(frozen=True)
class Names:
    """The names of a kind: the form that joins their two parts, and the first and second parts that there are."""

    form: str
    firsts: list[str]
    seconds: list[str]

    def __len__(self) -> int:
        return len(self.firsts) * len(self.seconds)

    def at(self, number: int) -> tuple[str, tuple[str, str]]:
        """The name of this number, and its two parts."""
        first, second = divmod(number, len(self.seconds))
        parts = self.firsts[first], self.seconds[second]
        return self.form.format(*parts), parts


def joined(*parts: str) -> list[str]:
    """All ways to take a word of each part, joined."""
    return ["".join(chosen) for chosen in product(*(part.split(" ") for part in parts))]


_ADJECTIVES = (
    "amber ancient autumn bitter blue bright broken bronze burning careful cold copper crimson crooked crystal "
    "dark distant double early eastern empty endless fallen final first floating flying forgotten fragile frozen gentle "
    "giant glass golden green grey hidden hollow honest hungry idle inner iron ivory jagged last late little lonely lost "
    "lunar marble midnight narrow nameless northern odd old open painted pale paper patient purple quiet rapid red restless "
    "rising royal ruined rusty sacred salt scarlet second secret seventh shallow silent silver simple sleeping slow small "
    "smoky southern stone stolen strange summer swift tall third tiny unseen velvet violet wandering western white wild "
    "winter wooden yellow young"
)
_NOUNS = (
    "anchor apple arrow ash atlas bakery balcony barrel basket beacon bell bird boat book bottle bridge brother candle canyon "
    "captain carpet castle cellar chapel chest city clock cloud coast compass corner crown dance daughter desert door dream "
    "drum eagle echo engine falcon farm feather fence field fire fisher flag flute forest fountain fox garden gate ghost giant "
    "glove guitar harbor harvest hill horizon horse hour house hunter island journey key kingdom kite ladder lake lantern "
    "letter library lighthouse lion machine map market mask meadow mirror moon mountain museum needle night oak ocean orchard "
    "orchid oven owl palace parade path pearl piano pigeon pilot planet pocket prairie promise queen railway raven ribbon "
    "ring river road rose sailor shadow shepherd ship shore signal sister song spring staircase star station storm stranger "
    "street sword tailor theater thief tide tower traveler tunnel valley village violin voice wagon wall watch well "
    "whale wheel willow window wolf"
)


@cache
def words() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Plain adjectives and nouns, each list without repetition."""
    return tuple(_ADJECTIVES.split()), tuple(_NOUNS.split())


def _people(middles: str = "") -> Names:
    first = joined(
        "Al Bel Cor Dar El Fen Gar Hal Is Jor Kel Lor Mir Nel Or Per Quin Ros Sel Tam",
        "a an en eth ia ik in is on or wyn",
    )
    last = joined(
        "Ab Bran Cald Dren Esk Farr Gren Hol Ilv Jast Karr Lund Morv Nor Ost Pell Rav Stav Thorn Ulm Vask Wend",
        middles,
        "by el er ett ham ic ingen ley man mere ow quist son ter",
    )
    return Names("{} {}", first, last)


def _places(middles: str = "") -> Names:
    start = joined(
        "Ar Bor Cas Dun El Fal Gol Har Il Jes Kor Lin Mar Nov Or Pen Quar Ras Sor Tor Ul Vel Wen Yar Zel Bram Clar Gris Sten Tres",
        "an b d en g ist k m or t",
        middles,
    )
    end = [
        "bank",
        "bay",
        "burg",
        "bury",
        "cross",
        "dale",
        "fell",
        "field",
        "ford",
        "gate",
        "haven",
        "hill",
        "holm",
        "keep",
        "lea",
        "lund",
        "mere",
        "minster",
        "mouth",
        "ness",
        "port",
        "reach",
        "ridge",
        "stad",
        "stead",
        "stow",
        "thorpe",
        "vale",
        "wick",
        "worth",
    ]
    return Names("{}{}", start, end)


def _organisations(middles: str = "") -> Names:
    start = joined(
        "Ad Bex Cam Dex Fin Gal Hex In Jax Kin Lux Max Nex Ox Pax Ral Syn Tri Vex Zen",
        middles,
        "ara eo ico ima ix olo on or um us",
    )
    end = [
        "Airlines",
        "Alliance",
        "Analytics",
        "Architects",
        "Association",
        "Bakeries",
        "Bank",
        "Biologics",
        "Brewery",
        "Broadcasting",
        "Ceramics",
        "Chemicals",
        "Clinics",
        "Construction",
        "Dynamics",
        "Electric",
        "Energy",
        "Engineering",
        "Fisheries",
        "Foods",
        "Foundation",
        "Freight",
        "Glassworks",
        "Holdings",
        "Hotels",
        "Insurance",
        "Institute",
        "Instruments",
        "Laboratories",
        "Logistics",
        "Mining",
        "Motors",
        "Optics",
        "Outfitters",
        "Press",
        "Railways",
        "Records",
        "Robotics",
        "Shipping",
        "Software",
        "Steel",
        "Studios",
        "Textiles",
        "Theatres",
        "Timber",
        "Travel",
        "Union",
        "Vineyards",
        "Watches",
        "Water",
    ]
    return Names("{} {}", start, end)


def _works(paired: int = 0) -> Names:
    adjectives, nouns = ([word.title() for word in some] for some in words())
    longer = [f"{one} {other}" for i in range(1, paired + 1) for one, other in zip(nouns, nouns[i:], strict=False)]
    return Names("The {} {}", adjectives, longer or nouns)


@cache
def short_names(kind: str, split: str) -> Names:
    """The names of a kind for a split. No split has a name of another."""
    match kind:
        case "person":
            return _of_split(_people(), split)
        case "work":
            return _of_split(_works(), split)
        case "organisation":
            return _of_split(_organisations(), split)
    return _of_split(_places(), split)


@cache
def longer_names(kind: str, split: str) -> Names:
    """Over 250,000 further names of a kind for a split. They are longer, and none of them is a short name of any split."""
    match kind:
        case "person":
            names, short = _people(_FEW_MIDDLES), _people()
        case "work":
            names, short = _works(_PAIRED), _works()
        case "organisation":
            names, short = _organisations(_MIDDLES), _organisations()
        case _:
            names, short = _places(_MIDDLES), _places()
    firsts = names.firsts if names.firsts == short.firsts else _without(names.firsts, short.firsts)
    seconds = names.seconds if names.seconds == short.seconds else _without(names.seconds, short.seconds)
    return _of_split(Names(names.form, firsts, seconds), split)


def _without(parts: list[str], short: list[str]) -> list[str]:
    return list(dict.fromkeys(part for part in parts if part not in {*short}))


def _of_split(names: Names, split: str) -> Names:
    return Names(names.form, names.firsts[SPLITS.index(split) :: len(SPLITS)], names.seconds)
