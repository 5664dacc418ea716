"""Plans of experiments: YAML files with all that is decided before the numbers, read and checked."""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from synthctx_data.errors import UsageError
from synthctx_data.files import read_yaml

DTYPE: Literal["float32"] = (
    "float32"  # of all models, on a GPU too, so that what is found does not depend on the machine
)


class Part(BaseModel):
    """A part of a plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Whole(Part):
    """A whole plan."""

    def flat(self) -> dict[str, Any]:
        """All decisions of the plan, by names such as `tuning.epochs`."""
        parts = self.model_dump(mode="json")
        return {
            f"{part}.{name}" if name else part: one
            for part, value in parts.items()
            for name, one in (value.items() if isinstance(value, dict) else [("", value)])
        }


AnyPlan = TypeVar("AnyPlan", bound=Whole)


def read_plan(file: Path, kind: type[AnyPlan], example: Path) -> AnyPlan:
    """The plan in a file. A plan that is `like` another states only the differences, and null for entries to remove.

    Raises: UsageError if the file cannot be read, or holds no valid plan. It names the `example`.
    """
    try:
        return kind.model_validate(_read(file, f"--plan: expected a plan such as {example}"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        got = f", got {first['input']!r}" if where and not isinstance(first["input"], dict) else ""
        raise UsageError(f"--plan: {where or 'the whole'}: {first['msg']}{got} in {file}") from error


def _read(file: Path, expected: str, known: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a plan, with those of the plan that it is like, which may be like another."""
    if file in known:
        raise UsageError(f"{expected}, and {file} is like itself")
    read = read_yaml(file, expected)
    if "like" not in read:
        return read
    like = read.pop("like")
    if not isinstance(like, str):
        raise UsageError(f"{expected}, and `like` in {file} is {like!r}: expected the name of a plan beside it")
    patched: dict[str, Any] = _patched(_read(file.parent / like, expected, (*known, file)), read)
    return patched


def _patched(old: Any, new: Any) -> Any:
    """The old value under a JSON merge patch (RFC 7396)."""
    if not isinstance(new, dict):
        return new
    kept = dict(old) if isinstance(old, dict) else {}
    for key, value in new.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = _patched(kept.get(key), value)
    return kept
