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
    """Remembers the last layer's module and what its heads put out: what the output projection is given next."""

    def __init__(self) -> None:
        self.layer, self.module, self.output = -1, nn.Module(), torch.empty(0)

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        self.layer, self.module, self.output = call.layer, call.module, proceed(call).contiguous()
        return self.output


def projections(model: PreTrainedModel) -> dict[int, nn.Module]:
    """The output projection of each layer, with its adapter if it has one: the module that is given what the heads put out.

    It is found by running two tokens through the model, and not by its name.
    Raises: ModelError if in some layer it is given something else, such as outputs that a gate has changed.
    """
    seen, found = _Outputs(), {}

    def given(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        first = arguments[0] if arguments else None
        if seen.layer not in found and isinstance(first, Tensor) and first.data_ptr() == seen.output.data_ptr():
            found[seen.layer] = module

    watches = [module.register_forward_pre_hook(given) for module in model.modules()]
    layers: set[int] = set()
    try:
        with torch.no_grad(), intervene(model, seen, _Layers(layers)):
            model(
                input_ids=torch.zeros(1, 2, dtype=torch.long, device=next(model.parameters()).device), use_cache=False
            )
    finally:
        for watch in watches:
            watch.remove()
    if layers - set(found):
        raise ModelError(
            f"expected a layer whose output projection is given what its heads put out, and layer {min(layers - set(found))} of "
            f"{type(transformers_model(model)).__name__} does something else with it; take another score than logit"
        )
    return found


class _Layers(Intervention):
    """Notes which layers attend."""

    def __init__(self, layers: set[int]) -> None:
        self.layers = layers

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        self.layers.add(call.layer)
        return proceed(call)


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
