"""Versions of a published data set: the changes between two states of it, and the tag of the next version.

Tags are vMAJOR.MINOR.PATCH. Within a MAJOR version the row of an id stays what it is; MINOR adds configs or rows; PATCH changes
no row. Only the manifests of the configs are compared, since the rows follow from them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from synthctx_data.manifest import Manifest, differing

_TAG = re.compile(r"v(\d{1,9})\.(\d{1,9})\.(\d{1,9})")
_MAJOR, _MINOR, _PATCH = range(3)
_ROWS_APART = {"synthctx", "shards", "fingerprint", "content"}  # these entries may differ while the rows are the same
_SIZES = ("train", "validation")
_SECTION = re.compile(r"## (?P<tag>v\d+\.\d+\.\d+)\n\n(- `.*\n)+\n?")  # as `changelog` writes it
_TITLE = "# Changelog\n\n"


@dataclass(frozen=True)
class Difference:
    """A change of a config, in words, and the part of the version that it raises."""

    variant: str
    what: str
    part: int

    def __str__(self) -> str:
        return f"`{self.variant}` {self.what}"


def differences(before: Mapping[str, Manifest], after: Mapping[str, Manifest]) -> list[Difference]:
    """The changes of all configs that are not the same before and after, by their manifests."""
    found = (_difference(variant, before.get(variant), after.get(variant)) for variant in sorted({*before, *after}))
    return [difference for difference in found if difference]


def latest(tags: Iterable[str]) -> str | None:
    """The latest of the tags that are versions."""
    return max(filter(_TAG.fullmatch, tags), key=_numbers, default=None)


def following(tag: str | None, changes: Iterable[Difference]) -> str:
    """The version after `tag`, with these changes; v1.0.0 if there is none before."""
    if tag is None:
        return "v1.0.0"
    numbers = list(_numbers(tag))
    part = min(change.part for change in changes)
    return "v" + ".".join(map(str, [*numbers[:part], numbers[part] + 1, 0, 0][:3]))


def changelog(text: str, tags: Iterable[str], tag: str, changes: Iterable[Difference]) -> str:
    """The changelog with a section for `tag` at its top. Sections at the top for versions that were never tagged are removed."""
    known = set(tags)
    rest = text.removeprefix(_TITLE)
    while (first := _SECTION.match(rest)) and first["tag"] not in known:
        rest = rest[first.end() :]
    lines = "".join(f"- {change}\n" for change in changes)
    return f"{_TITLE}## {tag}\n\n{lines}\n{rest}".rstrip() + "\n"


def _numbers(tag: str) -> tuple[int, ...]:
    match = _TAG.fullmatch(tag)
    return tuple(map(int, match.groups())) if match else ()


def _difference(variant: str, before: Manifest | None, after: Manifest | None) -> Difference | None:
    if before == after:
        return None
    if before is None or after is None:
        return (
            Difference(variant, "removed", _MAJOR)
            if after is None
            else Difference(variant, f"added: {rows(after)}", _MINOR)
        )
    if _same(before, after, ()):
        return Difference(variant, "written anew, with the same rows", _PATCH)
    sizes = f"{rows(before)} before, {rows(after)} now"
    if _same(before, after, _SIZES) and not _from_answers(after) and after.get("questions", 1) == 1:
        if _grown(before, after):
            return Difference(variant, f"grown: {sizes}, the old ones as they were", _MINOR)
        return Difference(variant, f"cut: {sizes}, those that are left as they were", _MAJOR)
    return Difference(
        variant, f"replaced: {rows(after)}, other rows under the same ids; {_reason(before, after)}", _MAJOR
    )


def rows(manifest: Manifest) -> str:
    """The number of rows of a config by split, in words, such as "1,260 train + 140 validation rows"."""
    return " + ".join(f"{manifest[split]:,} {split}" for split in _SIZES if manifest.get(split)) + " rows"


def _same(before: Manifest, after: Manifest, apart: Iterable[str]) -> bool:
    """True if the rows are the same. If `apart` names the sizes, only rows that both have are compared."""
    return _content(before) == _content(after) and not differing(before, after, {*_ROWS_APART, *apart})


def _content(manifest: Manifest) -> str:
    """The MAJOR part of the content version. It is raised when the row of an id changes."""
    return str(manifest.get("content")).split(".")[0]


def _from_answers(manifest: Manifest) -> bool:
    """True if rows follow from answers of a language model, whose hash does not tell if old answers are among the new ones."""
    return "answers" in manifest


def _grown(before: Manifest, after: Manifest) -> bool:
    return all(before.get(split, 0) <= after.get(split, 0) for split in _SIZES)


def _reason(before: Manifest, after: Manifest) -> str:
    names = differing(before, after, ("synthctx", "shards", "fingerprint"))
    return ", ".join(f"{name} {before.get(name)!r} before, {after.get(name)!r} now" for name in names)
