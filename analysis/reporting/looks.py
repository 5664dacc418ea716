"""The section of the report that draws on the text where heads look, answer token by answer token."""

import json
from collections.abc import Sequence
from typing import Any

from analysis.engine.trace import OWN, RIGHT, on_needles
from analysis.reporting.collect import Found, Traced, labels
from analysis.reporting.parts import Part, Section, Share, Table

_CALLED = {OWN: "its own answer", RIGHT: "the right answer, given to it"}
Row = dict[str, Any]


def looks(found: Found) -> Section:
    """A part for each row that was traced, with all models that were traced on it."""
    rows: dict[tuple[str, str], list[tuple[Traced, Row]]] = {}
    for traced in found.traces:
        for row in traced.rows:
            rows.setdefault((row["id"], row["message"]), []).append((traced, row))
    says = (
        "Where the highest heads of a model look while it writes a token of an answer: its own, or the right one, which it is made "
        "to write. Choose a token. The stronger the colour of a word, the more attention lies on it. Needles are underlined. What is "
        "not on the text lies on tokens of the chat template, often on the very first, where heads rest; shares below 0.1 % are not "
        "drawn."
    )
    return Section("attention", "Where heads look", says, [_part(group) for group in rows.values()])


def _part(group: Sequence[tuple[Traced, Row]]) -> Part:
    row = group[0][1]
    called = dict(zip((traced.folder for traced, _ in group), labels([traced for traced, _ in group]), strict=True))
    heads = list(dict.fromkeys(head for traced, _ in group for head in traced.heads))
    table = Table(
        ["model", "answer", *(f"{head}: on needles" for head in heads)],
        [
            [
                called[traced.folder],
                f"{said}: {of[name if name == OWN else 'right']}",
                *_shares(traced, of, name, heads),
            ]
            for traced, of in group
            for name, said in _CALLED.items()
            if name in of["answers"]
        ],
    )
    views = [
        {
            "model": called[traced.folder],
            "heads": traced.heads,
            "answers": [
                {"says": f"{said}: {of[name]}", **of["answers"][name]}
                for name, said in _CALLED.items()
                if name in of["answers"]
            ],
        }
        for traced, of in group
    ]
    shared = {name: row[name] for name in ("message", "documents", "needles")}
    note = f"Question: “{row['question']}”. Right: “{' / '.join(row['all_right'])}”."
    drawn = json.dumps({**shared, "views": views}, ensure_ascii=False, separators=(",", ":"))
    return Part(f"{row['id']} of {group[0][0].data}", tables=[table], note=note, drawn=drawn)


def _shares(traced: Traced, row: Row, answer: str, heads: Sequence[str]) -> list[Share | None]:
    """The mean attention of each head on the needles while the answer is written; None for a head that was not traced."""
    shares = [on_needles([row], answer, traced.heads.index(head)) if head in traced.heads else None for head in heads]
    return [None if share is None else Share(share) for share in shares]
