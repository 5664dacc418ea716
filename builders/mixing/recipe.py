"""The recipe of a mixture: a YAML file with its parts and their weights."""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from builders import find_task
from builders.examples import check_read
from synthctx_data.corpus_files import short
from synthctx_data.errors import UsageError
from synthctx_data.files import expanded, read_yaml
from synthctx_data.option_model import flag, no_option
from synthctx_data.options import MAX_TOKENS, MIN_TOKENS, Options
from synthctx_data.seeding import rng

RECIPES = Path(__file__).resolve().parent / "recipes"
_LIGHTEST, _HEAVIEST = 1e-6, 1e6
_MOST = 10_000_000  # rows of a mixture
Weight = Annotated[float, Field(ge=_LIGHTEST, le=_HEAVIEST, allow_inf_nan=False)]
Place = Annotated[str, Field(min_length=1)]
_NAME = re.compile(r"[a-z]\w*", re.ASCII)
_CHANGES = frozenset({"train", "validation", "tokenizer", "max_tokens"})  # what a call may change
_OWN = (
    "train",
    "validation",
    "store",
    "seed",
    "tokenizer",
    "max_tokens",
)  # options of a build that are said elsewhere in a recipe
_LENGTH = re.compile(r"(?P<tokens>[0-9]+)(:(?P<weight>[0-9.]+))?", re.ASCII)


def _lengths(value: Any) -> dict[int, float] | None:
    """The weights of budgets, from a number of tokens or from a text such as "2048:4,8192:2,32768:1".

    Raises: ValueError for anything else.
    """
    if value is None:
        return None
    parts = [_LENGTH.fullmatch(part.strip()) for part in str(value).split(",")]
    found = {int(part["tokens"]): _weight(part["weight"]) for part in parts if part}
    if len(found) < len(parts) or not all(MIN_TOKENS <= tokens <= MAX_TOKENS and found[tokens] for tokens in found):
        raise ValueError(
            f"expected a number of tokens from {MIN_TOKENS} to {MAX_TOKENS}, or several with weights such as 2048:4,8192:2; got {value!r}"
        )
    return found


def _weight(text: str | None) -> float:
    """The weight in a text, 1 if there is none; 0 if it is no number that can be one."""
    try:
        weight = float(text or 1)
    except ValueError:
        return 0.0
    return weight if _LIGHTEST <= weight <= _HEAVIEST else 0.0


Lengths = Annotated[dict[int, float] | None, BeforeValidator(_lengths)]


def said_lengths(lengths: Mapping[int, float] | None) -> str | None:
    """The text that says the weights of budgets in a recipe."""
    return ",".join(f"{tokens}:{weight:g}" for tokens, weight in lengths.items()) if lengths else None


