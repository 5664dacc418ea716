"""Floors of the test questions: how far one gets by guessing, and by the words that question and document share."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from synthctx_data.distractors import Bm25
from synthctx_data.example import Document
from synthctx_data.matching import comparable
from synthctx_data.metrics import answer_f1
from synthctx_data.rules import question_names
from synthctx_data.seeding import rng

GUESS, FOUND, BEST = (
    "a name of the context",
    "a name of BM25's first document",
    "the best name of BM25's first document",
)


def floors(row: Mapping[str, Any]) -> dict[str, float]:
    """The F1 of three rules for a row, in [0, 1].

    Names are runs of capitalised words, and numbers; those in the question do not count. The first two rules take any, so that their F1
    is the mean over all. The third takes the one with the highest F1: a reader who finds by words, and then knows what is asked.
    """
    message, question = row["prompt"][0]["content"], row["question"]
    texts = [message[document["start"] : document["end"]] for document in row["documents"]]
    ranker = Bm25([Document("", text) for text in texts])
    first = next(iter(ranker.order(question, rng("floors", row["id"]))))
    everywhere = [value for text in texts for value in _scores(text, row)]
    found = _scores(texts[first], row)
    return {GUESS: _mean(everywhere), FOUND: _mean(found), BEST: max(found, default=0.0)}


def _scores(text: str, row: Mapping[str, Any]) -> list[float]:
    asked = comparable(row["question"])
    names = [name for name in dict.fromkeys(question_names(text)) if comparable(name) not in asked]
    return [answer_f1(name, row["answers"]) for name in names]


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


def closed_book(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without its documents: the question alone, as it stands behind them."""
    message = row["prompt"][0]["content"]
    return {**row, "prompt": [{"role": "user", "content": message[row["documents"][-1]["end"] :].strip()}]}
