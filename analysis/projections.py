"""What heads write: the way from a head's output to the logits of tokens, through whatever projection the model has."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from analysis.attention import Call
from analysis.interventions import Intervention, Proceed, intervene, transformers_model
from synthctx_data.errors import ModelError


class _Outputs(Intervention):
    """Remembers which layers attend, and what the heads of the last one put out: what the output projection is given next."""

    def __init__(self) -> None:
        self.layer, self.output, self.attending = -1, torch.empty(0), set[int]()

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        self.layer, self.output = call.layer, proceed(call).contiguous()
        self.attending.add(call.layer)
        return self.output


def projections(model: PreTrainedModel) -> dict[int, nn.Module]:
    """The output projection of each layer, with its adapter if it has one: the module that is given what the heads put out.

    It is found by running two tokens through the model, and not by its name.
    Raises: ModelError if in some layer it is given something else, such as outputs that a gate has changed, or if what it puts out
    goes through something else, such as a norm, before it is added to the stream.
    """
    seen, found = _Outputs(), dict[int, nn.Module]()
    projected: dict[int, Tensor] = {}

    def watch(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        first = arguments[0] if arguments else None
        if not isinstance(first, Tensor) or not isinstance(output, Tensor):
            return
        if seen.layer not in found and _same(first, seen.output) and not _same(output, first):
            found[seen.layer], projected[seen.layer] = module, output
        elif seen.layer in found and _same(first, projected[seen.layer]) and not _same(output, first):
            raise ModelError(_otherwise(model, seen.layer, f"puts its output through {type(module).__name__}"))
        elif module is found.get(seen.layer):
            projected[seen.layer] = output

    watches = [module.register_forward_hook(watch) for module in model.modules()]
    try:
        with torch.no_grad(), intervene(model, seen):
            model(
                input_ids=torch.zeros(1, 2, dtype=torch.long, device=next(model.parameters()).device), use_cache=False
            )
    finally:
        for handle in watches:
            handle.remove()
    absent = seen.attending - set(found)
    if absent:
        raise ModelError(_otherwise(model, min(absent), "is not given what its heads put out"))
    return found


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.numel() == other.numel()


def _otherwise(model: PreTrainedModel, layer: int, what: str) -> str:
    return (
        f"expected layers whose output projection is given what the heads put out and adds to the stream, and that of layer {layer} of "
        f"{type(transformers_model(model)).__name__} {what}; take another score than logit"
    )


def written(model: PreTrainedModel, projection: nn.Module, tokens: Sequence[int], width: int) -> Tensor:
    """How much the logit of each token grows with each number that heads put out: (token, width).

    The gradient of a linear map, so the same everywhere, quantised weights and adapters included.
    """
    unembedding = transformers_model(model).get_output_embeddings().weight
    wanted = unembedding[torch.tensor(tokens, device=unembedding.device)].detach()
    with torch.enable_grad():
        put_out = torch.zeros(len(tokens), width, device=wanted.device, dtype=wanted.dtype, requires_grad=True)
        (gradient,) = torch.autograd.grad((projection(put_out) * wanted).sum(), put_out)
    return gradient
