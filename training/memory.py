"""The memory that training takes, estimated before anything is loaded."""

import os
from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from synthctx_data.errors import UsageError
from training.model import choose_dtype
from training.options import Recipe

_GIB = 2**30


@dataclass(frozen=True)
class Memory:
    """The memory of a training step, in bytes: weights, adapter (with its optimizer) and activations."""

    weights: int
    adapter: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.adapter + self.activations

    def __str__(self) -> str:
        parts = ("weights", self.weights), ("adapter and optimizer", self.adapter), ("activations", self.activations)
        return " + ".join(f"{size / _GIB:.1f} GiB of {name}" for name, size in parts)


def estimate_memory(config: PreTrainedConfig, recipe: Recipe, tokens: int) -> Memory:
    """The memory that training on sequences of `tokens` tokens takes on one device, estimated without loading anything.

    For each layer, the kept activations count as its input with gradient checkpointing, and as sixteen times its input without. The
    layer at work counts as its hidden states, projections and feed-forward states. Memory that the allocator wastes does not count.
    """
    text = config.get_text_config()
    size = choose_dtype(recipe.dtype).itemsize
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=choose_dtype(recipe.dtype))
    adapted = sum(
        sum(module.weight.shape)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.rsplit(".", 1)[-1] in recipe.lora_targets
    )
    rows = tokens * recipe.batch_size
    kept = text.num_hidden_layers * text.hidden_size * (1 if recipe.gradient_checkpointing else 16)
    at_work = 12 * text.hidden_size + 5 * getattr(text, "intermediate_size", 4 * text.hidden_size)
    return Memory(model.num_parameters() * size, 16 * recipe.lora_rank * adapted, rows * (kept + at_work) * size)


def check_memory(config: PreTrainedConfig, recipe: Recipe, tokens: int) -> None:
    """Raises: UsageError if training would not fit on this device. The message says what would fit."""
    where, there = _available()
    needed = estimate_memory(config, recipe, tokens)
    if recipe.deepspeed or needed.total <= there:
        return
    per_token = needed.activations / tokens
    fitting = int((there - needed.weights - needed.adapter) / per_token)
    advice = f"about {fitting} tokens would fit" if fitting > 0 else "not even its weights fit"
    checkpointing = "" if recipe.gradient_checkpointing else ", or take --gradient-checkpointing"
    gpu = "" if torch.cuda.is_available() else "; there is no GPU here"
    raise UsageError(
        f"{recipe.model} on {tokens} tokens takes about {needed.total / _GIB:.0f} GiB ({needed}), and {where} has "
        f"{there / _GIB:.0f} GiB: {advice}{gpu}; take a smaller model, fewer --max-tokens{checkpointing}, or --deepspeed on several GPUs"
    )


def _available() -> tuple[str, int]:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(), torch.cuda.mem_get_info()[0]
    return "this machine", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
