"""Scores of heads for an answer. Here are wu_forced, mass and logit; wu is in wu_score.py, edge and ablate in causal_scores.py.

    wu          the share of the tokens of the model's own answer that a head copies, in [0, 1] (Wu et al. 2024): the head attends
                most to the same token in a needle; questions that the model does not answer do not count
    wu_forced   the same share of the right answer, whatever the model would say
    mass        the share of a head's attention that lies on the needles, in [0, 1]; calibrated, it is signed (QRHead, arXiv 2506.09944)
    logit       what a head adds to the logits of the answer's tokens from the needles, minus what it adds from the rest; signed
                (arXiv 2607.01002)
    edge        the log-probability that the answer loses if only this head does not see the needles while answering; signed
    ablate      the log-probability that the answer loses if this head puts out nothing: necessity, not retrieval; signed

The rows of the answer are the positions that predict its tokens: they begin at the last token of the prompt.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from analysis.attention import Call
from analysis.branches import Branches, Probe, one_at_a_time
from analysis.heads import Scored, Scores
from analysis.interventions import transformers_model
from analysis.projections import projections, written
from analysis.spans import Tokens

Reduce = Callable[
    [Call, Tensor, Tensor], Tensor
]  # of a call, weights (head, row, key), and the indices of these rows among all wanted rows


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
        layers = {layer: torch.cat(parts, 1).float() for layer, parts in self.parts.items()}
        count = transformers_model(model).config.get_text_config().num_hidden_layers
        absent = torch.full_like(next(iter(layers.values())), torch.nan)
        return torch.stack([layers.get(layer, absent) for layer in range(count)])


def shared_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """The number of tokens in the common beginning of two sequences."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def common_prefix(questions: Sequence[Tokens], most: int) -> int:
    """The number of tokens in the common beginning of all questions: at most `most`, but at least 1."""
    ids = [question.ids for question in questions]
    return max(min([most, *(shared_prefix(ids[0], other) for other in ids[1:])]), 1)


def _rows(starts: Sequence[int], wanted: Sequence[range], device: torch.device) -> Tensor:
    return torch.tensor([start + i for start, part in zip(starts, wanted, strict=True) for i in part], device=device)


def starts(branches: Sequence[Sequence[int]]) -> list[int]:
    """The index of each branch's first token when the branches stand one behind the other."""
    return [0, *np.cumsum([len(branch) for branch in branches[:-1]]).tolist()]


def _read(
    model: PreTrainedModel,
    questions: Sequence[Tokens],
    wanted: Sequence[range],
    reduce: Reduce,
) -> list[Tensor]:
    """The reduced weights (layer, head, row, ...) of each question; `wanted` has its rows, as indices into its tokens."""
    if len(questions) > 1 and one_at_a_time(model):
        firsts = np.cumsum([0, *map(len, wanted)]).tolist()
        return [
            _read(model, [question], [part], _from(first, reduce))[0]
            for question, part, first in zip(questions, wanted, firsts[:-1], strict=True)
        ]
    common = common_prefix(questions, min(part.start for part in wanted))
    branches = [question.ids[common : part.stop] for question, part in zip(questions, wanted, strict=True)]
    reading = Branches(model, questions[0].ids[:common], keep=False)
    rows = _rows([start - common for start in starts(branches)], wanted, reading.device)
    reader = Reader(rows, reduce)
    reading.go_on(branches, reader, rows[-1:])
    return list(torch.split(reader.result(model), [len(part) for part in wanted], 2))


def _from(first: int, reduce: Reduce) -> Reduce:
    return lambda call, weights, rows: reduce(call, weights, rows + first)


def _answer_rows(question: Tokens) -> range:
    return range(question.answer.start - 1, question.answer.stop - 1)


def _columns(questions: Sequence[Tokens], keys: int, device: torch.device) -> Tensor:
    """A matrix (key, needle), 1 where a key is in a needle. It has the needles of all questions, which share their context."""
    needles = [needle for question in questions for needle in question.needles]
    columns = torch.zeros(keys, len(needles), device=device)
    for number, needle in enumerate(needles):
        columns[needle.start : needle.stop, number] = 1
    return columns


