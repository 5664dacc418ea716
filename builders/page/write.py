"""Writes the page: its head, what was checked, and every row packed by itself, so that a browser unpacks only what it shows."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from builders.page.rows import KINDS, numbered, packed, summary, whole_text
from synthctx_data import __version__
from synthctx_data.dataset import BuiltVariant
from synthctx_data.examine import Examined
from synthctx_data.files import whole
from synthctx_data.floors import MEANINGS
from synthctx_data.pages import rendered
from synthctx_data.seeding import rng

HERE = Path(__file__).resolve().parent
_EXPRESSIONS = {
    "real": "needles are real passages, with real questions",
    "grounded": "needles are in a user's passages, about which a language model wrote questions",
    "llm": "needles are passages that a language model wrote",
    "templated": "needles are sentences from templates, about made-up subjects",
    "symbolic": "needles are random keys with random values",
}
_AMONG = {
    "real": "among other real passages",
    "grounded": "among the user's other passages",
    "llm": "among other passages that it wrote",
    "templated": "among articles about other made-up subjects",
    "symbolic": "among more random keys and values",
}


@dataclass(frozen=True)
class Shown:
    """A variant on the page. rows: of its split; None if nobody knows. examined: None if it was not checked."""

    variant: BuiltVariant
    rows: int | None
    examined: Examined | None


def sampled(count: int, sample: int) -> list[int]:
    """The indices of the rows that are shown, in order: all, or a random sample, the same for every variant."""
    if count <= sample:
        return list(range(count))
    return sorted(rng("page", count).shuffled(range(count))[:sample])


def write_page(
    title: str, shown: Sequence[Shown], split: str, wanted: Sequence[int], file: Path, advance: Callable[[int], object]
) -> Path:
    """The file of the page, whole or absent. `advance` is called with the number of further rows that were written."""
    head, tail = rendered(
        HERE / "page.html.jinja",
        title=title,
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
        about=packed(_about(title, shown, split)),
        kinds=KINDS,
    ).split("<!-- rows -->")
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        whole(file) as aside,
        aside.open("w", encoding="utf-8") as page,
        TemporaryFile("w+", encoding="utf-8", dir=file.parent) as texts,
    ):
        page.write(head)
        for number, one in enumerate(shown):
            page.write(_chunk(f"rows-{number}", _write_texts(one.variant, number, split, wanted, texts, advance)))
        texts.seek(0)
        shutil.copyfileobj(
            texts, page
        )  # behind all summaries, so that the browser shows something before it has read them
        page.write(tail)
    return file


def _write_texts(
    variant: BuiltVariant,
    number: int,
    split: str,
    wanted: Sequence[int],
    texts: IO[str],
    advance: Callable[[int], object],
) -> list[dict[str, Any]]:
    """The summaries of a variant's rows, after the texts of the rows are written."""
    rows = (row for of, row in variant.rows() if of == split)
    summaries = []
    for index, row in numbered(rows, set(wanted)):
        texts.write(_chunk(f"row-{number}-{index}", whole_text(row)))
        summaries.append(summary(row, index))
        advance(1)
    return summaries


def _chunk(name: str, value: Any) -> str:
    return f'<script type="text/plain" id="{name}">{packed(value)}</script>\n'


def _about(title: str, shown: Sequence[Shown], split: str) -> dict[str, Any]:
    return {
        "title": title,
        "split": split,
        "version": __version__,
        "variants": [
            {
                "name": one.variant.name,
                "says": _meaning(one.variant.name),
                "rows": one.rows,
                **_manifest(one.variant),
                **_checked(one.examined),
            }
            for one in shown
        ],
    }


def _meaning(variant: str) -> str:
    """What a variant's name says of its needles and of what is around them; empty if it is no name of a cell of the grid."""
    expression, _, context = variant.partition("_")
    around = {
        "haystack": _AMONG.get(expression),
        "limited": f"{_AMONG.get(expression)}; only questions that the templates cover",
        "padding": "among a few sentences that are repeated",
    }
    return f"{_EXPRESSIONS[expression]}, {around[context]}" if expression in _EXPRESSIONS and context in around else ""


def _manifest(variant: BuiltVariant) -> dict[str, Any]:
    named = ("task", "max_tokens", "seed", "fingerprint", "train", "validation")
    return {"built": {name: variant.manifest[name] for name in named if name in variant.manifest}}


def _checked(examined: Examined | None) -> dict[str, Any]:
    if examined is None:
        return {"checked": False}
    found = examined.as_json()
    return {
        "checked": True,
        "faults": [{"kind": kind, "count": len(told), "first": told[:3]} for kind, told in found["faults"].items()],
        "floors": [{**one, "says": MEANINGS[one["rule"]]} for one in found["floors"]],
    }
