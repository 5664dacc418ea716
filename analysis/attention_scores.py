"""Scores of heads for an answer, read from attention weights. Here are wu_forced and mass; the others have files of their own.

    wu          the tokens that a head copies while the model writes its own answer, divided by those of the right answer (Wu et al.
                2024): the head attends most to the same token in a needle; questions that the model does not answer do not count
    wu_forced   the share of the right answer's tokens that a head copies, in [0, 1], whatever the model would say
    mass        the share of a head's attention that lies on the needles, in [0, 1]; calibrated, it is signed
    qrhead      the calibrated attention on the needles' documents as QRHead sums it (arXiv 2506.09944); signed
    logit       what a head adds to the logits of the answer's tokens from the needles, minus what it adds from as many other tokens
                (LOCOS, arXiv 2607.01002); signed
    edge        the log-probability that the answer loses if only this head does not see the needles while answering; signed
    ablate      the log-probability that the answer loses if this head puts out nothing: necessity, not retrieval; signed

The rows of the answer are the positions that predict its tokens: they begin at the last token of the prompt.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from analysis.attention import Call
from analysis.branches import Branches, Probe, one_at_a_time
from analysis.heads import Scored, Scores
from analysis.interventions import transformers_model
from analysis.spans import Tokens
from training.turns import shared_prefix

Reduce = Callable[
    [Call, Tensor, Tensor], Tensor
]  # of a call, weights (head, row, key), and the indices of these rows among all wanted rows


AnyProbe = TypeVar("AnyProbe", bound=Probe)


class Reader(Probe):
    """A probe that reduces the attention weights of wanted rows as soon as they are computed."""

    def __init__(self, rows: Tensor, reduce: Reduce) -> None:
        self.rows, self.reduce = rows, reduce
        self.parts: dict[int, list[Tensor]] = {}

    def read(self, call: Call, rows: Tensor, weights: Tensor) -> None:
        wanted = self.rows.to(rows.device)  # layers may be on several devices
        chosen = torch.isin(rows, wanted)
        if chosen.any():
            found = self.reduce(call, weights[0][:, chosen], torch.searchsorted(wanted, rows[chosen]))
            self.parts.setdefault(call.layer, []).append(found.to(self.rows.device))

    def result(self, model: PreTrainedModel) -> Tensor:
        """The reduced weights (layer, head, row, ...), NaN where a layer has no attention."""
        return layers_of(model, {layer: torch.cat(parts, 1).float() for layer, parts in self.parts.items()})


def layers_of(model: PreTrainedModel, found: Mapping[int, Tensor]) -> Tensor:
    """The tensors of all layers in one, NaN where a layer has no attention."""
    count = transformers_model(model).config.get_text_config().num_hidden_layers
    absent = torch.full_like(next(iter(found.values())), torch.nan)
    return torch.stack([found.get(layer, absent) for layer in range(count)])


def common_prefix(questions: Sequence[Tokens], most: int) -> int:
    """The number of tokens in the common beginning of all questions: at most `most`, but at least 1."""
    ids = [question.ids for question in questions]
    return max(min([most, *(shared_prefix(ids[0], other) for other in ids[1:])]), 1)


def _indices(starts: Sequence[int], wanted: Sequence[range], device: torch.device) -> Tensor:
    return torch.tensor([start + i for start, part in zip(starts, wanted, strict=True) for i in part], device=device)


def starts(branches: Sequence[Sequence[int]]) -> list[int]:
    """The index of each branch's first token when the branches stand one behind the other."""
    return [0, *np.cumsum([len(branch) for branch in branches[:-1]]).tolist()]


def read_rows(
    model: PreTrainedModel,
    questions: Sequence[Tokens],
    wanted: Sequence[range],
    reduce: Reduce,
) -> list[Tensor]:
    """The reduced weights (layer, head, row, ...) of each question; `wanted` has its rows, as indices into its tokens."""
    if len(questions) > 1 and one_at_a_time(model):
        firsts = np.cumsum([0, *map(len, wanted)]).tolist()
        return [
            read_rows(model, [question], [part], _from(first, reduce))[0]
            for question, part, first in zip(questions, wanted, firsts[:-1], strict=True)
        ]
    reader = read_pass(model, questions, wanted, lambda rows: Reader(rows, reduce))
    return list(torch.split(reader.result(model), [len(part) for part in wanted], 2))


def read_pass(
    model: PreTrainedModel, questions: Sequence[Tokens], wanted: Sequence[range], probe: Callable[[Tensor], AnyProbe]
) -> AnyProbe:
    """The probe, after one pass over questions that share their context. `probe` makes it from the indices of all wanted rows."""
    common = common_prefix(questions, min(part.start for part in wanted))
    branches = [question.ids[common : part.stop] for question, part in zip(questions, wanted, strict=True)]
    reading = Branches(model, questions[0].ids[:common], keep=False)
    rows = _indices([start - common for start in starts(branches)], wanted, reading.device)
    made = probe(rows)
    reading.go_on(branches, made, rows[-1:])
    return made


