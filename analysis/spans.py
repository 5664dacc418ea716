"""Rows in tokens, with the ranges of the answer, the question, the needles and the documents."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase as Tokenizer

from synthctx_data.errors import DatasetError, ModelError
from training.sequences import IGNORED, encode, render_prompt, render_row, require_end, tokenize


@dataclass(frozen=True)
class Tokens:
    """A row as a model reads it. Ranges are indices into `ids`. A token that is partly in a span is in its range.

    `ids[:prompt]` comes before the answer. `answer` leaves out the tokens that end the answer. `needles` are the hops in order, or
    the cited documents. Each needle includes its answer; for a citation this is the number in the line above the document.
    """

    id: str
    ids: tuple[int, ...]
    prompt: int
    answer: range
    question: range
    needles: tuple[range, ...]
    documents: tuple[range, ...]

    @property
    def context(self) -> int:
        """The number of tokens in front of the question. Several questions on the same documents share these tokens."""
        return self.question.start


def tokens_of(tokenizer: Tokenizer, row: dict[str, Any]) -> Tokens:
    """A row of a data set as a model reads it: the token ids, and the tokens of the answer, the question, needles and documents.

    Raises: ModelError if the tokenizer does not say which characters each token covers; DatasetError if the chat template changes
    the text of the row; UsageError if the tokenizer has neither chat template nor end token.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"expected a tokenizer that tells which characters its tokens are (a fast one), got {type(tokenizer).__name__}"
        )
    require_end(tokenizer)
    encoded, text = encode(tokenizer, row), render_row(tokenizer, row)
    prompt = render_prompt(tokenizer, row)
    shared = next((i for i, (a, b) in enumerate(zip(text, prompt, strict=False)) if a != b), len(prompt))
    edges = np.array(tokenize(tokenizer, text, return_offsets_mapping=True)["offset_mapping"])
    message, answer = row["prompt"][0]["content"], row["completion"][0]["content"]
    start = _find(text, message.strip(), 0, row["id"]) - (len(message) - len(message.lstrip()))
    answered = _find(text, answer.strip(), max(shared, start + len(message.rstrip())), row["id"])
    after = row["documents"][-1]["end"]
    asked = _find(message, row["question"], after, row["id"])
    end = start + len(message.rstrip())
    return Tokens(
        id=row["id"],
        ids=tuple(encoded["input_ids"]),
        prompt=encoded["labels"].count(IGNORED),
        answer=_range(edges, answered, answered + len(answer.strip())),
        question=_range(edges, start + asked, min(start + asked + len(row["question"]), end)),
        needles=tuple(
            _range(
                edges,
                start + min(needle["start"], needle["answer_start"]),
                start + max(needle["end"], needle["answer_end"]),
            )
            for needle in row["needles"]
        ),
        documents=tuple(_range(edges, start + doc["start"], start + doc["end"]) for doc in row["documents"]),
    )


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


def neutral(tokenizer: Tokenizer, row: dict[str, Any]) -> Tokens:
    """The row with the question "N/A", which asks for nothing. It shows what heads do without a question.

    Source: QRHead (arXiv 2506.09944), which takes this as its null query.
    """
    message = row["prompt"][0]["content"]
    at = message.index(row["question"], row["documents"][-1]["end"])
    content = f"{message[:at]}N/A{message[at + len(row['question']) :]}"
    return tokens_of(tokenizer, {**row, "question": "N/A", "prompt": [{"role": "user", "content": content}]})
