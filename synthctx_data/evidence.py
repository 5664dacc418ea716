"""Answers of other forms: behind the needles, word for word, or of several needles together."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NUMBERS = ("two", "three", "four", "five")  # of needles that one question may have in common
_MARK = "\nAnswer: "  # the line that the answer is on


def with_evidence(sentences: Iterable[str], answer: str) -> str:
    """A completion that quotes the needles, a line for each, and then gives the answer on a line of its own."""
    return "\n".join(f'"{" ".join(sentence.split())}"' for sentence in sentences) + f"{_MARK}{answer}"


def answer_of(completion: str) -> str:
    """The answer of a row's completion, without the evidence before it."""
    return completion.rpartition(_MARK)[2]


def all_together(answers: Sequence[str]) -> tuple[str, ...]:
    """The answers to a question that several needles answer: all of theirs, in order, or their number in words."""
    return ", ".join(answers), *NUMBERS[len(answers) - 2 : len(answers) - 1]


def answer_in(row: Mapping[str, Any], text: str) -> str:
    """The answer in a text that answers a row: what follows "Answer:", if the row asks for evidence and the text has it."""
    if _MARK not in row["completion"][0]["content"]:
        return text
    return answer_behind_evidence(text)


def answer_behind_evidence(text: str) -> str:
    """The answer in a text: what follows the last line that begins with "Answer:", or else all of it."""
    return f"\n{text}".rpartition(_MARK.rstrip(" "))[2].strip()
