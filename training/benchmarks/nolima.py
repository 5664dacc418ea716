"""NoLiMa (Modarressi et al. 2025): needles that share no words with their questions, in shuffled books.

The needles lie in FOLDER/needlesets/needle_set.json and the books in FOLDER/haystack/rand_shuffle, as its data set has them. Needles go
where its own program puts them, at 26 depths, in as many tokens of the model as are asked for.

Source: github.com/adobe-research/NoLiMa, evaluation/run_tests.py, evaluation/async_evaluate.py and data/book_haystack.py
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from synthctx_data.errors import DatasetError, UsageError
from synthctx_data.seeding import rng
from training.benchmarks.entries import Entry, read_entries

METRIC = "accuracy"
NEEDLES, BOOKS = Path("needlesets", "needle_set.json"), Path("haystack", "rand_shuffle")
_DEPTHS = 26
_SEED = 42
_ANSWER_TOKENS = 64
_CHARACTER = "{CHAR}"
_NUMBERED = re.compile(r"[0-9]{4}")
_MOST_CHARACTERS = 16  # of a token, on average over the beginning of a book
_OURS = """\
Below is a part of a book.

{haystack}

Answer the question from what it says, or from what follows from that. Give the answer alone, in a few words.

Question: {question}"""


@dataclass(frozen=True)
class _Test:
    """A needle and its question, with one of its names for each number in braces."""

    entry: Entry
    name: str
    needle: str
    question: str
    answers: list[str]
    characters: list[str]
    seed: int


def rows(
    needles: Path, books: Path, tokens: int, tokenizer: Any, prompts: Mapping[str, str], limit: int | None
) -> Iterator[dict[str, Any]]:
    """The rows of all needles, questions, books and depths, in a random order: so the first `limit` are a sample of them.

    tokens: of the book that is around the needle.

    Raises: UsageError if there are no books, or a needle set that has distractors; DatasetError if a file is not as NoLiMa has it.
    """
    names = sorted(books.glob("*.txt"))
    if not names:
        raise UsageError(f"--data: expected books of NoLiMa in {books}, such as rand_book_1.txt; found none")
    entries = enumerate(read_entries(needles))
    tests = [
        one for i, values in entries for one in _tests(Entry(values, "nolima", needles, f"{needles.name}-{i}", prompts))
    ]
    haystacks = [_Book(name, tokens, tokenizer) for name in names]
    places = list(product(range(len(tests)), range(len(names)), range(_DEPTHS)))
    chosen = rng("nolima").order(len(places))[:limit]
    for test, book, depth in (places[i] for i in chosen):
        yield _row(tests[test], haystacks[book], book, depth)


def _row(test: _Test, book: "_Book", number: int, depth: int) -> dict[str, Any]:
    needle, question, answers = test.needle, test.question, test.answers
    if _CHARACTER in needle:  # drawn for one depth after the other, as numpy's old generator draws
        draws = np.random.RandomState(test.seed + number)
        name = [str(draws.choice(test.characters)) for _ in range(depth + 1)][-1]
        needle, question, answers = needle.replace(_CHARACTER, name), question.replace(_CHARACTER, name), [name]
    haystack = book.around(needle, depth / (_DEPTHS - 1))
    asked = test.entry.prompt("nolima", _OURS, haystack=haystack, question=question)
    row = test.entry.row(test.name, asked, answers, _ANSWER_TOKENS, num_tokens=book.tokens)
    return {**row, "id": f"{test.name}-{book.name}-{depth}"}


def _tests(entry: Entry) -> Iterator[_Test]:
    """The tests of a needle: each kind of question, with each set of names."""
    questions, tests = entry.values.get("questions"), entry.values.get("tests")
    if entry.values.get("distractors"):
        raise UsageError("--data: expected a needle set of NoLiMa without distractors, such as needle_set.json")
    if not isinstance(questions, dict) or not isinstance(tests, dict):
        entry.refuse("tests" if isinstance(questions, dict) else "questions", "an object")
    number = entry.text("id")
    if not _NUMBERED.match(number):
        entry.refuse("id", "a text that begins with a number of four digits")
    seed = _SEED + int(number[:4])
    for (kind, question), (name, test) in product(questions.items(), tests.items()):
        if not isinstance(test, dict) or not isinstance(question, str):
            entry.refuse("tests", "tests with input_args, and questions that are texts")
        part = replace(entry, values={"character_set": [], **entry.values, **test})
        names = {f"{{{i}}}": value for i, value in enumerate(part.texts("input_args"), 1)}
        needle, asked = entry.text("needle"), question
        for place, value in names.items():
            needle, asked = needle.replace(place, value), asked.replace(place, value)
        answers = part.texts("gold_answers") if test.get("gold_answers") else []
        characters = part.texts("character_set") if entry.values.get("character_set") else []
        if not (answers or (characters and _CHARACTER in needle)):
            entry.refuse("character_set", "the names that may stand for {CHAR}")
        yield _Test(entry, f"{number}_{name}_{kind}", needle, asked, answers, characters, seed)


class _Book:
    """The beginning of a book, and the places between its lines."""

    def __init__(self, file: Path, tokens: int, tokenizer: Any) -> None:
        self.name, self.tokens = file.stem, tokens
        try:
            self._text = file.read_text(encoding="utf-8")[: 3 * tokens * _MOST_CHARACTERS]
        except (OSError, ValueError) as error:
            raise DatasetError(f"{file}: expected a book in UTF-8: {error}") from error
        offsets = tokenizer(self._text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        self._starts = [start for start, _ in offsets]
        self._ends = [end for _, end in offsets]
        self._lines = [0, *(i for i, (start, end) in enumerate(offsets) if "\n" in self._text[start:end])]

    def around(self, needle: str, depth: float) -> str:
        """The text of as many tokens as the book was opened for, with the needle behind the first line end at or after a depth in [0, 1].

        Raises: UsageError if the book is too short.
        """
        at = bisect_left(self._lines, depth, key=lambda line: line / (self.tokens + 1))
        line = self._lines[at] if at < len(self._lines) else len(self._starts)
        start = line - round(self.tokens * depth)
        if line >= len(self._starts) or start < 0 or start + self.tokens > len(self._starts):
            raise UsageError(
                f"--haystack-tokens {self.tokens}: expected a book of as many tokens, and {self.name} has fewer, or too few line ends"
            )
        before = self._text[self._starts[start] : self._ends[line]]
        behind = self._text[self._ends[line] : self._ends[start + self.tokens - 1]]
        return before[: max(before.rfind("\n"), 0)] + f" {needle}\n{behind}"


def score(row: Mapping[str, Any], prediction: str) -> float:
    """1 if the prediction holds one of the answers, as it is written; else 0."""
    return float(any(answer in prediction for answer in row["answers"]))
