"""Floors: how far rules get that never read the question, or that read it badly, beside chance."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean, pstdev
from typing import Any

from synthctx_data.example import is_citation
from synthctx_data.matching import comparable
from synthctx_data.rules import (
    BLIND,
    MULTI_HOP,
    NARROW,
    SINGLE_HOP,
    Answering,
    History,
    RowText,
    digest,
    end_of_a_chain,
    of_its_type,
    read_row,
)

_ROWS, _FEWEST = 300, 40  # rows of a split that are judged: at most, and at least
_CHARACTERS = 4_000_000  # no further row is judged once so many characters were, except of the fewest
_FEW = 20  # rows: of fewer, no rule is called too good
_FAR, _ERRORS = 0.1, 4.0  # how far above chance a rule is too good: so much, and so many standard errors


@dataclass(frozen=True)
class Floor:
    """How far a rule gets over some rows, beside chance: both in [0, 1].

    Of a rule that ranks documents, `score` is the share of the needles' documents among as many documents as there are needles,
    and `chance` is that of documents chosen at random. Of a rule that answers, `score` is the share of right answers, and
    `chance` that of any text of the context that looks like the answer. `error` is the standard error of their difference.
    """

    rule: str
    reads: bool
    rows: int
    score: float
    chance: float
    error: float

    @property
    def is_far(self) -> bool:
        """True if the score is far above chance, over as many rows as it takes to tell."""
        return self.rows >= _FEW and self.score - self.chance > max(_FAR, _ERRORS * self.error)


RECURRENCE = {"stands in few rows": -1, "stands in many rows": 1}  # rules that rank documents by this times their rows

MEANINGS = {
    "stands in few rows": "takes documents that appear in the fewest other examples",
    "stands in many rows": "takes documents that appear in the most other examples",
    "says what others say": "takes documents with a sentence or entry that stands in other documents too",
    "worded like needles": "takes documents with a wording that needles' documents had in earlier examples",
    "shares its title": "takes documents whose title stands above several documents",
    "has its title alone": "takes documents whose title stands above no other document",
    "title like others": "takes documents whose title shares a word with most other titles",
    "title mentioned": "takes documents whose title stands in most other documents",
    "first": "takes the first documents",
    "last": "takes the last documents",
    "longest": "takes the longest documents",
    "shortest": "takes the shortest documents",
    "answer's type": "takes documents with the most texts that look like the answers of earlier examples",
    "BM25": "ranks documents by the question's words",
    "commonest name alone": "takes documents with the commonest name of the question",
    "rarest name alone": "takes documents with the rarest name of the question",
    "relation alone": "ranks documents by the question's words without the names",
    "end of a chain": "ranks documents whose title another document mentions by the question's words without the names",
    "any answer of the subject": "answers with any text of the right form in documents with the question's name",
    "last of its type": "answers with the last text of the right form",
    "dead end": "follows entries from the question's key until there is none",
}  # of each rule


@dataclass
class Floors:
    """A collector of floors: call `add` with the rows of one split, then `floors`.

    Rules that learn do so from the rows before. To keep this cheap, the first 300 rows are judged, or fewer (at least 40) if they are long.
    """

    _known: History = field(default_factory=History)
    _scores: dict[tuple[str, bool], list[tuple[float, float]]] = field(default_factory=dict)
    _documents: list[tuple[list[bytes], frozenset[int]]] = field(default_factory=list)
    _rows: int = 0
    _characters: int = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Judges a row by every rule, if not enough rows were judged yet."""
        if not row["needles"] or self.is_full:
            return
        cites = is_citation(row["completion"][0]["content"])
        text = read_row(row, cites)
        self._rows += 1
        self._characters += sum(map(len, text.documents))
        for rules, reads in ((BLIND, False), (NARROW, True)):
            for name, rule in rules.items():
                self._keep(
                    name, reads, _found(rule(text, self._known), text.needles), len(text.needles) / len(text.documents)
                )
        self._documents.append(([digest(document) for document in text.documents], text.needles))
        if len(text.needles) > 1 and not cites:
            last = _found(end_of_a_chain(text, self._known), {text.last})
            self._keep("end of a chain", True, last, 1 / len(text.documents))
        if not cites:
            self._answer(text, MULTI_HOP if len(text.needles) > 1 else SINGLE_HOP)
        self._known.add(text)

    @property
    def is_full(self) -> bool:
        """True if enough rows were judged."""
        return self._rows >= _ROWS or (self._rows >= _FEWEST and self._characters >= _CHARACTERS)

    def floors(self) -> list[Floor]:
        """The floors of all rules, those that never read the question first."""
        found = [_floor(rule, reads, scores) for (rule, reads), scores in self._scores.items()]
        return [*self._recurring(), *found]

    def _recurring(self) -> Iterator[Floor]:
        """The floors of rules that know in how many of the judged rows a document stands."""
        rows = Counter(one for documents, _ in self._documents for one in set(documents))
        for rule, sign in RECURRENCE.items():
            scores = [
                (_found([sign * rows[one] for one in documents], needles), len(needles) / len(documents))
                for documents, needles in self._documents
            ]
            if scores:
                yield _floor(rule, False, scores)

    def _answer(self, text: RowText, rules: Mapping[str, Answering]) -> None:
        right = comparable(text.answer)
        candidates = len(of_its_type(text))
        for name, rule in rules.items():
            found = rule(text)
            self._keep(name, True, (right in found) / max(len(found), 1), 1 / max(candidates, 1))

    def _keep(self, rule: str, reads: bool, score: float, chance: float) -> None:
        self._scores.setdefault((rule, reads), []).append((score, chance))


def _found(scores: Sequence[float], needles: frozenset[int] | set[int]) -> float:
    """The share of the needles' documents among as many documents of the highest scores, ties broken at random."""
    wanted = len(needles)
    border = sorted(scores, reverse=True)[wanted - 1]
    above = {i for i, score in enumerate(scores) if score > border}
    tied = {i for i, score in enumerate(scores) if score == border}
    hits = len(above & needles) + (wanted - len(above)) * len(tied & needles) / len(tied)
    return hits / wanted


def _floor(rule: str, reads: bool, scores: Sequence[tuple[float, float]]) -> Floor:
    differences = [score - chance for score, chance in scores]
    error = pstdev(differences) / sqrt(len(differences))
    return Floor(rule, reads, len(scores), fmean(s for s, _ in scores), fmean(c for _, c in scores), error)
