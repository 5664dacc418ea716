"""Rotary position embeddings (RoPE), and their extension to longer contexts."""

import math
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from synthctx_data.errors import UsageError
from training.options import ModelOptions


def extended_theta(theta: float, trained_tokens: int, tokens: int) -> float:
    """The RoPE theta under which `tokens` positions span the angles that `trained_tokens` spanned under `theta`.

    Source: Gradient (2024), as the paper used it: 500000 becomes 6315088 and 10000 becomes 59300 from 8192 to 32768 tokens.
    """
    return float(theta ** (math.log(tokens / (2 * math.pi)) / math.log(trained_tokens / (2 * math.pi))))


def extend(config: PreTrainedConfig, recipe: ModelOptions) -> None:
    """Writes the recipe's RoPE, longest position and sliding window into a configuration, before a model is made from it.

    Raises: UsageError if the model has no sliding window to set, or no plain RoPE to extend.
    """
    text = config.get_text_config()
    if recipe.sliding_window is not None:
        if not hasattr(text, "sliding_window") or getattr(text, "use_sliding_window", True) is False:
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
    """The RoPE parameters for the whole context: those of full attention where layers differ."""
    rope: dict[str, Any] | None = getattr(text, "rope_parameters", None)
    return rope.get("full_attention", rope) if rope else None


def check_positions(model: PreTrainedModel) -> None:
    """Raises: UsageError if the frequencies that the model computes with are not those of its configuration.

    They are computed once, when a model is made. A theta that is set later changes nothing, without any error.
    """
    text = model.config.get_text_config()
    rope = _rope(text) or {}
    for name, frequencies in model.named_buffers():
        if not name.endswith("inv_freq") or "original" in name or "sliding" in name:
            continue
        plain = rope.get("rope_type", "default") == "default"
        if plain and not math.isclose(theta_of(frequencies), rope["rope_theta"], rel_tol=1e-3):
            raise UsageError(
                f"{name} has the theta {theta_of(frequencies):.0f}, and the configuration says {rope['rope_theta']:.0f}"
            )
        if not plain and not torch.allclose(
            frequencies, ROPE_INIT_FUNCTIONS[rope["rope_type"]](text)[0].to(frequencies)
        ):
            raise UsageError(
                f"{name} has other frequencies than RoPE of type {rope['rope_type']} has in the configuration"
            )


def theta_of(inverse_frequencies: torch.Tensor) -> float:
    """The theta of plain RoPE with these inverse frequencies."""
    return float(inverse_frequencies[1].double() ** -len(inverse_frequencies))
