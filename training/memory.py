"""The memory that training takes, estimated before anything is loaded."""

import os
from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from synthctx_data.errors import UsageError
from training.model import choose_dtype
from training.options import Recipe

GIB = 2**30


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
        return " + ".join(f"{size / GIB:.1f} GiB of {name}" for name, size in parts)


def estimate_memory(config: PreTrainedConfig, recipe: Recipe, tokens: int, checkpointing: bool) -> Memory:
    """The memory that training on sequences of `tokens` tokens takes on one device, estimated without loading anything.

    A layer at work counts as its hidden states, projections and feed-forward states. With gradient checkpointing there is one such
    layer, and the input of every other one is kept; without, there are as many as layers. Memory that the allocator wastes does not
    count.
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
    layers, width = text.num_hidden_layers, text.hidden_size
    at_work = 12 * width + 5 * getattr(text, "intermediate_size", 4 * width)
    kept = layers * width + at_work if checkpointing else layers * at_work
    return Memory(model.num_parameters() * size, 16 * recipe.lora_rank * adapted, rows * kept * size)


def computes_again(config: PreTrainedConfig, recipe: Recipe, tokens: int, there: int) -> bool:
    """True if activations are computed again instead of kept on a device with `there` bytes. "auto": unless half of them hold them."""
    if recipe.gradient_checkpointing != "auto":
        return recipe.gradient_checkpointing
    return bool(recipe.deepspeed) or estimate_memory(config, recipe, tokens, False).total > there / 2


def choose_checkpointing(config: PreTrainedConfig, recipe: Recipe, tokens: int) -> bool:
    """True if activations are computed again instead of kept on this device.

    Raises: UsageError if training would not fit on this device. The message says what would fit.
    """
    where, there = _available()
    checkpointing = computes_again(config, recipe, tokens, there)
    needed = estimate_memory(config, recipe, tokens, checkpointing)
    if recipe.deepspeed or needed.total <= there:
        return checkpointing
    per_token = needed.activations / tokens
    fitting = int((there - needed.weights - needed.adapter) / per_token)
    advice = f"about {fitting} tokens would fit" if fitting > 0 else "not even its weights fit"
    switch = "" if checkpointing else ", or take --gradient-checkpointing auto"
    gpu = "" if torch.cuda.is_available() else "; there is no GPU here"
    raise UsageError(
        f"{recipe.model} on {tokens} tokens takes about {needed.total / GIB:.0f} GiB ({needed}), and {where} has "
        f"{there / GIB:.0f} GiB: {advice}{gpu}; take a smaller model, fewer --max-tokens{switch}, or --deepspeed on several GPUs"
    )


def _available() -> tuple[str, int]:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(), torch.cuda.mem_get_info()[0]
    return "this machine", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
