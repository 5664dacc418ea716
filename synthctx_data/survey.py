"""The survey of a variant's rows: their number, their tokens, the depths of their needles, and a hash of them all."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

_SHOWN = 16  # hex digits of a hash


@dataclass
class SplitSurvey:
    """The survey of one split.

    tokens, documents: the number of them in each row.
    depths: the depth of each needle, from 0 (first document) to 1 (last), by hop.
    """

    tokens: list[int] = field(default_factory=list)
    documents: list[int] = field(default_factory=list)
    depths: dict[int, list[float]] = field(default_factory=dict)
    _digest: Any = field(default_factory=hashlib.sha256)

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row to the survey."""
        documents = len(row["documents"])
        self.tokens.append(row["num_tokens"])
        self.documents.append(documents)
        for needle in row["needles"]:
            self.depths.setdefault(needle["hop"], []).append(needle["document"] / max(documents - 1, 1))
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
    """The survey of a variant: its splits, and the number of rows whose needles each language model wrote."""

    splits: dict[str, SplitSurvey] = field(default_factory=dict)
    writers: Counter[str] = field(default_factory=Counter)

    def add(self, split: str, row: Mapping[str, Any]) -> None:
        """Adds a row to the survey. The rows of a split must come in the order of their indices."""
        self.splits.setdefault(split, SplitSurvey()).add(row)
        if row["writer"]:
            self.writers[row["writer"]] += 1
