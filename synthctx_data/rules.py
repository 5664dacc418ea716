"""Rules that find needles without reading the question, and rules that read it badly.

A rule that ranks gives every document of a row a number, and a needle's document should not stand out. A rule that answers gives
candidates for the answer of a row.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import groupby
from math import log
from typing import Any

from synthctx_data.matching import comparable, mentions

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_NAME = re.compile(r"\S*[A-Z0-9]\S*")
_ENTRY = re.compile(r"^(\S+): (\S+)$", re.MULTILINE)
_PIECE = re.compile(r"\d[\d,]*|[^\W\d_]+|\W|_")
_EDGES = ".,;:?!\"'()"
_BEGINNINGS = frozenset(
    [
        "a",
        "about",
        "after",
        "among",
        "an",
        "as",
        "at",
        "by",
        "during",
        "for",
        "from",
        "how",
        "in",
        "into",
        "it",
        "its",
        "of",
        "on",
        "since",
        "the",
        "there",
        "through",
        "to",
        "under",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "why",
        "with",
    ]
)
_SHORTEST_NAME = 3  # characters
_PRIOR = 5.0  # documents that a wording is assumed to have stood in before, at the usual rate of needles
_K1, _B = 1.5, 0.75  # the usual parameters of BM25


@dataclass(frozen=True)
class RowText:
    """The texts of a row that rules read: its documents in order, and its question.

    needles: the indices of the documents that hold a needle; `last` is that of the last hop.
    answer: the answer, as the last needle words it; empty if the row cites.
    """

    documents: Sequence[str]
    question: str
    needles: frozenset[int]
    last: int
    answer: str

    @cached_property
    def titles(self) -> list[str]:
        """The title of every document; empty for one without."""
        return [title_of(document) for document in self.documents]

    @cached_property
    def sentences(self) -> list[list[str]]:
        """The sentences, or lines, of every document below its title."""
        below = (document[len(title) :].lstrip() for document, title in zip(self.documents, self.titles, strict=True))
        return [_SENTENCE.split(text) for text in below]

    @cached_property
    def normal(self) -> list[str]:
        """Every document, normalised as answers are."""
        return [comparable(document) for document in self.documents]

    @cached_property
    def mentioned(self) -> list[int]:
        """For every document, the number of documents that mention its title, beside those with this title."""
        titles = [comparable(title) for title in self.titles]
        everywhere, alike = _mentioning({*titles} - {""}, self.normal), Counter(titles)
        return [everywhere[title] - alike[title] if title else 0 for title in titles]

    @cached_property
    def names(self) -> list[str]:
        """The normalised names, numbers and keys in the question, the one in the most documents first."""
        found = dict.fromkeys(map(comparable, question_names(self.question)))
        counted = {name: sum(name in text for text in self.normal) for name in found if len(name) >= _SHORTEST_NAME}
        return sorted(filter(counted.get, counted), key=lambda name: -counted[name])


def title_of(document: str) -> str:
    """The title of a document in a prompt: its first line, if it has several lines and this one is no entry; else empty."""
    first = document.partition("\n")[0] if "\n" in document else ""
    return "" if _ENTRY.fullmatch(first) else first


def read_row(row: Mapping[str, Any], cites: bool) -> RowText:
    """The texts of a row."""
    prompt, last = row["prompt"][0]["content"], row["needles"][-1]
    return RowText(
        [prompt[document["start"] : document["end"]] for document in row["documents"]],
        row["question"],
        frozenset(needle["document"] for needle in row["needles"]),
        last["document"],
        "" if cites else prompt[last["answer_start"] : last["answer_end"]],
    )


@dataclass
class History:
    """The things that a rule knows of the rows before: the wordings of needles' documents and of all, and the forms of answers."""

    wordings: Counter[str] = field(default_factory=Counter)
    needles: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    count: int = 0
    gold: int = 0

    def add(self, text: RowText) -> None:
        """Learns from a row, its needles included."""
        for number, sentences in enumerate(text.sentences):
            worded = {skeleton(sentence) for sentence in sentences}
            self.wordings.update(worded)
            if number in text.needles:
                self.needles.update(worded)
        self.shapes[shape(text.answer)] += 1
        self.count += len(text.documents)
        self.gold += len(text.needles)


