"""The survey of a variant's rows: their number, their tokens, the depths of their needles, and a hash of them all."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from synthctx_data.checks import wrong_spans
from synthctx_data.depths import places
from synthctx_data.example import CHAT
from synthctx_data.floors import Floor, Floors
from synthctx_data.rules import digest

_SHOWN = 16  # hex digits of a hash
_FEW_ROWS = 20  # rows; of fewer, documents may recur by chance
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


@dataclass
class SplitSurvey:
    """The survey of one split.

    tokens, documents: the number of them in each row.
    depths: the depth of each needle, in [0, 1], by hop; none of rows whose spans are wrong.
    """

    tokens: list[int] = field(default_factory=list)
    documents: list[int] = field(default_factory=list)
    depths: dict[int, list[float]] = field(default_factory=dict)
    _digest: Any = field(default_factory=hashlib.sha256)

    def add(self, row: Mapping[str, Any], is_sound: bool) -> None:
        """Adds a row to the survey. `is_sound` is True if its spans are right."""
        self.tokens.append(row["num_tokens"])
        self.documents.append(len(row["documents"]))
        for needle, depth in zip(row["needles"], places(row).needles, strict=True) if is_sound else ():
            self.depths.setdefault(needle["hop"], []).append(depth)
        self._digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    @property
    def rows(self) -> int:
        return len(self.tokens)

    @property
    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of all rows in their order, each as a line of JSON with sorted keys."""
        return str(self._digest.hexdigest()[:_SHOWN])

    @property
    def median_tokens(self) -> int:
        return round(median(self.tokens))

    @property
    def median_documents(self) -> int:
        return round(median(self.documents))


@dataclass
class Survey:
    """The survey of a variant: its splits, and the number of rows whose needles each language model wrote.

    wordings: the share of each question's words that its needles' documents hold, in the first split.
    """

    splits: dict[str, SplitSurvey] = field(default_factory=dict)
    writers: Counter[str] = field(default_factory=Counter)
    wordings: list[float] = field(default_factory=list)
    _documents: Counter[bytes] = field(default_factory=Counter)
    _floors: Floors = field(default_factory=Floors)

    def add(self, split: str, row: Mapping[str, Any]) -> None:
        """Adds a row to the survey. The rows of a split must come in the order of their indices."""
        is_sound = row["concept_expression"] != CHAT and not wrong_spans(row)
        self.splits.setdefault(split, SplitSurvey()).add(row, is_sound)
        if is_sound and split == next(iter(self.splits)):
            self._floors.add(row)
            if row["shared_words"] is not None:
                self.wordings.append(row["shared_words"])
        if len(self._documents) < _MOST_DOCUMENTS:
            prompt = row["prompt"][0]["content"]
            self._documents.update({digest(prompt[d["start"] : d["end"]]) for d in row["documents"]})
        if row["writer"]:
            self.writers[row["writer"]] += 1

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
