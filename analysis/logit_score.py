"""The score of LOCOS: what a head writes towards the answer from the needles, against what it writes from other tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from analysis.attention import Call
from analysis.attention_scores import answer_rows, needle_columns, own_needles, read_rows, scored
from analysis.heads import Scored
from analysis.spans import Tokens
from analysis.writing_paths import Frozen, directions, find_paths, freeze


def logit(model: PreTrainedModel, questions: Sequence[Tokens]) -> list[Scored]:
    """The amount that each head adds to the logits of the answer's tokens from the needles, minus that from other tokens; signed.

    The amount of a token is attention times value times output projection times unembedding. That of the other tokens is scaled to
    as many tokens as the needles have. The final norm is left out, so scores can be compared between heads, but not between answers.
    A norm or a gate behind the heads counts with the numbers that it multiplied with, which is exact.

    Source: compute_logit_contribution_per_step in locos/detectors/logit_contrib.py of github.com/aryopg/locos (arXiv 2607.01002).
    """
    paths = find_paths(model)
    plain = all(path.is_plain for path in paths.values())
    if not plain and len(questions) > 1:
        return [logit(model, [question])[0] for question in questions]
    frozen = dict.fromkeys(paths, Frozen())
    if not plain:
        rows = answer_rows(questions[0])
        frozen = freeze(model, paths, questions[0].ids[: rows.stop], rows)
    answers = [question.ids[row + 1] for question in questions for row in answer_rows(question)]
    ways: dict[int, Tensor] = {}

    def contributions(call: Call, weights: Tensor, rows: Tensor) -> Tensor:
        heads, count, keys = weights.shape
        groups, size = call.value.shape[1], call.value.shape[3]
        if call.layer not in ways:
            ways[call.layer] = directions(model, paths[call.layer], frozen[call.layer], answers, heads * size)
        way = ways[call.layer][rows].reshape(count, heads, size).transpose(0, 1)
        along = (way.reshape(groups, -1, size) @ call.value[0].to(way).transpose(1, 2)).reshape(heads, count, keys)
        added = weights * along.float()
        return torch.cat([added @ needle_columns(questions, keys, weights.device), added.sum(-1, keepdim=True)], -1)

    found = read_rows(model, questions, [answer_rows(question) for question in questions], contributions)
    return [
        scored(question, _against_the_rest(question, parts[..., own], parts[..., -1:]))
        for question, own, parts in zip(questions, own_needles(questions), found, strict=True)
    ]


def _against_the_rest(question: Tokens, needles: Tensor, total: Tensor) -> Tensor:
    """The amounts (layer, head, step, needle) of needles, minus the mean amount of a token in no needle times the needle's tokens."""
    sizes = torch.tensor([len(needle) for needle in question.needles], device=needles.device)
    read = torch.tensor([row + 1 for row in answer_rows(question)], device=needles.device)
    others = (read - len({i for needle in question.needles for i in needle})).clamp(min=1)[:, None]
    return needles - (total - needles.sum(-1, keepdim=True)) * sizes / others