def skeleton(sentence: str) -> str:
    """The wording of a sentence: its text with X for every run of names, numbers and keys."""
    words = ["X" if _NAME.fullmatch(word) else word for word in sentence.split()]
    return " ".join(word for word, _ in groupby(words))


def shape(answer: str) -> str:
    """A regular expression for texts that look like an answer: with as many words, capitalised or not, and numbers."""
    return "".join(_shape_of(piece) for piece in _PIECE.findall(answer))


def _shape_of(piece: str) -> str:
    if piece[0].isdigit():
        return r"\d[\d,]*"
    if piece[0].isupper():
        return r"[A-Z][^\W\d_]*"
    return r"[^\W\d_]+" if piece[0].isalpha() else re.escape(piece)


def repeated(text: RowText, known: History) -> list[float]:
    """For every document, the most documents that one of its sentences stands in."""
    counted = Counter(sentence for sentences in text.sentences for sentence in set(sentences) if " " in sentence)
    return [max((counted[sentence] for sentence in sentences), default=0) for sentences in text.sentences]


def worded(text: RowText, known: History) -> list[float]:
    """For every document, how often a document with one of its wordings held a needle in earlier rows: the highest share."""
    usual = _PRIOR * known.gold / max(known.count, 1)

    def share(sentence: str) -> float:
        wording = skeleton(sentence)
        return (known.needles[wording] + usual) / (known.wordings[wording] + _PRIOR)

    return [round(max(map(share, sentences), default=0.0), 9) for sentences in text.sentences]


def titled_alike(text: RowText, known: History) -> list[float]:
    """For every document, the number of documents with its title; 0 if it has none."""
    counted = Counter(text.titles)
    return [counted[title] if title else 0 for title in text.titles]


def titled_like(text: RowText, known: History) -> list[float]:
    """For every document, the number of other titles that share a word with its title, articles aside."""
    words = {title: set(comparable(title).split()) for title in text.titles}
    sharing: dict[str, set[str]] = {}
    for title, parts in words.items():
        for part in parts:
            sharing.setdefault(part, set()).add(title)
    counted = {title: len(set().union(*(sharing[part] for part in parts))) for title, parts in words.items()}
    return [counted[title] for title in text.titles]


def mentioned(text: RowText, known: History) -> list[float]:
    """For every document, the number of documents that mention its title."""
    return list(text.mentioned)


def place(text: RowText, known: History) -> list[float]:
    """For every document, its index."""
    return list(range(len(text.documents)))


def characters(text: RowText, known: History) -> list[float]:
    """For every document, its characters."""
    return [len(document) for document in text.documents]


def answer_like(text: RowText, known: History) -> list[float]:
    """For every document, the number of texts in it that look like the commonest kind of answer in earlier rows."""
    ((like, _),) = known.shapes.most_common(1) or [("", 0)]
    pattern = re.compile(rf"\b(?:{like})\b") if like else None
    return [len(pattern.findall(document)) if pattern else 0 for document in text.documents]


def bm25(text: RowText, known: History) -> list[float]:
    """For every document, its BM25 score for the question."""
    return _bm25(text, comparable(text.question).split())


def relation_alone(text: RowText, known: History) -> list[float]:
    """For every document, its BM25 score for the question without its names."""
    names = {word for name in question_names(text.question) for word in comparable(name).split()}
    return _bm25(text, [word for word in comparable(text.question).split() if word not in names])


def common_name(text: RowText, known: History) -> list[float]:
    """For every document, 1 if it holds the name in the question that the most documents hold."""
    return [float(mentions(normal, text.names[:1])) for normal in text.normal]


def rare_name(text: RowText, known: History) -> list[float]:
    """For every document, 1 if it holds the name in the question that the fewest documents hold."""
    return [float(mentions(normal, text.names[1:][-1:])) for normal in text.normal]


def end_of_a_chain(text: RowText, known: History) -> list[float]:
    """As `relation_alone`, but 0 for a document whose title no other document mentions."""
    scores = relation_alone(text, known)
    return [score if times else 0.0 for score, times in zip(scores, text.mentioned, strict=True)]


def of_the_subject(text: RowText) -> list[str]:
    """The texts that look like the answer, in the documents that hold the question's subject."""
    holding = [document for document, holds in zip(text.documents, common_name(text, History()), strict=True) if holds]
    return _like_the_answer(text, holding)


