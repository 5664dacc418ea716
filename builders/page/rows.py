"""Rows as the page shows them: a summary of each, and its text in pieces that are plain, a needle or an answer."""

import base64
import gzip
import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from synthctx_data.depths import places
from synthctx_data.example import CHAT
from synthctx_data.matching import comparable, mentions
from synthctx_data.row_checks import wrong_spans
from synthctx_data.rules import question_names

PLAIN, NEEDLE, ANSWER = 0, 1, 2  # kinds of a piece of text
KINDS = {
    "needle": "holds a needle",
    "distractor": "distractor: holds a name, number or key of the question, but no needle",
    "haystack": "haystack: holds no needle, and nothing that the question names (a name counts if its words begin with capitals)",
}
_SHOWN = 600  # characters of a needle in a summary
Piece = tuple[int, str]


def summary(row: Mapping[str, Any], index: int) -> dict[str, Any]:
    """What is known of a row without its text: question, answers, needles in pieces, and what rows are filtered by.

    depths: of its needles, in [0, 1], in tenths. A chat, or a row whose spans are wrong, has no needles here.
    """
    prompt, sound = row["prompt"][0]["content"], is_sound(row)
    needles = row["needles"] if sound else []
    return {
        "index": index,
        "id": row["id"],
        "question": row["question"] or prompt[-_SHOWN:],
        "answer": row["completion"][0]["content"],
        "needles": [
            {
                "hop": needle["hop"],
                "document": needle["document"] + 1,
                "text": _clipped(pieces(prompt, needle, [needle])),
            }
            for needle in needles
        ],
        "depths": [round(depth, 3) for depth in places(row).needles] if sound else [],
        "hops": len(needles),
        "tokens": row["num_tokens"],
        "documents": len(row["documents"]),
        "writer": row["writer"],
        "damaged": "" if sound or row["concept_expression"] == CHAT else wrong_spans(row),
    }


def is_sound(row: Mapping[str, Any]) -> bool:
    """True if the row's spans can be shown: it is no chat, and they are right."""
    return row["concept_expression"] != CHAT and not wrong_spans(row)


def whole_text(row: Mapping[str, Any]) -> dict[str, Any]:
    """The text of a row: what stands before its documents, the documents with their kinds, what stands behind them, and the answer."""
    prompt, documents = row["prompt"][0]["content"], row["documents"] if is_sound(row) else []
    found: dict[str, Any] = {"before": prompt, "documents": [], "after": "", "answer": row["completion"][0]["content"]}
    if not documents:
        return found
    names = [name for name in map(comparable, question_names(row["question"])) if name]
    end = (
        prompt[: documents[0]["start"]].rstrip("\n").rfind("\n") + 1
    )  # of what stands before the first document and its heading
    found["before"], found["after"] = prompt[:end], prompt[documents[-1]["end"] :]
    for number, document in enumerate(documents):
        own = [needle for needle in row["needles"] if needle["document"] == number]
        text = prompt[document["start"] : document["end"]]
        kind = "needle" if own else "distractor" if names and mentions(comparable(text), names) else "haystack"
        found["documents"].append(
            {"kind": kind, "above": prompt[end : document["start"]], "text": pieces(prompt, document, own)}
        )
        end = document["end"]
    return found


def pieces(prompt: str, span: Mapping[str, int], needles: list[Mapping[str, int]]) -> list[Piece]:
    """The text of a span in pieces, in order, each with its kind. Needles may overlap: a character is of the highest of its kinds."""
    borders = {span["start"], span["end"]}
    for needle in needles:
        borders.update(needle[name] for name in ("start", "end", "answer_start", "answer_end"))
    ordered = sorted(border for border in borders if span["start"] <= border <= span["end"])
    return [(_kind(start, needles), prompt[start:end]) for start, end in pairwise(ordered) if start < end]


def _kind(at: int, needles: list[Mapping[str, int]]) -> int:
    if any(needle["answer_start"] <= at < needle["answer_end"] for needle in needles):
        return ANSWER
    return NEEDLE if any(needle["start"] <= at < needle["end"] for needle in needles) else PLAIN


def _clipped(text: list[Piece]) -> list[Piece]:
    """The pieces, a long one without its middle, so that the answer stays."""
    return [
        (kind, said if len(said) <= _SHOWN else f"{said[: _SHOWN // 2]} … {said[-_SHOWN // 2 :]}")
        for kind, said in text
    ]


def packed(value: Any) -> str:
    """A value as JSON, gzipped, in base64: it holds no character that ends a script. The same value gives the same text."""
    content = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")


def numbered(rows: Iterator[Mapping[str, Any]], wanted: set[int]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Those of the rows whose index is wanted, with it."""
    last = max(wanted, default=-1)
    for index, row in enumerate(rows):
        if index > last:
            return
        if index in wanted:
            yield index, row
