"""The base of all models of options. An option is declared once, and is a flag, a line of YAML and an argument in Python."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Self

from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from synthctx_data.errors import UsageError

SEVERAL = Parameter(consume_multiple=True)  # a flag that takes all words up to the next flag


class OptionModel(BaseModel):
    """Options by name, checked when they are made, and never changed after that. The text below an option is its help.

    Raises: UsageError for a value that cannot be used, for a name that is no option, and for a missing option.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        for field in cls.model_fields.values():  # whose text may go over several lines
            field.description = " ".join((field.description or "").split())

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_line(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            raise UsageError(_first_problem(cls, error)) from None

    def changed(self) -> dict[str, Any]:
        """The options that are not at their defaults, by name."""
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        return {name: getattr(self, name) for name in defaults if getattr(self, name) != defaults[name]}


def divide(values: Mapping[str, Any], *models: type[OptionModel]) -> list[Any]:
    """The options in values, divided among the models that have them.

    Raises: UsageError if a value cannot be used, or if no model has an option of that name.
    """
    known = {name for model in models for name in model.model_fields}
    unknown = next((name for name in values if name not in known), None)
    if unknown is not None:
        raise UsageError(no_option(unknown, sorted(known)))
    return [model(**{name: values[name] for name in model.model_fields if name in values}) for model in models]


def panel(title: str, order: int) -> Parameter:
    """The mark of an option that the help shows under this title. Panels of a lower `order` come first."""
    return Parameter(group=Group(title, sort_key=order))


def flag(name: str) -> str:
    """The flag of an option: "--max-tokens" for max_tokens."""
    return f"--{name.replace('_', '-')}"


def no_option(name: str, known: Sequence[str]) -> str:
    """A message about a name that is none of the known ones, with the nearest of these."""
    near = get_close_matches(name, known, 1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"expected options among {', '.join(known)}; got {name!r}{meant}"


def _first_problem(kind: type[BaseModel], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "missing":
        return f"{flag(name)} is missing: {kind.model_fields[name].description}"
    if first["type"] == "extra_forbidden":
        return no_option(name, list(kind.model_fields))
    if first["type"] == "too_short":
        least, got = first["ctx"]["min_length"], first["ctx"]["actual_length"]
        return f"{flag(name)}: expected {least} or more, got {got}"
    if first["type"] == "string_too_short":
        return f"{flag(name)}: expected something, got ''"
    if first["type"] == "string_pattern_mismatch":
        return f"{flag(name)}: expected a text of the pattern {first['ctx']['pattern']}, got {first['input']!r}"
    expected = first["msg"].removeprefix("Input should be ")
    return f"{flag(name)}: expected {expected}, got {first['input']!r}"
