"""The loss at labelled positions only, and a trainer that stops when numbers are no longer finite."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from trl import SFTTrainer

from synthctx_data.errors import UsageError
from training.turns import IGNORED


def labelled_loss(
    model: torch.nn.Module, inputs: dict[str, torch.Tensor], items: torch.Tensor | int | None = None
) -> tuple[torch.Tensor, int, int]:
    """The summed cross entropy divided by `items`, the number of labelled tokens, and the number of those predicted right.

    If `items` is None, it is the number of labelled tokens. `shift_labels` are there in place of labels if several GPUs hold a part of
    each sequence: the labels of the next tokens. Logits (batch, positions, vocabulary) are computed only for positions
    whose next token has a label in some row. All logits (batch, tokens, vocabulary) of 32K tokens and 128,256 words would take 16 GiB.
    """
    next_labels = inputs["shift_labels"] if "shift_labels" in inputs else inputs["labels"][:, 1:]
    positions = (next_labels != IGNORED).any(0).nonzero().flatten()
    given = {name: value for name, value in inputs.items() if name not in ("labels", "shift_labels", "attention_mask")}
    mask = inputs.get("attention_mask")
    if mask is not None and not mask.all():  # a mask that hides nothing would still be expanded to (tokens, tokens)
        given["attention_mask"] = mask
    logits = model(**given, logits_to_keep=positions, use_cache=False).logits.float()
    targets = next_labels[:, positions]
    total = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
    scored = int((targets != IGNORED).sum())
    right = int((logits.argmax(-1) == targets).sum())
    return total / (max(scored, 1) if items is None else items), scored, right


class AnswerTrainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer, with the loss at labelled positions only on every device. It stops at a loss or a weight that is not finite.

    The validation loss is the mean over all labelled tokens, whatever the batch size. The stock trainer's is a mean over batches.
    """

    _validated = torch.zeros(2)  # the summed loss of a validation, and its labelled tokens

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns: list[str] = [*dict.fromkeys([*self._signature_columns, "branches", "skip"])]

    def get_batch_samples(self, *arguments: Any, **options: Any) -> tuple[list[dict[str, Any]], Any]:
        """The batches of a step, and their number of labelled tokens on all devices, which the stock trainer does not count in parts."""
        batches, items = super().get_batch_samples(*arguments, **options)
        if batches and "shift_labels" in batches[0]:
            self.loss_is_scaled_for_ga = True
            own = sum((batch["shift_labels"] != IGNORED).sum() for batch in batches)
            items = self.accelerator.reduce(own.to(self.args.device), "sum")
        return batches, items

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        mode = "train" if model.training else "eval"
        loss, scored, right = labelled_loss(model, inputs, num_items_in_batch)
        self._metrics[mode]["token_accuracy"].append(right / max(scored, 1))
        if mode == "eval":
            total = float(loss) * (max(scored, 1) if num_items_in_batch is None else float(num_items_in_batch))
            self._validated += torch.tensor([total, scored])
        elif num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # Gradients are averaged over devices, but summed over those that share a context.
            loss = loss * self.accelerator.num_processes / self.get_sp_size()
        return loss

    def evaluation_loop(self, *arguments: Any, metric_key_prefix: str = "eval", **options: Any) -> Any:
        self._validated = torch.zeros(2)
        output = super().evaluation_loop(*arguments, metric_key_prefix=metric_key_prefix, **options)
        total, scored = self.accelerator.reduce(self._validated.to(self.args.device), "sum").tolist()
        if not math.isfinite(total):
            raise UsageError(self._diverged(f"the validation loss is {total}"))
        output.metrics[f"{metric_key_prefix}_loss"] = total / max(scored, 1)
        return output

    def training_step(self, *arguments: Any, **options: Any) -> torch.Tensor:
        loss: torch.Tensor = (
            super().training_step(*arguments, **options) * self.get_sp_size()
        )  # the log averages over all devices
        if not torch.isfinite(loss):
            raise UsageError(self._diverged(f"the loss is {loss.item()}"))
        return loss

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        self.require_finite()
        super()._save_checkpoint(*arguments, **options)

    def require_finite(self) -> None:
        """Raises: UsageError if a trained weight is not finite."""
        trained: Sequence[tuple[str, torch.Tensor]] = [
            (name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad
        ]
        broken = next((name for name, weight in trained if not torch.isfinite(weight).all()), None)
        if broken:
            raise UsageError(self._diverged(f"{broken} is not finite"))

    def _diverged(self, what: str) -> str:
        return (
            f"{what} after step {self.state.global_step}; lower --learning-rate, or raise --warmup-steps, and give another --output; "
            f"checkpoints before it stay in {self.args.output_dir}"
        )
