"""A context that a model reads once and continues in several branches at once."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from analysis.attention import Call, chunks, mix, weigh
from analysis.interventions import Intervention, Proceed, intervene, transformers_model
from analysis.transformers_private import is_stateful
from synthctx_data.errors import ModelError

_DEAD = -1  # the branch number of drafted tokens that were rejected


class Probe:
    """An observer of the attention of branches, chunk by chunk, that may also change it.

    `rows` are the tokens in the chunk: indices into all new tokens of this pass, branch after branch.
    """

    def hide(self, call: Call, rows: Tensor, logits: Tensor) -> None:
        """Lowers logits (1, head, row, key) in place."""

    def read(self, call: Call, rows: Tensor, weights: Tensor) -> None:
        """Reads the attention weights (1, head, row, key)."""

    def write(self, call: Call, rows: Tensor, output: Tensor) -> None:
        """Changes the output (1, row, head, dimension) in place."""


def one_at_a_time(model: PreTrainedModel) -> bool:
    """True if the model can continue a context in only one branch: its layers keep a state, or it takes no positions."""
    inner = transformers_model(model)
    return _has_state(inner) or "position_ids" not in inspect.signature(inner.forward).parameters


def _has_state(model: PreTrainedModel) -> bool:
    return is_stateful(model) or any(DynamicCache(config=model.config).is_linear)


class Branches(Intervention):
    """A model that reads a context once and continues it in several branches. No branch sees another.

    The context goes through the model's own kernel. The attention of the branches is computed row by row, in O(rows x context). A
    probe sees its weights before they are mixed, so reading them costs no further pass. The first `go_on` reads the context in the
    same pass; `keep` keeps keys and values, which further calls of `go_on` need.
    """

    def __init__(self, model: PreTrainedModel, context: Sequence[int], keep: bool) -> None:
        inner = transformers_model(model)
        self.model, self.device, self.ids = model, next(model.parameters()).device, list(context)
        self.stateful, self.alone = _has_state(inner), one_at_a_time(model)
        self.cache = (DynamicCache(config=inner.config) if self.stateful else DynamicCache()) if keep else None
        self.context, self.before = len(context), 0
        self.branch = torch.zeros(len(context), dtype=torch.long, device=self.device)
        self.position = torch.arange(len(context), device=self.device)
        self.probe, self.context_mask = Probe(), None

    def go_on(self, branches: Sequence[Sequence[int]], probe: Probe, rows: Tensor) -> Tensor:
        """The logits (row, vocabulary) at some rows, after each branch is continued with its new tokens, perhaps none.

        `rows` are indices into all new tokens, branch after branch.

        Raises: ModelError if there are several branches, and the model's layers keep a state or its positions cannot be given.
        """
        if self.alone and len(branches) > 1:
            raise ModelError(
                "expected one branch at a time: this model's layers keep a state, or it takes no positions"
            )
        self.before, self.probe = 0 if self._is_unread() else len(self.position), probe
        tokens = [token for branch in branches for token in branch]
        self._append(branches)
        rows = rows + (0 if self.before else self.context)
        inner = transformers_model(self.model)
        ids = torch.tensor([tokens if self.before else self.ids + tokens], device=self.device)
        with torch.no_grad(), intervene(self.model, self):
            logits: Tensor = self.model(
                input_ids=ids,
                attention_mask=torch.ones(1, len(self.position), dtype=torch.long, device=self.device),
                past_key_values=self.cache,
                use_cache=self.cache is not None,
                **({} if self.alone else {"position_ids": self.position[None, self.before :]}),
                **_only(inner, logits_to_keep=rows),
            ).logits[0]
        return logits if len(logits) == len(rows) else logits[rows]

    def _is_unread(self) -> bool:
        return self.cache is None or not self.cache.get_seq_length()

    def _append(self, branches: Sequence[Sequence[int]]) -> None:
        numbers, positions = [self.branch], [self.position]
        for number, branch in enumerate(branches, 1):
            start = self.context + int((self.branch == number).sum())
            numbers.append(torch.full((len(branch),), number, device=self.device))
            positions.append(torch.arange(start, start + len(branch), device=self.device))
        self.branch, self.position = torch.cat(numbers), torch.cat(positions)

    def turn_down(self, rows: Tensor) -> None:
        """Rejects tokens of the last pass: no later token sees them."""
        self._require_no_state()
        self.branch[(self.before or self.context) + rows] = _DEAD

    def forget(self) -> None:
        """Drops all branches, so that only the context is left."""
        self._require_no_state()
        if self.cache is not None:
            self.cache.crop(self.context - len(self.position))
        self.branch, self.position = self.branch[: self.context], self.position[: self.context]

    def _require_no_state(self) -> None:
        if self.stateful:
            raise ModelError(
                "expected a model without a state: tokens cannot be taken back from this one's; take the score wu_forced, mass or logit"
            )

    def mask(self, proceed: Any, **arguments: Any) -> Any:
        """The mask (1, 1, row, key) of the branches. Within a branch the model's own rule holds, with its window or chunks.

        If the context needs a mask too, as with a sliding window, the rows of the context come first.
        """
        if self.alone and self.before:
            return proceed(**{**arguments, "allow_is_causal_skip": False})
        start = self.before or self.context
        zero = torch.zeros(1, 1, 1, 1, dtype=torch.long, device=self.device)
        rows = self.position[start:].reshape(1, 1, -1, 1)
        seen = arguments["mask_function"](zero, zero, rows, self.position.reshape(1, 1, 1, -1))
        seen = seen & ((self.branch == 0) | (self.branch == self.branch[start:, None]))
        if self.before:
            return seen
        sizes = {"q_length": self.context, "kv_length": self.context, "attention_mask": None}
        context = proceed(**{**arguments, **sizes})
        if not isinstance(context, Tensor):
            self.context_mask = context  # None, or the mask of flex attention
            return seen
        unseen = context.new_zeros(1, 1, self.context, seen.shape[-1] - self.context)
        return torch.cat([torch.cat([context, unseen], 3), seen], 2)

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        if self.before:
            return torch.cat(list(self._of_branches(call)), 1)
        size = self.context
        inside, mask = self.context_mask, call.mask
        if mask.shape[2] > call.query.shape[2] - size:
            inside, mask = mask[:, :, :size, :size], mask[:, :, size:]
        options = {name: o[:, :size] if name == "position_ids" else o for name, o in call.options.items()}
        query, key, value = (part[:, :, :size] for part in (call.query, call.key, call.value))
        context = proceed(Call(call.layer, call.module, query, key, value, inside, 0, options))
        behind = replace(call, query=call.query[:, :, size:], mask=mask, offset=size)
        return torch.cat([context, *self._of_branches(behind)], 1)

    def _of_branches(self, call: Call) -> Iterator[Tensor]:
        """The outputs (1, row, head, dimension) of the tokens behind the context, chunk by chunk."""
        for rows in chunks(call, torch.arange(call.query.shape[2], device=call.query.device)):
            weights = weigh(call, rows, partial(self.probe.hide, call, rows))
            self.probe.read(call, rows, weights)
            output = mix(call, weights)
            self.probe.write(call, rows, output)
            yield output


def _only(model: PreTrainedModel, **arguments: Any) -> dict[str, Any]:
    """The arguments without those that the model's forward pass does not take."""
    taken = inspect.signature(model.forward).parameters
    return {name: value for name, value in arguments.items() if name in taken}
