"""The log-probability that an answer loses without a head. Each head has a branch of one context; a pass reads many branches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from analysis.attention import HIDDEN, Call
from analysis.branches import Branches, Probe
from analysis.heads import Scored
from analysis.interventions import transformers_model
from analysis.spans import Tokens
from synthctx_data.errors import require_choice

_LOGITS_AT_ONCE = 2**26  # logits in a pass: 256 MiB in float32
_ROWS_AT_ONCE = 2048


@dataclass(frozen=True)
class _Cut:
    """The cut of one branch: a head, or the head's edges to some needles. By default nothing is cut."""

    layer: int = -1
    head: int = -1
    needles: tuple[int, ...] = ()


class _Cuts(Probe):
    """A probe that cuts each branch's head, or the head's edges, in the rows of that branch."""

    def __init__(self, cuts: Sequence[_Cut], size: int, needles: Sequence[range]) -> None:
        self.cuts, self.size, self.needles = cuts, size, needles
        self.layers: set[int] = set()

    def _of(self, call: Call, rows: Tensor) -> Iterator[tuple[Tensor, _Cut]]:
        """The rows under each cut in this layer, as indices into `rows`, and the cut."""
        self.layers.add(call.layer)
        owners = rows // self.size
        for owner in range(int(owners[0]), int(owners[-1]) + 1):
            if self.cuts[owner].layer == call.layer:
                yield (owners == owner).nonzero().flatten(), self.cuts[owner]

    def hide(self, call: Call, rows: Tensor, logits: Tensor) -> None:
        for mine, cut in self._of(call, rows):
            for needle in cut.needles:
                logits[0, cut.head, mine, self.needles[needle].start : self.needles[needle].stop] = HIDDEN

    def write(self, call: Call, rows: Tensor, output: Tensor) -> None:
        for mine, cut in self._of(call, rows):
            if not cut.needles:
                output[0, mine, cut.head] = 0


def causal(model: PreTrainedModel, question: Tokens, score: Literal["edge", "ablate"]) -> Scored:
    """The log-probability that a token of the right answer loses on average without each head; in nats, signed.

    "ablate": the head puts out nothing in the rows of the answer. "edge": the head does not see the needles in these rows; for a
    part of `needles`, that needle alone. The context is read once. Then each head has a branch with the answer's tokens.
    """
    require_choice("score", score, Literal["edge", "ablate"])
    text = transformers_model(model).config.get_text_config()
    heads = list(product(range(text.num_hidden_layers), range(text.num_attention_heads)))
    count = len(question.needles)
    together = tuple(range(count)) if score == "edge" else ()
    cuts = [_Cut(), *(_Cut(*head, together) for head in heads)]
    if score == "edge" and count > 1:
        cuts += [_Cut(*head, (needle,)) for needle in range(count) for head in heads]
    likely, layers = _log_probabilities(model, question, cuts)
    lost = (likely[0] - likely[1:]).reshape(-1, text.num_hidden_layers, text.num_attention_heads, likely.shape[1])
    lost[:, [layer for layer in range(text.num_hidden_layers) if layer not in layers]] = torch.nan
    steps = lost[0].permute(2, 0, 1).numpy()
    needles = lost[1:].mean(3).numpy() if len(lost) > 1 else np.repeat(steps.mean(0)[None], count, 0)
    return Scored(question.id, steps.mean(0), steps, needles)


def _log_probabilities(model: PreTrainedModel, question: Tokens, cuts: Sequence[_Cut]) -> tuple[Tensor, set[int]]:
    """The log-probability (cut, step) of each token of the right answer under each cut, and the layers with attention."""
    start = question.answer.start - 1
    reading = Branches(model, question.ids[:start], keep=True)
    branch = question.ids[start : question.answer.stop - 1]
    targets = torch.tensor(question.ids[start + 1 : question.answer.stop], device=reading.device)
    words = transformers_model(model).config.get_text_config().vocab_size
    together = max(min(_ROWS_AT_ONCE, _LOGITS_AT_ONCE // words) // len(branch), 1)
    if reading.alone:
        together = 1
    found, layers = [], set()
    for at in range(0, len(cuts), together):
        part = cuts[at : at + together]
        cut = _Cuts(part, len(branch), question.needles)
        rows = torch.arange(len(part) * len(branch), device=reading.device)
        logits = reading.go_on([branch] * len(part), cut, rows)
        wanted = targets.repeat(len(part))
        found.append(-cross_entropy(logits.float(), wanted, reduction="none").reshape(len(part), -1))
        layers |= cut.layers
        reading.forget()
    return torch.cat(found).cpu(), layers