def _from(first: int, reduce: Reduce) -> Reduce:
    return lambda call, weights, rows: reduce(call, weights, rows + first)


def answer_rows(question: Tokens) -> range:
    """The rows that predict the tokens of the right answer."""
    return range(question.answer.start - 1, question.answer.stop - 1)


def needle_columns(questions: Sequence[Tokens], keys: int, device: torch.device) -> Tensor:
    """A matrix (key, needle), 1 where a key is in a needle. It has the needles of all questions, which share their context."""
    needles = [needle for question in questions for needle in question.needles]
    columns = torch.zeros(keys, len(needles), device=device)
    for number, needle in enumerate(needles):
        columns[needle.start : needle.stop, number] = 1
    return columns


def own_needles(questions: Sequence[Tokens]) -> list[slice]:
    """The range of each question's needles among the needles of all questions."""
    ends = np.cumsum([len(question.needles) for question in questions]).tolist()
    return [slice(end - len(question.needles), end) for end, question in zip(ends, questions, strict=True)]


def scored(question: Tokens, parts: Tensor, whole: int | None = None) -> Scored:
    """The scores of a question, from parts (layer, head, step, needle): summed over needles and steps, divided by `whole` steps.

    `whole` defaults to the number of steps.
    """
    steps, whole = parts.sum(3).permute(2, 0, 1), whole or parts.shape[2]
    needles = parts.sum(2).permute(2, 0, 1) / whole
    return Scored(question.id, _array(steps.sum(0) / whole), _array(steps), _array(needles))


def _array(tensor: Tensor) -> Scores:
    return tensor.float().cpu().numpy()


def copies(question: Tokens, columns: Tensor, produced: Sequence[int]) -> Tensor:
    """A tensor (layer, head, step, needle), 1 where a head copies: its most attended column is in the needle and holds the token.

    `columns` (layer, head, step) are the most attended columns, and `produced` are the tokens of the steps.
    """
    ids = torch.tensor(question.ids, device=columns.device)
    absent = columns.isnan()
    position = columns.nan_to_num(0).long()
    same = ids[position.clamp(max=len(ids) - 1)] == torch.tensor(produced, device=columns.device)
    hits = [same & (position >= needle.start) & (position < needle.stop) for needle in question.needles]
    return torch.stack(hits, -1).float().masked_fill(absent[..., None], torch.nan)


def with_ceiling(question: Tokens, one: Scored) -> Scored:
    """The scores with the highest score that a head could have: the share of the right answer's tokens that stand in a needle.

    It is below 1 where the tokenizer writes the answer in other tokens than the needle, without the space before it for example.
    """
    there = {question.ids[i] for needle in question.needles for i in needle}
    answer = _answer(question)
    return replace(one, ceiling=sum(token in there for token in answer) / max(len(answer), 1))


def attended(call: Call, weights: Tensor, rows: Tensor) -> Tensor:
    """The column (head, row) that each head attends to most."""
    return weights.argmax(-1)


def wu_forced(model: PreTrainedModel, questions: Sequence[Tokens]) -> list[Scored]:
    """The share of the right answer's tokens that each head copies from a needle, in [0, 1]."""
    wanted = [answer_rows(question) for question in questions]
    found = read_rows(model, questions, wanted, attended)
    return [
        with_ceiling(question, scored(question, copies(question, columns, _answer(question))))
        for question, columns in zip(questions, found, strict=True)
    ]


def _answer(question: Tokens) -> tuple[int, ...]:
    return question.ids[question.answer.start : question.answer.stop]


def mass(model: PreTrainedModel, questions: Sequence[Tokens], neutral: Sequence[Tokens] = ()) -> list[Scored]:
    """The share of each head's attention that lies on the needles, averaged over the question's rows, in [0, 1].

    If there are `neutral` questions, their shares are subtracted, and the scores are signed.
    Source: after QRHead (arXiv 2506.09944), which takes "N/A" as the neutral question. Its own sum is in qrhead_score.py.
    """
    own = own_needles(questions)

    def on_needles(call: Call, weights: Tensor, rows: Tensor) -> Tensor:
        return weights @ needle_columns(questions, weights.shape[-1], weights.device)

    found = read_rows(model, [*questions, *neutral], [one.question for one in (*questions, *neutral)], on_needles)
    results = []
    for i, question in enumerate(questions):
        parts = found[i][..., own[i]]
        if neutral:
            parts = parts - found[len(questions) + i][..., own[i]].mean(2, keepdim=True)
        results.append(scored(question, parts))
    return results
