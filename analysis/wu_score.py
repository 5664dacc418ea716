"""The retrieval score of Wu et al. (2024): the tokens that heads copy while the model writes its own answer greedily."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from analysis.attention_scores import Reader, attended, common_prefix, copies, scored, starts, with_ceiling
from analysis.branches import Branches
from analysis.heads import Scored
from analysis.spans import Tokens

_MOST = 50  # the most tokens of an answer, as in Wu et al.'s code


@dataclass
class _Answer:
    """An unfinished answer: its tokens, and for each token the column (layer, head) that each head attends to most."""

    tokens: list[int] = field(default_factory=list)
    attended: list[Tensor] = field(default_factory=list)
    ended: bool = False

    def add(self, token: int, attended: Tensor, ends: Sequence[int]) -> None:
        self.tokens.append(token)
        self.attended.append(attended)
        self.ended = token in ends or len(self.tokens) >= _MOST


def wu(
    model: PreTrainedModel,
    questions: Sequence[Tokens],
    ends: Sequence[int],
    begins: Callable[[Tokens, list[int]], int | None],
) -> list[Scored]:
    """The tokens that each head copies from a needle, divided by the number of tokens of the right answer: 0 or more.

    A head copies a token if it attends most to the same token in a needle while the model predicts it. It can score more than 1 where
    the model says the answer twice. `begins` finds the first token of an answer behind the thoughts before it, and None in a wrong
    answer, whose question does not count (NaN). Thoughts do not count, nor does what the model would write behind an end token.

    The right answer serves as a draft. One pass shows how far the model would have written the draft. From the first other token on,
    the model writes token by token.

    Source: retrieval_head_detection.py of github.com/nightdessert/Retrieval_Head.
    """
    common = common_prefix(questions, min(question.prompt for question in questions) - 1)
    writing = Branches(model, questions[0].ids[:common], keep=True)
    written = [_Answer() for _ in questions]
    _verify(writing, questions, common, ends, written)
    while not all(answer.ended for answer in written):
        _go_on(writing, ends, written)
    results = []
    for question, answer in zip(questions, written, strict=True):
        tokens = answer.tokens[:-1] if answer.tokens[-1] in ends else answer.tokens
        first = begins(question, tokens) if tokens else None
        if first is None:
            results.append(_uncounted(question, answer.attended[0]))
        else:
            seen = torch.stack(answer.attended[first : len(tokens)], 2)
            found = scored(question, copies(question, seen, tokens[first:]), len(question.answer))
            results.append(with_ceiling(question, found))
    return results


def _uncounted(question: Tokens, like: Tensor) -> Scored:
    nothing = np.full(like.shape, np.nan, np.float32)
    return Scored(question.id, nothing, nothing[None], nothing[None].repeat(len(question.needles), 0))


def _draft(question: Tokens) -> tuple[int, ...]:
    """The right answer and the token that ends it."""
    return question.ids[question.prompt : question.answer.stop + 1]


def _verify(
    writing: Branches, questions: Sequence[Tokens], common: int, ends: Sequence[int], written: list[_Answer]
) -> None:
    """Adds to each answer its draft, as far as the model would have written it, and the first token that differs."""
    branches = [question.ids[common : question.prompt] + _draft(question)[:-1] for question in questions]
    first = [start + question.prompt - common - 1 for start, question in zip(starts(branches), questions, strict=True)]
    rows = torch.tensor(
        [start + i for start, question in zip(first, questions, strict=True) for i in range(len(_draft(question)))],
        device=writing.device,
    )
    reader = Reader(rows, attended)
    likeliest = writing.go_on(branches, reader, rows).argmax(-1).tolist()
    wrong: list[int] = []
    seen, at = reader.result(writing.model), 0
    for start, question, answer in zip(first, questions, written, strict=True):
        draft = _draft(question)
        for i, drafted in enumerate(draft):
            answer.add(likeliest[at + i], seen[:, :, at + i], ends)
            if answer.ended or likeliest[at + i] != drafted:
                break
        wrong += range(start + len(answer.tokens), start + len(draft))
        at += len(draft)
    if wrong and not all(answer.ended for answer in written):
        writing.turn_down(torch.tensor(wrong, device=writing.device))


def _go_on(writing: Branches, ends: Sequence[int], written: list[_Answer]) -> None:
    """Adds one token to every answer that has not ended."""
    branches = [[] if answer.ended else answer.tokens[-1:] for answer in written]
    rows = torch.arange(sum(map(len, branches)), device=writing.device)
    reader = Reader(rows, attended)
    likeliest = writing.go_on(branches, reader, rows).argmax(-1).tolist()
    seen = reader.result(writing.model)
    unfinished = [answer for answer in written if not answer.ended]
    for i, answer in enumerate(unfinished):
        answer.add(likeliest[i], seen[:, :, i], ends)
