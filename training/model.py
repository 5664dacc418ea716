"""The model: its context extended, its memory foreseen, its attention heads adapted."""

import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from peft import LoraConfig
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from synthctx_data.errors import UsageError
from training.config import Recipe

_GIB = 2**30


def extended_theta(theta: float, trained_tokens: int, tokens: int) -> float:
    """The RoPE theta under which `tokens` positions span the angles that `trained_tokens` spanned under `theta`.

    Source: Gradient (2024), as the paper used it: 500000 becomes 6315088 and 10000 becomes 59300 from 8192 to 32768 tokens.
    """
    return float(theta ** (math.log(tokens / (2 * math.pi)) / math.log(trained_tokens / (2 * math.pi))))


def load_config(recipe: Recipe) -> PreTrainedConfig:
    """The configuration of the recipe's model, its context extended to `max_tokens`.

    Raises: UsageError if the model cannot be had, or if its positions cannot be extended like this.
    """
    try:
        config = AutoConfig.from_pretrained(recipe.model, revision=recipe.model_revision)
    except (OSError, ValueError) as error:
        raise UsageError(_unreachable(recipe.model, error)) from error
    extend(config, recipe)
    return config


def extend(config: PreTrainedConfig, recipe: Recipe) -> None:
    """Writes the recipe's RoPE, longest position and sliding window into a configuration, before a model is made from it."""
    text = config.get_text_config()
    if recipe.sliding_window is not None:
        if not hasattr(text, "sliding_window"):
            raise UsageError(f"--sliding-window: {recipe.model} has none; leave it out")
        text.sliding_window = recipe.sliding_window
    trained = recipe.trained_tokens or text.max_position_embeddings
    tokens = recipe.max_tokens or text.max_position_embeddings
    text.max_position_embeddings = max(tokens, text.max_position_embeddings)
    if tokens <= trained:
        return
    rope = _rope(text)
    if rope is None or rope.get("rope_type", "default") != "default":
        kind = "no RoPE" if rope is None else f"RoPE of type {rope['rope_type']}"
        raise UsageError(
            f"--max-tokens {tokens}: {recipe.model} was trained on {trained} and has {kind}, which cannot be extended further; "
            f"lower --max-tokens, or take a model with plain RoPE"
        )
    if recipe.rope == "theta":
        rope["rope_theta"] = extended_theta(rope["rope_theta"], trained, tokens)
    else:
        rope.update(rope_type=recipe.rope, factor=tokens / trained, original_max_position_embeddings=trained)


def _rope(text: PreTrainedConfig) -> dict[str, Any] | None:
    """The RoPE parameters that reach over the whole context: those of full attention, where layers differ."""
    rope: dict[str, Any] | None = getattr(text, "rope_parameters", None)
    return rope.get("full_attention", rope) if rope else None


def load_model(recipe: Recipe, config: PreTrainedConfig) -> PreTrainedModel:
    """The model with this configuration, its positions as configured."""
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            recipe.model,
            revision=recipe.model_revision,
            config=config,
            dtype=choose_dtype(recipe.dtype),
            attn_implementation=choose_attention(recipe.attention),
        )
    except (OSError, ValueError) as error:
        raise UsageError(_unreachable(recipe.model, error)) from error
    check_positions(model)
    return model


def check_positions(model: PreTrainedModel) -> None:
    """Raises: UsageError if the frequencies that the model computes with are not those of its configuration.

    They are computed once, when a model is made: a theta that was set too late would change nothing, in silence.
    """
    rope = _rope(model.config.get_text_config())
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(getattr(module, "inv_freq", None), torch.Tensor)
    ]
    if rope is None or "rope_theta" not in rope or rope is not model.config.get_text_config().rope_parameters:
        return
    for name, module in found:
        text = model.config.get_text_config()
        make = (
            module.compute_default_rope_parameters
            if rope["rope_type"] == "default"
            else ROPE_INIT_FUNCTIONS[rope["rope_type"]]
        )
        expected = make(text)[0].to(module.inv_freq)
        if not torch.allclose(module.inv_freq, expected, rtol=1e-3):
            raise UsageError(
                f"{name} computes with theta {theta_of(module.inv_freq):.0f}, and the configuration says {rope['rope_theta']:.0f}; "
                "this model cannot be extended here"
            )


def theta_of(inverse_frequencies: torch.Tensor) -> float:
    """The theta that plain RoPE has with these inverse frequencies."""
    return float(inverse_frequencies[1].double() ** -len(inverse_frequencies))


def choose_dtype(name: str) -> torch.dtype:
    """What weights are held in; "auto" is bfloat16 where a GPU computes with it."""
    if name == "auto":
        name = "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[name]


def choose_attention(name: str) -> str:
    """The attention to compute with.

    Raises: UsageError if it is not installed.
    """
    flash = find_spec("flash_attn") is not None and torch.cuda.is_available()
    if name == "flash_attention_2" and not flash:
        raise UsageError(
            '--attention flash_attention_2: expected a GPU and flash-attn; pip install "synthctx[flash-attn]", or take --attention sdpa'
        )
    return ("flash_attention_2" if flash else "sdpa") if name == "auto" else name


def lora(recipe: Recipe, model: PreTrainedModel) -> LoraConfig:
    """The adapter of the recipe.

    Raises: UsageError if the model has no modules of these names.
    """
    there = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    missing = [name for name in recipe.lora_targets if name not in there]
    if missing:
        raise UsageError(
            f"--lora-targets: {recipe.model} has no {', '.join(missing)}; its linear modules are {', '.join(sorted(there))}"
        )
    return LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=sorted(recipe.lora_targets),
        task_type="CAUSAL_LM",
    )


@dataclass(frozen=True)
class Memory:
    """What a step of training takes, in bytes: weights, adapter (with its optimizer) and activations."""

    weights: int
    adapter: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.adapter + self.activations

    def __str__(self) -> str:
        parts = ("weights", self.weights), ("adapter and optimizer", self.adapter), ("activations", self.activations)
        return " + ".join(f"{size / _GIB:.1f} GiB of {name}" for name, size in parts)


def estimate(config: PreTrainedConfig, recipe: Recipe, tokens: int) -> Memory:
    """What training on sequences of so many tokens takes on one device, without loading anything.

    Kept activations are counted as a layer's input (with checkpointing) or sixteen times as much, and a layer at work as its
    hidden states, projections and feed-forward states; what the allocator wastes is not counted.
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
    """Raises: UsageError if training would not fit on this device, with what would."""
    where, there = _available()
    needed = estimate(config, recipe, tokens)
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


def _unreachable(model: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    gated = (
        " It is gated: ask for access on its page, then log in with `hf auth login`."
        if "gated" in str(error).lower()
        else ""
    )
    return f"--model: expected a folder or a Hub id of a causal language model that can be reached, got {model!r}: {reason}.{gated}"