def last_of_its_type(text: RowText) -> list[str]:
    """The last text in the context that looks like the answer."""
    return _like_the_answer(text, text.documents)[-1:]


def of_its_type(text: RowText) -> list[str]:
    """All texts in the context that look like the answer."""
    return _like_the_answer(text, text.documents)


def dead_end(text: RowText) -> list[str]:
    """The value that no entry has as its key, at the end of the chain of entries from a key in the question."""
    values = dict(entry for document in text.documents for entry in _ENTRY.findall(document))
    key = next((word for word in map(_bare, text.question.split()) if word in values), "")
    for _ in range(len(values)):
        if key not in values:
            break
        key = values[key]
    return [comparable(key)] if key else []


Answering = Callable[[RowText], list[str]]
Ranking = Callable[[RowText, History], Sequence[float]]


def _least(rule: Ranking) -> Ranking:
    """The rule that ranks the other way round."""
    return lambda text, known: [-score for score in rule(text, known)]


BLIND: Mapping[str, Ranking] = {
    "says what others say": repeated,
    "worded like needles": worded,
    "shares its title": titled_alike,
    "has its title alone": _least(titled_alike),
    "title like others": titled_like,
    "title mentioned": mentioned,
    "first": _least(place),
    "last": place,
    "longest": characters,
    "shortest": _least(characters),
    "answer's type": answer_like,
}
PLACES = frozenset({"first", "last"})  # rules that read where a document stands
NARROW: Mapping[str, Ranking] = {
    "BM25": bm25,
    "commonest name alone": common_name,
    "rarest name alone": rare_name,
    "relation alone": relation_alone,
}
SINGLE_HOP: Mapping[str, Answering] = {
    "any answer of the subject": of_the_subject,
    "last of its type": last_of_its_type,
}
MULTI_HOP: Mapping[str, Answering] = {"dead end": dead_end, "last of its type": last_of_its_type}


def _mentioning(names: Collection[str], texts: Sequence[str]) -> Counter[str]:
    """The number of normalised texts that mention each name."""
    lengths = {len(name.split()) for name in names}
    counted: Counter[str] = Counter()
    for text in texts:
        words = text.split()
        runs = {" ".join(words[i : i + n]) for n in lengths for i in range(len(words) - n + 1)}
        counted.update(runs.intersection(names))
    return counted


def _like_the_answer(text: RowText, documents: Iterable[str]) -> list[str]:
    """The distinct normalised texts that look like the answer, in order, without the names in the question."""
    if _ENTRY.search(text.documents[text.last]):
        found: list[str] = [value for document in documents for _, value in _ENTRY.findall(document)]
    else:
        pattern = re.compile(rf"\b{shape(text.answer)}\b(?![,\d])")
        found = [match for document in documents for match in pattern.findall(document)]
    distinct = dict.fromkeys(map(comparable, reversed(found)))  # the last place of each counts
    asked = comparable(text.question)
    return [candidate for candidate in reversed(distinct) if candidate not in asked]


def question_names(question: str) -> list[str]:
    """The runs of words in a question that are names, numbers or keys."""
    runs: list[list[str]] = [[]]
    for i, word in enumerate(question.split()):
        named = _NAME.fullmatch(word) and not (i == 0 and word.lower().strip(_EDGES) in _BEGINNINGS)
        if named:
            runs[-1].append(word)
        if not named or word[-1] in _EDGES:
            runs.append([])
    return [" ".join(run).strip(_EDGES) for run in runs if run]


def _bare(word: str) -> str:
    return word.strip(_EDGES)


def _bm25(text: RowText, words: Sequence[str]) -> list[float]:
    counted = [Counter(normal.split()) for normal in text.normal]
    lengths = [counts.total() for counts in counted]
    usual = sum(lengths) / max(len(lengths), 1) or 1.0
    scores = [0.0] * len(counted)
    for word in words:
        holding = sum(word in counts for counts in counted)
        weight = log(1 + (len(counted) - holding + 0.5) / (holding + 0.5))
        for i, counts in enumerate(counted):
            if times := counts[word]:
                scores[i] += weight * times * (_K1 + 1) / (times + _K1 * (1 - _B + _B * lengths[i] / usual))
    return [round(score, 6) for score in scores]


def digest(document: str) -> bytes:
    """A hash of a document, 12 bytes."""
    return blake2b(document.encode("utf-8", "surrogatepass"), digest_size=12).digest()
