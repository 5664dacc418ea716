"""Interventions in a model's attention: reading, knocking out and patching heads, inside `with` and in every layer.

`intervene` switches on an attention function of ours, with its mask function. This function sees queries, keys and values with
positions applied, and each head's output before the output projection mixes the heads. Adapters, merged or not, act before and
behind it, so it sees their effect. No module of the model is replaced, and nothing stays when `with` is left.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from analysis.attention import HIDDEN, Call, attend, chunks, mix, weigh
from analysis.heads import Head
from analysis.self_check import check_attention
from analysis.transformers_private import (
    attention_function,
    attention_name,
    can_set_attention,
    mask_function,
    registered,
)
from synthctx_data.errors import ModelError, UsageError, require_choice

Proceed = Callable[[Call], Tensor]
Mode = Literal["zero", "mean", "uniform", "edge"]
_numbers = count()
_OURS = "synthctx_"  # begins the names of our attention functions
_checked: WeakKeyDictionary[PreTrainedModel, set[str]] = (
    WeakKeyDictionary()
)  # attention that was found to be as expected


class Intervention:
    """An intervention between a model and its attention. By default it changes nothing.

    `layers` has the heads that it acts on, by layer.
    """

    layers: Mapping[int, list[int]] = {}

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        """The output (batch, query, head, dimension) of a layer. `proceed` computes the output of the model itself."""
        return proceed(call)

    def mask(self, proceed: Callable[..., Any], **arguments: Any) -> Any:
        """The mask of a forward pass. `arguments` are those of transformers' mask functions."""
        return proceed(**arguments)


@contextmanager
def intervene(model: PreTrainedModel, *interventions: Intervention) -> Iterator[None]:
    """Puts interventions between a model (or its PEFT adapter) and its attention; the first is the outermost.

    If `with` blocks are nested, the interventions of the inner block are the outermost. A model serves one thread at a time.
    Gradients flow through. With activation checkpointing call `backward` inside `with`: it computes the attention again.

    The first time that a model is opened, it is checked on a few tokens (self_check.py): so a family that nobody tried fails at once.

    Raises: ModelError if the model's attention does not go through transformers' interface, or is not what it takes it for; UsageError
    if the model lacks a head.
    """
    inner = transformers_model(model)
    _require_heads(inner, interventions)
    if not can_set_attention(inner):
        raise ModelError(_out_of_reach(inner))
    name = attention_name(inner)
    if name not in _checked.setdefault(inner, set()) and not name.startswith(_OURS):
        check_attention(inner, partial(_opened, model))
        _checked[inner].add(name)
    with _opened(model, *interventions):
        yield


@contextmanager
def _opened(model: PreTrainedModel, *interventions: Intervention) -> Iterator[None]:
    inner = transformers_model(model)
    before = attention_name(inner)
    name = f"{_OURS}{next(_numbers)}"
    tap = _Tap(before, interventions)
    with registered(name, tap.attend, tap.mask):
        watch = _decoder(model).register_forward_hook(lambda *_: tap.require_calls(inner))
        try:
            inner.set_attn_implementation(name)
            yield
        finally:
            watch.remove()
            inner.set_attn_implementation(before)


def _require_heads(model: PreTrainedModel, interventions: Iterable[Intervention]) -> None:
    text = model.config.get_text_config()
    for intervention in interventions:
        for layer, heads in intervention.layers.items():
            if not 0 <= layer < text.num_hidden_layers or min(heads) < 0 or max(heads) >= text.num_attention_heads:
                raise UsageError(
                    f"expected heads (layer, head) of {text.num_hidden_layers} layers of {text.num_attention_heads} heads, counted from 0; "
                    f"got {[(layer, head) for head in heads]}"
                )


def transformers_model(model: Any) -> PreTrainedModel:
    """The model without the wrapper of PEFT."""
    return model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model


def _decoder(model: Any) -> torch.nn.Module:
    """The model below its language head. Every forward pass calls it, through PEFT too."""
    decoder: torch.nn.Module = transformers_model(model).base_model
    return decoder


def _out_of_reach(model: Any) -> str:
    return (
        f"expected a model whose attention goes through transformers' AttentionInterface, and that of {type(model).__name__} does not: "
        "its heads cannot be reached; take a model of another family, such as Llama, Mistral, Qwen or Gemma"
    )


