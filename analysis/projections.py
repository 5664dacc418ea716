"""The path from a head's output to the logits of tokens, through any output projection that a model has."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from analysis.attention import Call
from analysis.interventions import Intervention, Proceed, intervene, transformers_model
from synthctx_data.errors import ModelError


class _Outputs(Intervention):
    """A record of the layers with attention, and of the heads' outputs in the last one, which its projection is given next."""

    def __init__(self) -> None:
        self.layer, self.output, self.attending = -1, torch.empty(0), set[int]()

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        self.layer, self.output = call.layer, proceed(call).contiguous()
        self.attending.add(call.layer)
        return self.output


def projections(model: PreTrainedModel) -> dict[int, nn.Module]:
    """The output projection of each layer, with its adapter if it has one: the module that is given the heads' outputs.

    It is found by running two tokens through the model, and not by its name.

    Raises: ModelError if no module of a layer is given the heads' outputs as they are, because a gate has changed them, for example;
    or if the projection's output goes through another module, such as a norm, before it is added to the residual stream.
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
    """The gradient (token, width) of each token's logit with respect to the heads' outputs, side by side, `width` numbers.

    The map is linear, so its gradient is the same everywhere. It includes quantised weights and adapters.
    """
    unembedding = transformers_model(model).get_output_embeddings().weight
    wanted = unembedding[torch.tensor(tokens, device=unembedding.device)].detach()
    with torch.enable_grad():
        put_out = torch.zeros(len(tokens), width, device=wanted.device, dtype=wanted.dtype, requires_grad=True)
        (gradient,) = torch.autograd.grad((projection(put_out) * wanted).sum(), put_out)
    return gradient
