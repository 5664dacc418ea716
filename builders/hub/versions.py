"""Versions of a published data set: what changed between two states of it, and what the next one is called.

Tags are vMAJOR.MINOR.PATCH. Within a MAJOR version the row of an id stays what it is; MINOR adds configs or rows; PATCH changes no row.
A config's build.json is all that is looked at: the rows follow from it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from synthctx_data.manifest import Manifest, differing

_TAG = re.compile(r"v(\d{1,9})\.(\d{1,9})\.(\d{1,9})")
_MAJOR, _MINOR, _PATCH = range(3)
_ROWS_APART = {"synthctx", "shards", "fingerprint", "content"}  # they may differ, and the rows be the same
_SIZES = ("train", "validation")
_SECTION = re.compile(r"## (?P<tag>v\d+\.\d+\.\d+)\n\n(- `.*\n)+\n?")  # as `changelog` writes it
_TITLE = "# Changelog\n\n"


@dataclass(frozen=True)
class Difference:
    """What happened to a config, in words, and the part of the version that it raises."""

    variant: str
    what: str
    part: int

    def __str__(self) -> str:
        return f"`{self.variant}` {self.what}"


def differences(before: Mapping[str, Manifest], after: Mapping[str, Manifest]) -> list[Difference]:
    """What happened to each config that is not the same, by the configs' manifests."""
    found = (_difference(variant, before.get(variant), after.get(variant)) for variant in sorted({*before, *after}))
    return [difference for difference in found if difference]


def latest(tags: Iterable[str]) -> str | None:
    """The latest of the tags that are versions."""
    return max(filter(_TAG.fullmatch, tags), key=_numbers, default=None)


def following(tag: str | None, changes: Iterable[Difference]) -> str:
    """The version after this one, with these changes; the first is v1.0.0."""
    if tag is None:
        return "v1.0.0"
    numbers = list(_numbers(tag))
    part = min(change.part for change in changes)
    return "v" + ".".join(map(str, [*numbers[:part], numbers[part] + 1, 0, 0][:3]))


def changelog(text: str, tags: Iterable[str], tag: str, changes: Iterable[Difference]) -> str:
    """The changelog with a section for `tag` at its top, in place of one for a version that never came to be; the rest stays."""
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
    if _same(before, after, _SIZES) and not _from_answers(after):
        if _grown(before, after):
            return Difference(variant, f"grown: {sizes}, the old ones as they were", _MINOR)
        return Difference(variant, f"cut: {sizes}, those that are left as they were", _MAJOR)
    return Difference(
        variant, f"replaced: {rows(after)}, other rows under the same ids; {_reason(before, after)}", _MAJOR
    )


def rows(manifest: Manifest) -> str:
    """How many rows a config has, in words."""
    return " + ".join(f"{manifest[split]:,} {split}" for split in _SIZES if manifest.get(split)) + " rows"


def _same(before: Manifest, after: Manifest, apart: Iterable[str]) -> bool:
    """Whether the rows are the same; those that both have, if the sizes are apart."""
    return _content(before) == _content(after) and not differing(before, after, {*_ROWS_APART, *apart})


def _content(manifest: Manifest) -> str:
    """The MAJOR part of the content version: with it, rows change."""
    return str(manifest.get("content")).split(".")[0]


def _from_answers(manifest: Manifest) -> bool:
    """Whether rows follow from answers of a language model, whose hash says nothing about the old ones among more of them."""
    return "answers" in manifest


def _grown(before: Manifest, after: Manifest) -> bool:
    return all(before.get(split, 0) <= after.get(split, 0) for split in _SIZES)


def _reason(before: Manifest, after: Manifest) -> str:
    names = differing(before, after, ("synthctx", "shards", "fingerprint"))
    return ", ".join(f"{name} {before.get(name)!r} before, {after.get(name)!r} now" for name in names)