class _Tap:
    """The attention function and the mask function of one `with` block."""

    def __init__(self, base: str, interventions: Sequence[Intervention]) -> None:
        self.base, self.interventions = base, interventions
        self.offset: int | None = None
        self.calls = 0

    def attend(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
    ) -> tuple[Tensor, None]:
        self.calls += 1
        offset = key.shape[2] - query.shape[2] if self.offset is None else self.offset
        layer = getattr(module, "layer_idx", None)
        if layer is None:
            raise ModelError(f"expected attention that knows its layer, and {type(module).__name__} has no layer_idx")
        call = Call(int(layer), module, query, key, value, attention_mask, offset, options)
        proceed: Proceed = self._compute
        for intervention in reversed(self.interventions):
            proceed = _between(intervention, proceed)
        return proceed(call), None

    def _compute(self, call: Call) -> Tensor:
        if self.base == "eager":
            return attend(call)
        function = attention_function(self.base)
        output: Tensor = function(call.module, call.query, call.key, call.value, call.mask, **call.options)[0]
        return output

    def mask(self, **arguments: Any) -> Any:
        self.offset = int(arguments.get("q_offset", 0))
        proceed = mask_function("sdpa" if self.base == "eager" else self.base)
        for intervention in reversed(self.interventions):
            proceed = _masking(intervention, proceed)
        return proceed(**arguments)

    def require_calls(self, model: torch.nn.Module) -> None:
        if not self.calls:
            raise ModelError(_out_of_reach(model))


def _between(intervention: Intervention, proceed: Proceed) -> Proceed:
    return lambda call: intervention.attend(call, proceed)


