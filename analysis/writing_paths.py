"""The path from a head's output to the residual stream: an output projection, with perhaps a gate before it and norms behind it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from analysis.attention import Call
from analysis.interventions import Intervention, Proceed, intervene, transformers_model
from synthctx_data.errors import ModelError

_CLOSE = 2e-2  # of the largest number: the error of a norm in bfloat16 is below it


@dataclass(frozen=True)
class Path:
    """The modules of a layer that the heads' outputs go through, in order, up to the residual stream.

    `projection` is the one that mixes the heads, with its adapter if it has one. `norms` follow it. If the heads are `gated`, the
    projection is given their outputs times numbers that depend on the token.
    """

    projection: nn.Module
    norms: tuple[nn.Module, ...]
    gated: bool

    @property
    def is_plain(self) -> bool:
        """True if the projection is all that there is: a map that is the same for every token."""
        return not (self.norms or self.gated)


@dataclass
class _Chain:
    """The modules that a layer's heads went through so far, and the tensor that the last of them gave."""

    given: Tensor
    modules: list[nn.Module] = field(default_factory=list)
    gated: bool = False


class _Chains(Intervention):
    """A record of the chain of modules behind the heads of each layer, which put out zeros. Of nested modules the outermost counts.

    A gate leaves zeros zero. So the first module that is given zeros of the heads' size is given the heads' outputs, gated.
    """

    def __init__(self) -> None:
        self.layer = -1
        self.chains: dict[int, _Chain] = {}
        self.open: nn.Module | None = None

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        output = torch.zeros_like(proceed(call), memory_format=torch.contiguous_format)
        self.layer, self.chains[call.layer] = call.layer, _Chain(output)
        return output

    def enter(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        chain = self.chains.get(self.layer)
        if chain is None or self.open is not None or not arguments or not isinstance(arguments[0], Tensor):
            return
        gated = not chain.modules and arguments[0].numel() == chain.given.numel() and not arguments[0].any()
        if _same(arguments[0], chain.given) or gated:
            self.open = module
            chain.gated |= not _same(arguments[0], chain.given)

    def leave(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        if module is not self.open:
            return
        self.open = None
        if isinstance(output, Tensor) and not _same(
            output, arguments[0]
        ):  # dropout, for example, gives back what it is given
            self.chains[self.layer].modules.append(module)
            self.chains[self.layer].given = output


def find_paths(model: PreTrainedModel) -> dict[int, Path]:
    """The path of each layer with attention. They are found by running two tokens through the model, and not by names.

    Raises: ModelError if the first module behind the heads of a layer is not linear.
    """
    seen = _Chains()
    hooks = [
        hook
        for module in model.modules()
        for hook in (module.register_forward_pre_hook(seen.enter), module.register_forward_hook(seen.leave))
    ]
    try:
        with torch.no_grad(), intervene(model, seen):
            ids = torch.zeros(1, 2, dtype=torch.long, device=next(model.parameters()).device)
            model(input_ids=ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return {layer: _path(model, layer, chain) for layer, chain in seen.chains.items()}


def _path(model: PreTrainedModel, layer: int, chain: _Chain) -> Path:
    if not chain.modules or not _is_affine(chain.modules[0]):
        first = type(chain.modules[0]).__name__ if chain.modules else "no module"
        raise ModelError(_unknown(model, layer, f"go through {first} first"))
    return Path(chain.modules[0], tuple(chain.modules[1:]), chain.gated)


def _is_affine(module: nn.Module) -> bool:
    """True if a module maps a sum to the sum of what it maps the parts to, apart from a constant."""
    weights = next(iter(module.parameters()), None)
    wide = next((getattr(module, name) for name in ("in_features", "nx") if hasattr(module, name)), None)
    if wide is None or weights is None:
        return False
    dtype = weights.dtype if weights.is_floating_point() else torch.float32
    one, other = torch.randn(2, 1, int(wide), generator=torch.Generator().manual_seed(0)).to(weights.device, dtype)
    with torch.no_grad():
        zero = module(torch.zeros_like(one))
        together, apart = module(one + other) - zero, module(one) + module(other) - 2 * zero
    return bool(torch.allclose(together, apart, atol=_CLOSE * float(together.abs().max())))


@dataclass
class Frozen:
    """The numbers that a layer's path multiplies with at some tokens: `gate` (token, width) and `norm` (token, hidden size).

    With them the path is linear, and exactly what the model computed.
    """

    gate: Tensor | None = None
    norm: Tensor | None = None


def freeze(model: PreTrainedModel, paths: dict[int, Path], ids: Sequence[int], rows: range) -> dict[int, Frozen]:
    """The numbers of each layer at some tokens of a sequence. The sequence is read once.

    Raises: ModelError if a module behind a projection does more than to multiply each number.
    """
    heads, found = _Heads(rows), {layer: Frozen() for layer in paths}
    with _watched(paths, rows, heads, found, model), torch.no_grad(), intervene(model, heads):
        model(input_ids=torch.tensor([ids], device=next(model.parameters()).device), use_cache=False)
    return found


class _Heads(Intervention):
    """The outputs (token, width) of each layer's heads at some tokens."""

    def __init__(self, rows: range) -> None:
        self.rows, self.outputs = rows, dict[int, Tensor]()

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        output = proceed(call)
        self.outputs[call.layer] = output[0, self.rows.start : self.rows.stop].flatten(1)
        return output


@contextmanager
def _watched(
    paths: dict[int, Path], rows: range, heads: _Heads, found: dict[int, Frozen], model: PreTrainedModel
) -> Iterator[None]:
    def at(tensor: Tensor) -> Tensor:
        return tensor.reshape(-1, tensor.shape[-1])[rows.start : rows.stop].float()

    def enter(layer: int) -> Callable[..., None]:
        def watch(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            put_out, given = heads.outputs[layer].float(), at(arguments[0])
            found[layer].gate = torch.where(put_out == 0, 0, given / put_out)

        return watch

    def leave(layer: int) -> Callable[..., None]:
        def watch(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
            scale = _scale(module, at(arguments[0]), at(output))
            if scale is None:
                raise ModelError(_unknown(model, layer, f"go through {type(module).__name__}, which is no plain norm"))
            known = found[layer].norm
            found[layer].norm = scale if known is None else known * scale

        return watch

    hooks = []
    for layer, path in paths.items():
        if path.gated:
            hooks.append(path.projection.register_forward_pre_hook(enter(layer)))
        hooks += [norm.register_forward_hook(leave(layer)) for norm in path.norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _scale(norm: nn.Module, given: Tensor, output: Tensor) -> Tensor | None:
    """The numbers (token, hidden size) that a norm multiplies with; None if it does something else."""
    weights = next(iter(norm.parameters()), None)
    dtype = weights.dtype if weights is not None else given.dtype
    with torch.no_grad():
        unit = norm.forward(
            torch.ones(1, given.shape[-1], device=given.device, dtype=dtype)
        ).float()  # past the hook that asks
    plain = given * unit
    length = (output * plain).sum(-1, keepdim=True) / (plain**2).sum(-1, keepdim=True)
    close = torch.allclose(length * plain, output, atol=_CLOSE * float(output.abs().max()))
    return length * unit if close else None


def directions(model: PreTrainedModel, path: Path, frozen: Frozen, tokens: Sequence[int], width: int) -> Tensor:
    """The gradient (token, width) of each token's logit with respect to the heads' outputs, side by side, `width` numbers.

    The map is linear with the frozen numbers, so its gradient is the same everywhere. It includes quantised weights and adapters.
    The final norm is left out.
    """
    unembedding = transformers_model(model).get_output_embeddings().weight
    wanted = unembedding[torch.tensor(tokens, device=unembedding.device)].detach()
    if frozen.norm is not None:
        wanted = wanted * frozen.norm.to(wanted)
    with torch.enable_grad():
        put_out = torch.zeros(len(tokens), width, device=wanted.device, dtype=wanted.dtype, requires_grad=True)
        (gradient,) = torch.autograd.grad((path.projection(put_out) * wanted).sum(), put_out)
    return gradient if frozen.gate is None else gradient * frozen.gate.to(gradient)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.numel() == other.numel()


def _unknown(model: PreTrainedModel, layer: int, what: str) -> str:
    return (
        f"expected heads whose outputs go through an output projection and perhaps norms; those of layer {layer} of "
        f"{type(transformers_model(model)).__name__} {what}; take another score than logit"
    )
