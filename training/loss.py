"""The loss at labelled positions only."""

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from trl import SFTTrainer

from training.turns import IGNORED


def labelled_loss(
    model: torch.nn.Module, inputs: dict[str, torch.Tensor], items: torch.Tensor | int | None = None
) -> tuple[torch.Tensor, int, int]:
    """The summed cross entropy divided by `items`, the number of labelled tokens, and the number of those predicted right.

    If `items` is None, it is the number of labelled tokens. Logits (batch, positions, vocabulary) are computed only for positions
    whose next token has a label in some row. All logits (batch, tokens, vocabulary) of 32K tokens and 128,256 words would take 16 GiB.
    """
    labels = inputs["labels"]
    positions = (labels[:, 1:] != IGNORED).any(0).nonzero().flatten()
    given = {name: value for name, value in inputs.items() if name not in ("labels", "attention_mask")}
    mask = inputs.get("attention_mask")
    if mask is not None and not mask.all():  # a mask that hides nothing would still be expanded to (tokens, tokens)
        given["attention_mask"] = mask
    logits = model(**given, logits_to_keep=positions, use_cache=False).logits.float()
    targets = labels[:, positions + 1]
    total = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
    scored = int((targets != IGNORED).sum())
    right = int((logits.argmax(-1) == targets).sum())
    return total / (max(scored, 1) if items is None else items), scored, right


class AnswerTrainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer, with the loss at labelled positions only on every device."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        mode = "train" if model.training else "eval"
        loss, scored, right = labelled_loss(model, inputs, num_items_in_batch)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # the average over devices divides by it
        self._metrics[mode]["token_accuracy"].append(right / max(scored, 1))
        return loss
