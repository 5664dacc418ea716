"""Rows in tokens, with the ranges of the answer, the question, the needles and the documents."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase as Tokenizer

from synthctx_data.errors import DatasetError, ModelError
from synthctx_data.evidence import answer_of
from synthctx_data.layout import SENTENCE_END
from training.turns import IGNORED, encode, end_of_answer, render_prompt, render_row, tokenize

Span = Literal["needle", "sentence"]  # what counts as a needle: the whole of it, or the sentence with its answer


@dataclass(frozen=True)
class Tokens:
    """A row as a model reads it. Ranges are indices into `ids`. A token that is partly in a span is in its range.

    `ids[:prompt]` comes before the completion. `answer` is the answer in it, without evidence and without the tokens that end it.
    `needles` are the hops in order, or the cited documents. Each needle includes its answer; for a citation this is the number in the
    line above the document. `gold` has the document of each needle, with the line above it.
    """

    id: str
    ids: tuple[int, ...]
    prompt: int
    answer: range
    question: range
    needles: tuple[range, ...]
    gold: tuple[range, ...]
    documents: tuple[range, ...]

    @property
    def context(self) -> int:
        """The number of tokens in front of the question. Several questions on the same documents share these tokens."""
        return self.question.start


def tokens_of(tokenizer: Tokenizer, row: dict[str, Any], span: Span = "needle") -> Tokens:
    """A row of a data set as a model reads it: the token ids, and the tokens of the answer, the question, needles and documents.

    Under the span "sentence" a needle is only the sentence (or line) that states its answer.

    Raises: ModelError if the tokenizer does not say which characters each token covers; DatasetError if the chat template changes
    the text of the row, or if nothing is left of an answer or a needle; UsageError if the template does not ask and train alike, or if
    nothing ends an answer.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"expected a tokenizer that tells which characters its tokens are (a fast one), got {type(tokenizer).__name__}"
        )
    if not row["documents"]:
        raise DatasetError(
            f"{row['id']}: expected a row with documents, and this is a chat; score heads on another split"
        )
    end_of_answer(tokenizer)
    encoded, prompt = encode(tokenizer, row), render_prompt(tokenizer, row)
    text, edges, start = _rendered(tokenizer, row)
    message, answer = row["prompt"][0]["content"], row["completion"][0]["content"]
    answered = _find(text, answer.strip(), len(prompt), row["id"]) + len(answer.strip())
    stated = len(answer_of(answer.strip()))
    asked = _find(message, row["question"], row["documents"][-1]["end"], row["id"])
    end = start + len(message.rstrip())

    def tokens(first: int, last: int) -> range:
        return _range(edges, start + first, start + last)

    found = Tokens(
        id=row["id"],
        ids=tuple(encoded["input_ids"]),
        prompt=encoded["labels"].count(IGNORED),
        answer=_range(edges, answered - stated, answered),
        question=_range(edges, start + asked, min(start + asked + len(row["question"]), end)),
        needles=tuple(tokens(*_characters(message, row, needle, span)) for needle in row["needles"]),
        gold=tuple(tokens(*_document(message, row, needle["document"])) for needle in row["needles"]),
        documents=tuple(tokens(document["start"], document["end"]) for document in row["documents"]),
    )
    if not found.answer or not all(found.needles) or not found.needles:
        raise DatasetError(
            f"{row['id']}: expected an answer and needles that have tokens, and this tokenizer has none for some of them"
        )
    return found


def characters_of(tokenizer: Tokenizer, row: dict[str, Any]) -> tuple[list[tuple[int, ...]], list[str]]:
    """The characters of the user's message that each token of a row covers, as (start, end), and the text of each token.

    A token outside the message, such as one of the chat template, covers none: (). The tokens are those of `tokens_of`.
    """
    text, edges, start = _rendered(tokenizer, row)
    size = len(row["prompt"][0]["content"])
    covered: list[tuple[int, ...]] = [
        (max(first - start, 0), min(last - start, size))
        if first < last and start < last and first < start + size
        else ()
        for first, last in edges.tolist()
    ]
    return covered, [text[first:last] for first, last in edges.tolist()]


def _rendered(tokenizer: Tokenizer, row: dict[str, Any]) -> tuple[str, NDArray[np.int64], int]:
    """The text of a row's training sequence, the characters (token, 2) of its tokens, and the first character of the user's message."""
    text, message = render_row(tokenizer, row), row["prompt"][0]["content"]
    edges = np.array(tokenize(tokenizer, text, return_offsets_mapping=True)["offset_mapping"])
    return text, edges, _find(text, message.strip(), 0, row["id"]) - (len(message) - len(message.lstrip()))


def whole_needle(needle: dict[str, int]) -> tuple[int, int]:
    """The characters of the user's message that count as a needle: with its answer, for a citation the number above the document."""
    return min(needle["start"], needle["answer_start"]), max(needle["end"], needle["answer_end"])


def _characters(message: str, row: dict[str, Any], needle: dict[str, int], span: Span) -> tuple[int, int]:
    """The first character of a needle, and the one behind its last."""
    if span == "needle":
        return whole_needle(needle)
    first, last = _document(message, row, needle["document"])
    ends = [first, *(found.end() for found in SENTENCE_END.finditer(message, first, last)), last]
    start = max(end for end in ends if end <= needle["answer_start"])
    start += len(message[start:last]) - len(message[start:last].lstrip())
    return start, min(end for end in ends if end >= needle["answer_end"])


def _document(message: str, row: dict[str, Any], number: int) -> tuple[int, int]:
    """The first character of a document, in the line above it that has its number, and the one behind its last."""
    document = row["documents"][number]
    above = message.rfind("\n", 0, max(document["start"] - 1, 0)) + 1
    return above, document["end"]


def _find(text: str, part: str, start: int, name: str) -> int:
    found = text.find(part, max(start, 0))
    if found < 0:
        raise DatasetError(
            f"{name}: expected {part[:40]!r} in what the model reads, and the chat template changes it; take one that keeps "
            "texts as they are"
        )
    return found


def _range(edges: NDArray[np.int64], start: int, end: int) -> range:
    """The range of tokens that overlap some characters. Special tokens have no characters."""
    first, last = edges.T
    found = np.flatnonzero((last > start) & (first < end) & (last > first))
    return range(int(found[0]), int(found[-1]) + 1) if len(found) else range(0)


def neutral(tokenizer: Tokenizer, row: dict[str, Any], span: Span = "needle") -> Tokens:
    """The row with the question "N/A", which asks for nothing. It shows what heads do without a question.

    Raises: ModelError if the tokenizer has no token for it.
    Source: QRHead (arXiv 2506.09944), which takes this as its null query.
    """
    message = row["prompt"][0]["content"]
    at = message.index(row["question"], row["documents"][-1]["end"])
    content = f"{message[:at]}N/A{message[at + len(row['question']) :]}"
    found = tokens_of(tokenizer, {**row, "question": "N/A", "prompt": [{"role": "user", "content": content}]}, span)
    if not found.question:
        raise ModelError(
            "expected a tokenizer that has tokens for the neutral question N/A, and this one's drops it; take --no-calibrate, or another "
            "score than qrhead"
        )
    return found
