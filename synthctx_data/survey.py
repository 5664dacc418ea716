"""The survey of a variant's rows: their number, their tokens, the depths of their needles, and a hash of them all."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from synthctx_data.depths import places
from synthctx_data.example import CHAT
from synthctx_data.floors import Floor, Floors
from synthctx_data.row_checks import wrong_spans
from synthctx_data.rules import digest

_SHOWN = 16  # hex digits of a hash
_FEW_ROWS = 20  # rows; of fewer, documents may recur by chance
_AROUND = 150  # characters before and behind an answer that show a needle
_MOST_DOCUMENTS = 2_000_000  # different ones; those of further rows are not counted


class Recurrence(NamedTuple):
    """How often documents recur in some rows: the rows in which the commonest stands, and one does on average."""

    rows: int
    most: int
    mean: float

    @property
    def is_high(self) -> bool:
        """True if some document stands in more than a quarter of the rows."""
        return self.rows >= _FEW_ROWS and self.most > self.rows / 4


class Glimpse(NamedTuple):
    """One row in short: what it asks, the answer, and each needle with the number of its document, from 1, of all `documents`."""

    question: str
    answer: str
    needles: tuple[tuple[int, str], ...]
    documents: int


def glimpse(row: Mapping[str, Any]) -> Glimpse:
    """A row in short. A long needle is cut around its answer."""
    prompt = row["prompt"][0]["content"]
    needles = tuple((needle["document"] + 1, _around_answer(prompt, needle)) for needle in row["needles"])
    return Glimpse(row["question"], row["completion"][0]["content"], needles, len(row["documents"]))


def _around_answer(prompt: str, needle: Mapping[str, int]) -> str:
    start = max(needle["start"], needle["answer_start"] - _AROUND)
    end = min(needle["end"], needle["answer_end"] + _AROUND)
    return f"{'… ' * (start > needle['start'])}{prompt[start:end]}{' …' * (end < needle['end'])}"


@dataclass(slots=True)
class RowFacts:
    """What a survey takes from one row.

    depths: the hop and the depth, in [0, 1], of each needle; none if the row's spans are wrong, or if it is a chat.
    wording: the share of the question's words that the needles' documents hold; None as above, or if there is none.
    texts: hashes of its documents.
    """

    tokens: int
    documents: int
    depths: list[tuple[int, float]]
    wording: float | None
    writer: str
    texts: frozenset[bytes]
    hash: bytes


def facts_of(row: Mapping[str, Any]) -> RowFacts:
    """What a survey takes from a row."""
    prompt = row["prompt"][0]["content"]
    sound = row["concept_expression"] != CHAT and not wrong_spans(row)
    line = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return RowFacts(
        row["num_tokens"],
        len(row["documents"]),
        [(n["hop"], depth) for n, depth in zip(row["needles"], places(row).needles, strict=True)] if sound else [],
        row["shared_words"] if sound else None,
        row["writer"],
        frozenset(digest(prompt[d["start"] : d["end"]]) for d in row["documents"]),
        hashlib.sha256(line.encode()).digest(),
    )


@dataclass
class SplitSurvey:
    """The survey of one split.

    tokens, documents: the number of them in each row.
    depths: the depth of each needle, in [0, 1], by hop; none of rows whose spans are wrong.
    wordings: the share of each question's words that its needles' documents hold.
    """

    tokens: list[int] = field(default_factory=list)
    documents: list[int] = field(default_factory=list)
    depths: dict[int, list[float]] = field(default_factory=dict)
    wordings: list[float] = field(default_factory=list)
    _digest: Any = field(default_factory=hashlib.sha256)

    def take(self, facts: RowFacts) -> None:
        """Adds the next row to the survey."""
        self.tokens.append(facts.tokens)
        self.documents.append(facts.documents)
        for hop, depth in facts.depths:
            self.depths.setdefault(hop, []).append(depth)
        self.wordings.extend([] if facts.wording is None else [facts.wording])
        self._digest.update(facts.hash)

    @property
    def rows(self) -> int:
        return len(self.tokens)

    @property
    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of the SHA-256 of each row in their order, as a line of JSON with sorted keys."""
        return str(self._digest.hexdigest()[:_SHOWN])

    @property
    def median_tokens(self) -> int:
        return round(median(self.tokens))

    @property
    def median_documents(self) -> int:
        return round(median(self.documents))


@dataclass
class Survey:
    """The survey of a variant: its splits, the number of rows whose needles each language model wrote, and its first sound row in short."""

    splits: dict[str, SplitSurvey] = field(default_factory=dict)
    writers: Counter[str] = field(default_factory=Counter)
    example: Glimpse | None = None
    _documents: Counter[bytes] = field(default_factory=Counter)
    _floors: Floors = field(default_factory=Floors)
    _first: str = ""

    def add(self, split: str, row: Mapping[str, Any]) -> None:
        """Adds a row to the survey. The rows of a split must come in the order of their indices."""
        self.take(split, facts_of(row))
        self.judge(split, row)

    def take(self, split: str, facts: RowFacts) -> None:
        """Adds the next row of a split, without judging it."""
        self._first = self._first or split
        self.splits.setdefault(split, SplitSurvey()).take(facts)
        if len(self._documents) < _MOST_DOCUMENTS:
            self._documents.update(facts.texts)
        if facts.writer:
            self.writers[facts.writer] += 1

    def judge(self, split: str, row: Mapping[str, Any]) -> bool:
        """True if further rows are wanted for the floors, which are those of the first split."""
        self._first = self._first or split
        if split != self._first:
            return False
        if row["concept_expression"] != CHAT and not wrong_spans(row):
            self.example = self.example or glimpse(row)
            self._floors.add(row)
        return not self._floors.is_full

    @property
    def wordings(self) -> list[float]:
        """The share of each question's words that its needles' documents hold, in the first split."""
        return next(iter(self.splits.values())).wordings if self.splits else []

    @property
    def recurrence(self) -> Recurrence:
        """How often documents recur: in how many rows the commonest one stands, and in how many one stands on average."""
        rows = sum(split.rows for split in self.splits.values())
        counts = self._documents.values()
        return Recurrence(rows, max(counts, default=0), sum(counts) / max(len(counts), 1))

    @property
    def floors(self) -> list[Floor]:
        """How far rules get on the first split that never read the question, or that read it badly."""
        return self._floors.floors()