def _own(questions: Sequence[Tokens]) -> list[slice]:
    """The range of each question's needles among the needles of all questions."""
    ends = np.cumsum([len(question.needles) for question in questions]).tolist()
    return [slice(end - len(question.needles), end) for end, question in zip(ends, questions, strict=True)]


def scored(question: Tokens, parts: Tensor) -> Scored:
    """The scores of a question, from parts (layer, head, step, needle): summed over needles, averaged over steps."""
    steps = parts.sum(3).permute(2, 0, 1)
    return Scored(question.id, _array(steps.mean(0)), _array(steps), _array(parts.mean(2).permute(2, 0, 1)))


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


def attended(call: Call, weights: Tensor, rows: Tensor) -> Tensor:
    """The column (head, row) that each head attends to most."""
    return weights.argmax(-1)


def wu_forced(model: PreTrainedModel, questions: Sequence[Tokens]) -> list[Scored]:
    """The share of the right answer's tokens that each head copies from a needle, in [0, 1]."""
    wanted = [_answer_rows(question) for question in questions]
    found = _read(model, questions, wanted, attended)
    return [
        scored(question, copies(question, columns, question.ids[question.answer.start : question.answer.stop]))
        for question, columns in zip(questions, found, strict=True)
    ]


def mass(model: PreTrainedModel, questions: Sequence[Tokens], neutral: Sequence[Tokens] = ()) -> list[Scored]:
    """The share of each head's attention that lies on the needles, averaged over the question's rows, in [0, 1].

    If there are `neutral` questions, their shares are subtracted, and the scores are signed.
    Source: QRHead (arXiv 2506.09944), which reads the same rows and takes "N/A" as the neutral question.
    """
    own = _own(questions)

    def on_needles(call: Call, weights: Tensor, rows: Tensor) -> Tensor:
        return weights @ _columns(questions, weights.shape[-1], weights.device)

    found = _read(model, [*questions, *neutral], [one.question for one in (*questions, *neutral)], on_needles)
    results = []
    for i, question in enumerate(questions):
        parts = found[i][..., own[i]]
        if neutral:
            parts = parts - found[len(questions) + i][..., own[i]].mean(2, keepdim=True)
        results.append(scored(question, parts))
    return results


def logit(model: PreTrainedModel, questions: Sequence[Tokens]) -> list[Scored]:
    """The amount that each head adds to the logits of the answer's tokens from the needles, minus that from the rest; signed.

    The amount is value times output projection times unembedding, position by position (arXiv 2607.01002). The final norm is left
    out, so scores can be compared between heads, but not between answers. With several needles, the rest is divided evenly among them.
    """
    own, layers = _own(questions), projections(model)
    answers = [token for question in questions for token in question.ids[question.answer.start : question.answer.stop]]
    ways: dict[int, Tensor] = {}

    def contributions(call: Call, weights: Tensor, rows: Tensor) -> Tensor:
        heads, count, keys = weights.shape
        groups, size = call.value.shape[1], call.value.shape[3]
        if call.layer not in ways:
            ways[call.layer] = written(model, layers[call.layer], answers, heads * size)
        way = ways[call.layer][rows].reshape(count, heads, size).transpose(0, 1)
        along = (way.reshape(groups, -1, size) @ call.value[0].to(way).transpose(1, 2)).reshape(heads, count, keys)
        added = weights * along.float()
        return torch.cat([added @ _columns(questions, keys, weights.device), added.sum(-1, keepdim=True)], -1)

    found = _read(model, questions, [_answer_rows(question) for question in questions], contributions)
    results = []
    for question, mine, parts in zip(questions, own, found, strict=True):
        needles, total = parts[..., mine], parts[..., -1:]
        rest = total - needles.sum(-1, keepdim=True)
        results.append(scored(question, needles - rest / len(question.needles)))
    return results
