"""A check that a model's attention is what interventions take it for: on a few tokens, once for each model."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from analysis.attention import Call, mix, weigh
from synthctx_data.errors import ModelError

_TOKENS = 8
_CLOSE = {torch.float32: 2e-3, torch.float64: 2e-3}  # of the largest number; of half precision:
_CLOSE_OF_HALF = 5e-2


class Recomputed:
    """An intervention that computes each layer's heads anew from queries, keys and values, and keeps how far off that is."""

    layers: dict[int, list[int]] = {}

    def __init__(self) -> None:
        self.wrong: str = ""
        self.seen: set[int] = set()

    def attend(self, call: Call, proceed: Callable[[Call], Tensor]) -> Tensor:
        output = proceed(call)
        weights = weigh(call, torch.arange(call.query.shape[2], device=call.query.device))
        close = _CLOSE.get(output.dtype, _CLOSE_OF_HALF)
        sums = weights.sum(-1)
        if call.options.get("s_aux") is not None:
            sums = sums.clamp(min=1)  # sinks take a part
        off = float((sums - 1).abs().max())
        far = float((mix(call, weights) - output).abs().max() / output.abs().max().clamp(min=1e-6))
        if call.layer in self.seen:
            self.wrong = f"layer {call.layer} attends more than once"
        elif off > close:
            self.wrong = f"attention weights sum to 1 +- {off:.2g} in layer {call.layer}"
        elif far > close:
            self.wrong = f"what the heads of layer {call.layer} put out is not their attention weights times their values ({far:.0%} off)"
        self.seen.add(call.layer)
        return output

    def mask(self, proceed: Callable[..., Any], **arguments: Any) -> Any:
        return proceed(**arguments)


class Silenced(Recomputed):
    """An intervention under which all heads put out nothing."""

    def attend(self, call: Call, proceed: Callable[[Call], Tensor]) -> Tensor:
        return torch.zeros_like(proceed(call))


def check_attention(model: PreTrainedModel, opened: Callable[..., AbstractContextManager[None]]) -> None:
    """Checks that looking changes nothing, that heads can be computed anew, and that what they put out reaches the logits.

    `opened(intervention)` puts an intervention between the model and its attention.

    Raises: ModelError if one of these is not so.
    """
    ids = torch.arange(1, 1 + _TOKENS, device=next(model.parameters()).device)[None]
    ids = ids % model.config.get_text_config().vocab_size
    looking = Recomputed()
    with torch.no_grad(), evaluating(model):
        before = _first(model, ids)
        with opened(looking):
            seen = _first(model, ids)
        with opened(Silenced()):
            silent = _first(model, ids)
    if not torch.isfinite(before).all():
        raise ModelError(
            f"expected logits that are finite numbers, and {type(model).__name__} computes others in {before.dtype}; load it in another "
            "type"
        )
    close = _CLOSE.get(before.dtype, _CLOSE_OF_HALF) * float(before.abs().max())
    if looking.wrong:
        raise ModelError(_unlike(model, looking.wrong))
    if not torch.allclose(before, seen, atol=close, equal_nan=True):
        raise ModelError(_unlike(model, "the model computes something else while it is only looked at"))
    if torch.equal(before, silent):
        raise ModelError(_unlike(model, "the model answers the same when all of its heads put out nothing"))


def _first(model: PreTrainedModel, ids: Tensor) -> Tensor:
    output: Tensor = model(input_ids=ids, use_cache=False)[0]
    return output


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Puts a model into evaluation, so that there is no dropout, and back as it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _unlike(model: PreTrainedModel, what: str) -> str:
    return (
        f"expected attention as transformers' AttentionInterface describes it, and in {type(model).__name__} {what}: its heads cannot be "
        "told; take a model of another family, or another --attention"
    )