class Part(BaseModel):
    """A part of a mixture: a variant to build, a set that is built already, or chats of the user's.

    weight: the share of the rows that are this part's, beside the other parts' weights.
    max_tokens: the budgets of a variant, with the share of its rows that each has.
    options: further options of `synthctx build` for a variant.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    variant: Place | None = None
    data: Place | None = None
    chat: Place | None = None
    weight: Weight = 1.0
    max_tokens: Lengths = None
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        named = [name for name in ("variant", "data", "chat") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"expected one of variant, data and chat, got {' and '.join(named) or 'none'}")
        if self.variant is None and (self.options or self.max_tokens):
            raise ValueError(f"expected max_tokens and options beside a variant only, got them beside {named[0]}")
        return self

    @field_serializer("max_tokens")
    def _as_text(self, value: dict[int, float] | None) -> str | None:
        return said_lengths(value)

    @property
    def name(self) -> str:
        """The variant, the address or the file, for messages."""
        return str(self.variant or self.data or self.chat)


class MixtureRecipe(BaseModel):
    """A recipe: the name of the mixture among the variants of a task, the rows of each split, and the parts.

    order: "mixed" means random; "short-first" means rows of few tokens before rows of many, for training in the given order.
    tokenizer, max_tokens: those of every part that has none of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    name: str = "mixture"
    train: Annotated[int, Field(ge=1, le=_MOST)]
    validation: Annotated[int, Field(ge=0, le=_MOST)] = 0
    seed: int = 0
    tokenizer: str | None = None
    max_tokens: Lengths = None
    order: Literal["mixed", "short-first"] = "mixed"
    parts: tuple[Part, ...]

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("expected lower-case letters, digits and underscores, the first a letter")
        return value

    @field_validator("parts")
    @classmethod
    def _are_different(cls, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        if not parts:
            raise ValueError("expected one part at least, got none")
        named = [part.name for part in parts if part.variant is None]
        if twice := next((name for name in named if named.count(name) > 1), None):
            raise ValueError(f"expected different sets and files, got {twice} twice; give it one weight")
        return parts

    @model_validator(mode="after")
    def _is_new(self) -> Self:
        if self.name in find_task(self.task).variants:
            raise ValueError(f"expected a name that no variant of {self.task} has, got {self.name!r}")
        return self

    @field_serializer("max_tokens")
    def _as_text(self, value: dict[int, float] | None) -> str | None:
        return said_lengths(value)

    def options(self, part: Part, number: int, tokens: int, rows: dict[str, int]) -> Options:
        """The options of the build of a part with some rows of a number of tokens. `number` counts the builds of the recipe.

        Each build has a seed of its own, so that no two of them ask for the same needle.

        Raises: UsageError for an option that a variant does not read, or that a part cannot have.
        """
        if "store" in find_task(self.task).variant(str(part.variant)).reads:
            raise UsageError(
                f"a language model writes it; build it first, and name the built set: data: FOLDER:{part.name}"
            )
        for name in _OWN:
            if name in part.options:
                raise UsageError(
                    f"{flag(name)} is no option of a part: the recipe says it, or the part beside its variant"
                )
        seed = rng(self.seed, self.task, self.name, "part", number).below(2**31)
        own = {name: _as_written(name, value) for name, value in part.options.items()}
        given = {"tokenizer": self.tokenizer, "seed": seed, **own}
        found = Options.model_validate({**given, "max_tokens": tokens, **rows})
        check_read(find_task(self.task), str(part.variant), found)
        return found


def read_recipe(place: str | Mapping[str, Any], changes: Mapping[str, Any] = MappingProxyType({})) -> MixtureRecipe:
    """The recipe in a YAML file or a mapping, or the one that comes with synthctx under this name, with changes to it.

    Raises: UsageError if there is none, or if it is no valid recipe.
    """
    values, name = (dict(place), "the recipe") if isinstance(place, Mapping) else _read(place)
    unknown = changes.keys() - _CHANGES
    if unknown:
        raise UsageError(
            f"expected {', '.join(sorted(_CHANGES))} to differ from the recipe, got {', '.join(sorted(unknown))}"
        )
    try:
        found = MixtureRecipe.model_validate({**values, **changes})
    except ValidationError as error:
        where, said = _problem(error)
        raise UsageError(f"{name}: {where}: {said}; see docs/mixtures.md") from None
    if "max_tokens" not in changes:
        return found
    parts = tuple(part.model_copy(update={"max_tokens": None}) for part in found.parts)
    return found.model_copy(update={"parts": parts})


_WANTED = {"tuple_type": "a list", "model_type": "a mapping with a weight and one of variant, data and chat"}


def _problem(error: ValidationError) -> tuple[str, str]:
    """The place of the first problem in a recipe, and what it is."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the whole"
    if first["type"] == "extra_forbidden":
        known = list((MixtureRecipe if len(first["loc"]) == 1 else Part).model_fields)
        return where, f"it is no key of a recipe; {no_option(str(first['loc'][-1]), known)}"
    if first["type"] in _WANTED:
        return where, f"expected {_WANTED[first['type']]}, got {short(first['input'])}"
    return where, first["msg"].removeprefix("Value error, ")


def _read(place: str) -> tuple[dict[str, Any], str]:
    """The values of a recipe, and the file that they are in.

    Raises: UsageError if there is no such file, and no recipe of that name.
    """
    own = RECIPES / f"{place}.yaml"
    file = own if own.is_file() and not Path(place).exists() else expanded(place)
    known = ", ".join(sorted(str(one.relative_to(RECIPES).with_suffix("")) for one in RECIPES.glob("*/*.yaml")))
    expected = f"expected a YAML file with a recipe, or the name of one that comes with synthctx ({known})"
    return read_yaml(file, expected), str(file)


def _as_written(name: str, value: Any) -> Any:
    """The value of an option of a part. YAML reads 2 and 0.5 as numbers where an option is a text."""
    field = Options.model_fields.get(name)
    is_text = field is not None and field.annotation in (str, str | None)
    return str(value) if is_text and isinstance(value, int | float) and not isinstance(value, bool) else value


def divided(total: int, weights: Sequence[float]) -> list[int]:
    """A number of rows, divided by weights: each has its share rounded down, and those with the largest rests have one more."""
    shares = [Fraction(weight).limit_denominator(10**6) for weight in weights]
    exact = [total * share / sum(shares) for share in shares]
    found = [int(one) for one in exact]
    for i in sorted(range(len(exact)), key=lambda i: (found[i] - exact[i], i))[: total - sum(found)]:
        found[i] += 1
    return found
