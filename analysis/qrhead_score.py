"""The score by which QRHead finds its heads: calibrated attention on the gold documents, without the tokens that lose by it."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor
from transformers import PreTrainedModel

from analysis.attention import Call
from analysis.attention_scores import layers_of, read_pass, scored
from analysis.branches import Probe, one_at_a_time
from analysis.heads import Scored
from analysis.spans import Tokens

_DEVIATIONS = 2  # below the mean of a document's tokens, from which on a token counts as an outlier


class _Means(Probe):
    """A probe that averages each question's attention (head, column) over its rows, as soon as the rows are computed.

    `owner` has the number of the question that each wanted row belongs to.
    """

    def __init__(self, rows: Tensor, owner: Tensor, columns: Tensor) -> None:
        self.rows, self.owner, self.columns = rows, owner.to(rows.device), columns
        self.shares = 1 / torch.bincount(self.owner)
        self.means: dict[int, Tensor] = {}

    def read(self, call: Call, rows: Tensor, weights: Tensor) -> None:
        wanted = self.rows.to(rows.device)
        chosen = torch.isin(rows, wanted)
        if not chosen.any():
            return
        seen = weights[0][:, chosen][..., self.columns.to(rows.device)].to(self.rows.device)
        owner = self.owner[torch.searchsorted(wanted, rows[chosen]).to(self.owner.device)]
        if call.layer not in self.means:
            self.means[call.layer] = seen.new_zeros(len(self.shares), seen.shape[0], seen.shape[2])
        self.means[call.layer].index_add_(0, owner, seen.transpose(0, 1) * self.shares[owner, None, None])


def qrhead(model: PreTrainedModel, questions: Sequence[Tokens], neutral: Sequence[Tokens]) -> list[Scored]:
    """The attention on the needles' documents, minus that under the neutral question, summed over tokens that are no outliers; signed.

    Attention is averaged over all rows behind the documents: instruction, question, and what the chat template writes before an
    answer. A token of a document is an outlier if its difference is two standard deviations or more below the document's mean.

    Source: score_docs_per_head_for_detection in src/qrretriever/attn_retriever.py of github.com/princeton-pli/QRHead.
    """
    if len(questions) > 1 and one_at_a_time(model):
        return [qrhead(model, [one], [other])[0] for one, other in zip(questions, neutral, strict=True)]
    gold = list(dict.fromkeys(document for question in questions for document in question.gold))
    columns = torch.tensor([column for document in gold for column in document])
    means = _means(model, questions, neutral, columns)
    starts = dict(zip(gold, accumulate(map(len, gold), initial=0), strict=False))
    results = []
    for i, question in enumerate(questions):
        gained = means[:, i] - means[:, len(questions) + i]
        parts = [_without_outliers(gained[..., starts[d] : starts[d] + len(d)]) for d in question.gold]
        results.append(scored(question, torch.stack(parts, -1)[:, :, None]))
    return results


def _means(model: PreTrainedModel, questions: Sequence[Tokens], neutral: Sequence[Tokens], columns: Tensor) -> Tensor:
    """The mean attention (layer, question, head, column) of the questions, then of the neutral ones."""
    every = [*questions, *neutral]
    wanted = [range(one.documents[-1].stop, one.prompt) for one in every]
    owner = torch.tensor([number for number, part in enumerate(wanted) for _ in part])
    if one_at_a_time(model):
        passes = [
            read_pass(
                model, [one], [part], lambda rows: _Means(rows, torch.zeros(len(rows), dtype=torch.long), columns)
            )
            for one, part in zip(every, wanted, strict=True)
        ]
        return torch.cat([layers_of(model, one.means) for one in passes], 1)
    return layers_of(model, read_pass(model, every, wanted, lambda rows: _Means(rows, owner, columns)).means)


def _without_outliers(gained: Tensor) -> Tensor:
    """The sum (layer, head) of a document's tokens (layer, head, token) that are no outliers."""
    if gained.shape[-1] < 2:
        return gained.sum(-1)
    least = gained.mean(-1, keepdim=True) - _DEVIATIONS * gained.std(-1, keepdim=True)
    return gained.masked_fill(gained <= least, 0).sum(-1)