def _masking(intervention: Intervention, proceed: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **arguments: intervention.mask(proceed, **arguments)


@dataclass(frozen=True)
class Positions:
    """Chosen positions in the sequences of a batch: columns of the prompts, and perhaps all later columns.

    `prompt` (batch, column) is True at the chosen columns. `later` is True if all columns behind the prompt are chosen too.
    """

    prompt: Tensor
    later: bool

    def at(self, call: Call, blocks: int = 1) -> Tensor:
        """A mask (batch, query), True at the chosen queries of a call, for a batch of several `blocks` for one of them.

        If a call has fewer sequences, as where a context is read once for all of them, the mask is that of the first ones.
        """
        columns = torch.arange(call.offset, call.offset + call.query.shape[2], device=call.query.device)
        known = self.prompt[: call.query.shape[0] // blocks].to(call.query.device)
        chosen = known[:, columns.clamp(max=known.shape[1] - 1)]
        return torch.where(columns < known.shape[1], chosen, self.later)


def everywhere() -> Positions:
    """All columns of all sequences."""
    return Positions(torch.ones(1, 1, dtype=torch.bool), True)


def _by_layer(heads: Iterable[Head]) -> dict[int, list[int]]:
    layers: dict[int, list[int]] = {}
    listed = list(heads)
    if not all(isinstance(head, tuple | list) and len(head) == 2 for head in listed):
        raise UsageError(f"expected heads as pairs (layer, head), such as [(1, 0), (2, 3)]; got {listed}")
    for layer, head in sorted({(layer, head) for layer, head in listed}):
        layers.setdefault(layer, []).append(head)
    return layers


class Knockout(Intervention):
    """A knockout of heads at some positions.

    mode "zero": a head puts out nothing. "mean": it puts out its mean output, from `means` (layer, head, dimension), which
    `MeanOutputs` finds. "uniform": it attends to everything alike, because its query is zero, as in Wu et al.'s code. "edge": it does
    not see the tokens at which `hidden` (batch, column) is True, and attends to the rest as before.

    `positions` are the tokens at which the heads are knocked out. Default: all.
    """

    def __init__(
        self,
        heads: Iterable[Head],
        mode: Mode = "zero",
        positions: Positions | None = None,
        means: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> None:
        require_choice("mode", mode, Mode)
        self.layers, self.mode = _by_layer(heads), mode
        self.positions = positions or everywhere()
        if (means is None) == (mode == "mean") or (hidden is None) == (mode == "edge"):
            raise UsageError("expected `means` with mode mean, `hidden` with mode edge, and neither with another")
        self.means, self.hidden = means, hidden

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        heads = self.layers.get(call.layer)
        rows = self.positions.at(call) if heads else None
        if heads is None or rows is None or not rows.any():
            return proceed(call)
        chosen = torch.tensor(heads, device=call.query.device)
        if self.mode == "uniform":
            query = call.query.clone()
            query[:, chosen] = query[:, chosen].masked_fill(rows[:, None, :, None], 0)
            return proceed(replace(call, query=query))
        output = proceed(call).clone()
        output[:, :, chosen] = torch.where(
            rows[:, :, None, None], self._instead(call, chosen, rows), output[:, :, chosen]
        )
        return output

    def _instead(self, call: Call, heads: Tensor, rows: Tensor) -> Tensor:
        if self.means is not None:
            return self.means[call.layer, heads].to(call.value)
        if self.hidden is None:
            return call.value.new_zeros(())
        columns = torch.arange(call.key.shape[2], device=heads.device) + call.first_key
        known = self.hidden[: call.query.shape[0]].to(heads.device)
        hidden = known[:, columns.clamp(max=known.shape[1] - 1)] & (columns < known.shape[1])
        some, queries = call.of_heads(heads), rows.any(0).nonzero().flatten()

        def hide(
            logits: Tensor,
        ) -> None:  # masked keys get -inf too, so a head that sees no other key puts out nothing
            logits.masked_fill_(hidden[:, None, None] | (logits <= HIDDEN / 2), -torch.inf)

        parts = [mix(some, weigh(some, part, hide).nan_to_num_(0)) for part in chunks(some, queries)]
        seen = call.value.new_zeros(*call.query.shape[:3:2], len(heads), call.value.shape[-1])
        seen[:, queries] = torch.cat(parts, 1)
        return seen


class Outputs(Intervention):
    """A record of some heads' outputs in the last forward pass: `seen[layer]` is (batch, query, head, dimension)."""

    def __init__(self, heads: Iterable[Head]) -> None:
        self.layers = _by_layer(heads)
        self.seen: dict[int, Tensor] = {}

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        output = proceed(call)
        if call.layer in self.layers:
            self.seen[call.layer] = output[:, :, self.layers[call.layer]]
        return output


class MeanOutputs(Intervention):
    """A running mean of each head's output over all positions that the model reads."""

    def __init__(self) -> None:
        self.sums: dict[int, Tensor] = {}
        self.counts: dict[int, int] = {}

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        output = proceed(call)
        self.sums[call.layer] = self.sums.get(call.layer, 0) + output.double().sum((0, 1))
        self.counts[call.layer] = self.counts.get(call.layer, 0) + output.shape[0] * output.shape[1]
        return output

    def means(self) -> Tensor:
        """The mean outputs (layer, head, dimension); zero for layers without attention."""
        absent = torch.zeros_like(next(iter(self.sums.values())))
        layers = range(max(self.sums) + 1)
        return torch.stack([self.sums.get(layer, absent) / self.counts.get(layer, 1) for layer in layers])


class Patch(Intervention):
    """A patch: at some positions, heads put out what the donor's heads put out in its last forward pass."""

    def __init__(self, donor: Outputs, positions: Positions | None = None) -> None:
        self.donor, self.positions = donor, positions or everywhere()

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        output = proceed(call)
        if call.layer not in self.donor.layers:
            return output
        heads, rows = self.donor.layers[call.layer], self.positions.at(call)[:, :, None, None]
        output = output.clone()
        output[:, :, heads] = torch.where(rows, self.donor.seen[call.layer].to(output), output[:, :, heads])
        return output


class TwinPatch(Intervention):
    """A patch inside one batch, whose first half is the donor's and whose second half is the recipient's.

    At `positions` (of one half), heads of the recipient put out what the donor's heads put out in the same forward pass.
    """

    def __init__(self, heads: Iterable[Head], positions: Positions | None = None) -> None:
        self.layers, self.positions = _by_layer(heads), positions or everywhere()

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        output = proceed(call)
        heads = self.layers.get(call.layer)
        if heads is None:
            return output
        donors, recipients = output.chunk(2)
        rows = self.positions.at(call, 2)[:, :, None, None]
        recipients = recipients.clone()
        recipients[:, :, heads] = torch.where(rows, donors[:, :, heads], recipients[:, :, heads])
        return torch.cat([donors, recipients])


@contextmanager
def patched(
    recipient: PreTrainedModel, donor: PreTrainedModel, heads: Iterable[Head], positions: Positions | None = None
) -> Iterator[None]:
    """Patches heads of the recipient with those of the donor, which reads along in every pass.

    If the recipient uses a cache, the donor keeps its own. So both can generate token by token: greedily or sampled, not in beams.

    Raises: UsageError if both are the same model, or if the recipient has read something that the donor has not.
    """
    if _decoder(recipient) is _decoder(donor):
        raise UsageError("expected two models, got one twice; for two adapters on one model take TwinPatch")
    outputs = Outputs(heads)
    caches: dict[str, Any] = {}

    def read_along(_: torch.nn.Module, arguments: Any, given: dict[str, Any]) -> None:
        theirs = given.get("past_key_values")
        if theirs is None or theirs.get_seq_length() == 0:
            caches.clear()
        elif caches.get("donor") is None or caches["donor"].get_seq_length() != theirs.get_seq_length():
            raise UsageError(
                "expected a cache that was empty when patching began: the donor has not read what is in it"
            )
        with torch.no_grad():
            read = _decoder(donor)(*arguments, **{**given, "past_key_values": caches.get("donor")})
        caches["donor"] = None if theirs is None else read.past_key_values

    watch = _decoder(recipient).register_forward_pre_hook(read_along, with_kwargs=True)
    try:
        with intervene(donor, outputs), intervene(recipient, Patch(outputs, positions)):
            yield
    finally:
        watch.remove()
