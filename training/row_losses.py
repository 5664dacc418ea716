"""The losses of a model on rows: how well it still reads ordinary text, and how well it foresees the answers."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from training.turns import IGNORED, encode

_CONTEXT_TOKENS = 1024  # the last of the context: logits of all would take gigabytes


def losses_of(model: Any, tokenizer: Any) -> Callable[[Sequence[dict[str, Any]]], Iterator[list[tuple[str, str]]]]:
    """A function that gives the losses of rows, one row after the other: ids, with both losses as a text, in the order of LOSSES."""

    def read(rows: Sequence[dict[str, Any]]) -> Iterator[list[tuple[str, str]]]:
        for row in rows:
            yield [(row["id"], " ".join(map(repr, row_losses(model, tokenizer, row))))]

    return read


@torch.no_grad()
def row_losses(model: Any, tokenizer: Any, row: dict[str, Any]) -> tuple[float, float]:
    """The mean losses of a row, in nats per token: of the last 1,024 tokens before its answer, and of its answer.

    Raises: UsageError if the chat template cannot be trained with.
    """
    sequence = encode(tokenizer, row)
    ids = torch.tensor([sequence["input_ids"]], device=model.device)
    answer = next(i for i, label in enumerate(sequence["labels"]) if label != IGNORED)
    first = max(answer - _CONTEXT_TOKENS, 1)
    positions = torch.arange(first - 1, ids.shape[1] - 1, device=model.device)
    logits = model(input_ids=ids, logits_to_keep=positions, use_cache=False).logits[0].float()
    each = cross_entropy(logits, ids[0, positions + 1], reduction="none")
    return float(each[: answer - first].mean()), float(each[answer - first :].mean())
