"""The attention of one layer, with its weights computed only for the queries that are asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_WEIGHTS_AT_ONCE = 2**23  # weights in a chunk, 32 MiB in float32: about a CPU's cache, and never (tokens, tokens)

HIDDEN = torch.finfo(torch.float32).min  # the logit of a masked key; the logits of all other keys are above half of it


@dataclass(frozen=True)
class Call:
    """The queries, keys and values of one layer's attention, with positions applied.

    `query` is (batch, head, query, dimension); `key` and `value` are (batch, KV head, key, dimension). The first query stands at
    the column `offset` of the sequence, the first key at the column `first_key`.
    """

    layer: int
    module: torch.nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Any
    offset: int
    options: dict[str, Any]

    @property
    def first_key(self) -> int:
        """The column of the first key. It is above 0 where a sliding window has dropped the oldest keys.

        A static cache has unused keys behind the last query.
        """
        return max(self.offset + self.query.shape[2] - self.key.shape[2], 0)

    def of_heads(self, heads: Tensor) -> "Call":
        """The call reduced to some query heads, each with its own key and value."""
        group = self.query.shape[1] // self.key.shape[1]
        options = dict(self.options)
        if options.get("s_aux") is not None:
            options["s_aux"] = options["s_aux"][heads]
        mask = self.mask
        if isinstance(mask, Tensor) and mask.ndim == 4 and mask.shape[1] > 1:
            mask = mask[:, heads]
        shared = heads // group
        return Call(
            self.layer,
            self.module,
            self.query[:, heads],
            self.key[:, shared],
            self.value[:, shared],
            mask,
            self.offset,
            options,
        )


def weigh(call: Call, queries: Tensor, hide: Callable[[Tensor], Any] | None = None) -> Tensor:
    """The attention weights (batch, head, query, key) of some queries, in float32.

    `queries` are indices into the call's queries. `hide` lowers logits of the same shape in place before the softmax. With
    attention sinks a row sums to less than 1.
    """
    logits = _logits(call, queries)
    if hide is not None:
        hide(logits)
    return _softmax(call, logits)


def chunks(call: Call, queries: Tensor) -> Iterator[Tensor]:
    """The queries in chunks whose attention weights stay small."""
    batch, heads, _, _ = call.query.shape
    size = max(_WEIGHTS_AT_ONCE // (batch * heads * call.key.shape[2]), 1)
    yield from torch.split(queries, size)


def mix(call: Call, weights: Tensor) -> Tensor:
    """The outputs (batch, query, head, dimension) of heads with these attention weights (batch, head, query, key)."""
    batch, heads, rows, keys = weights.shape
    groups = call.value.shape[1]
    grouped = weights.to(call.value.dtype).reshape(batch, groups, heads // groups * rows, keys)
    return (grouped @ call.value).reshape(batch, heads, rows, -1).transpose(1, 2)


def attend(call: Call) -> Tensor:
    """The output (batch, query, head, dimension) of a layer, computed in chunks of queries, with soft-capping and sinks."""
    queries = torch.arange(call.query.shape[2], device=call.query.device)
    return torch.cat([mix(call, weigh(call, part)) for part in chunks(call, queries)], 1)


def _logits(call: Call, queries: Tensor) -> Tensor:
    batch, heads, _, size = call.query.shape
    groups, keys = call.key.shape[1:3]
    grouped = call.query[:, :, queries].reshape(batch, groups, heads // groups * len(queries), size)
    scaling = call.options.get("scaling")
    logits = (grouped @ call.key.transpose(2, 3)).reshape(batch, heads, len(queries), keys).float()
    logits *= size**-0.5 if scaling is None else scaling
    cap = call.options.get("softcap")
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    return _masked(call, queries, logits)


def _masked(call: Call, queries: Tensor, logits: Tensor) -> Tensor:
    mask, least = call.mask, HIDDEN
    if mask is None or (isinstance(mask, Tensor) and mask.ndim == 2):
        columns = torch.arange(call.key.shape[2], device=logits.device) + call.first_key
        rows = (queries + call.offset)[:, None]
        visible = columns <= rows
        window = call.options.get("sliding_window")
        if window is not None:
            visible &= columns > rows - window
        if mask is not None:
            visible = visible & mask[:, None, None, -call.key.shape[2] :].bool()
        return logits.masked_fill_(~visible, least)
    if isinstance(mask, Tensor) and mask.dtype == torch.bool:
        return logits.masked_fill_(~mask[:, :, queries], least)
    if isinstance(mask, Tensor):
        return logits.add_(mask[:, :, queries])
    batch, keys = (torch.arange(size, device=logits.device) for size in (logits.shape[0], logits.shape[3]))
    visible = mask.mask_mod(
        batch[:, None, None, None], batch[:1, None, None], queries[:, None], keys
    )  # the mask of flex attention
    return logits.masked_fill_(~visible, least)


def _softmax(call: Call, logits: Tensor) -> Tensor:
    sinks = call.options.get("s_aux")
    if sinks is None:
        return torch.softmax(logits, -1)
    own = sinks.float().reshape(1, -1, 1, 1).expand(logits.shape[0], -1, logits.shape[2], 1)
    return torch.softmax(torch.cat([logits, own], -1), -1)[..., :-1]
