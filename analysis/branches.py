"""A context that is read once, and from which a model goes on in several branches at once."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from analysis.attention import Call, chunks, mix, weigh
from analysis.interventions import Intervention, Proceed, intervene, transformers_model
from synthctx_data.errors import ModelError

_DEAD = -1  # the branch of tokens that were drafted and turned down


class Probe:
    """What looks at the attention of branches, or changes it, chunk by chunk.

    `rows` are the tokens of this pass that a chunk holds: indices into all that were given, branch after branch.
    """

    def blocked(self, call: Call, rows: Tensor) -> Tensor | None:
        """Edges that are cut, broadcast to (batch, head, row, key); None for none."""
        return None

    def read(self, call: Call, rows: Tensor, weights: Tensor) -> None:
        """Sees the weights (1, head, row, key)."""

    def write(self, call: Call, rows: Tensor, output: Tensor) -> None:
        """Changes the output (1, row, head, dimension) in place."""


class Branches(Intervention):
    """A model that has read a context, and several continuations of it, none of which sees another.

    Keys and values of the context are computed once, by the model's own kernel. Of what follows, the attention is computed row by
    row, O(rows x context), and its weights are shown to a probe before they are mixed: to look at them costs no further pass.
    """

    def __init__(self, model: PreTrainedModel, context: Sequence[int]) -> None:
        self.model, self.device = model, next(model.parameters()).device
        inner = transformers_model(model)
        known = DynamicCache(config=inner.config)
        self.stateful = bool(inner._is_stateful or any(known.is_linear))
        self.alone = self.stateful or "position_ids" not in inspect.signature(inner.forward).parameters
        self.cache = known if self.stateful else DynamicCache()
        self.branch = torch.full((len(context),), 0, device=self.device)
        self.position = torch.arange(len(context), device=self.device)
        self.context, self.before = len(context), 0
        self.probe = Probe()
        ids = torch.tensor([context], device=self.device)
        with torch.no_grad():
            model(input_ids=ids, past_key_values=self.cache, use_cache=True, **_only(inner, logits_to_keep=1))

    def go_on(self, branches: Sequence[Sequence[int]], probe: Probe, rows: Tensor) -> Tensor:
        """The logits (row, vocabulary) at some rows after the branches have gone on with these tokens, which may be none.

        Raises: ModelError if there are several branches, and the model's layers keep a state or its positions cannot be given.
        """
        if self.alone and len(branches) > 1:
            raise ModelError(
                "expected one branch at a time: this model's layers keep a state, or it takes no positions"
            )
        tokens = [token for branch in branches for token in branch]
        numbers = [number for number, branch in enumerate(branches, 1) for _ in branch]
        self.before, self.probe = len(self.position), probe
        self._append(branches, numbers)
        inner = transformers_model(self.model)
        given = {} if self.alone else {"position_ids": self.position[None, self.before :]}
        with torch.no_grad(), intervene(self.model, self):
            logits: Tensor = self.model(
                input_ids=torch.tensor([tokens], device=self.device),
                past_key_values=self.cache,
                use_cache=True,
                **given,
                **_only(inner, logits_to_keep=rows),
            ).logits[0]
        return logits if len(logits) == len(rows) else logits[rows]

    def _append(self, branches: Sequence[Sequence[int]], numbers: list[int]) -> None:
        positions: list[int] = []
        for number, branch in enumerate(branches, 1):
            own = int((self.branch == number).sum())
            positions += range(self.context + own, self.context + own + len(branch))
        self.branch = torch.cat([self.branch, torch.tensor(numbers, dtype=torch.long, device=self.device)])
        self.position = torch.cat([self.position, torch.tensor(positions, dtype=torch.long, device=self.device)])

    def turn_down(self, rows: Tensor) -> None:
        """Makes tokens of the last pass as if they had never been: nothing that comes after sees them."""
        self._require_no_state()
        self.branch[self.before + rows] = _DEAD

    def _require_no_state(self) -> None:
        if self.stateful:
            raise ModelError(
                "expected a model without a state: tokens cannot be taken back from this one's; take the score wu_forced, mass or logit"
            )

    def forget(self) -> None:
        """Goes back to the context alone."""
        self._require_no_state()
        self.cache.crop(self.context - len(self.position))
        self.branch, self.position = self.branch[: self.context], self.position[: self.context]

    def mask(self, proceed: Any, **arguments: Any) -> Any:
        """The mask (1, 1, row, key) of the branches under the model's own rule, whatever window or chunks it has."""
        if self.alone:
            return proceed(**{**arguments, "allow_is_causal_skip": False})
        zero = torch.zeros(1, 1, 1, 1, dtype=torch.long, device=self.device)
        rows = self.position[self.before :].reshape(1, 1, -1, 1)
        seen = arguments["mask_function"](zero, zero, rows, self.position.reshape(1, 1, 1, -1))
        own = self.branch[self.before :, None]
        return seen & ((self.branch == 0) | (self.branch == own))

    def attend(self, call: Call, proceed: Proceed) -> Tensor:
        outputs = []
        for rows in chunks(call, torch.arange(call.query.shape[2], device=self.device)):
            weights = weigh(call, rows, self.probe.blocked(call, rows))
            self.probe.read(call, rows, weights)
            output = mix(call, weights)
            self.probe.write(call, rows, output)
            outputs.append(output)
        return torch.cat(outputs, 1)


def _only(model: PreTrainedModel, **arguments: Any) -> dict[str, Any]:
    """Those of the arguments that the model's forward pass takes."""
    taken = inspect.signature(model.forward).parameters
    return {name: value for name, value in arguments.items() if name in taken}
