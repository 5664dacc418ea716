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
    longest: int | None = getattr(text, "max_position_embeddings", None)
    trained, tokens = recipe.trained_tokens or longest, recipe.max_tokens or longest
    if tokens is None:  # a model without positions, as far as can be told
        return
    text.max_position_embeddings = max(tokens, longest or 0)
    if trained is not None and tokens <= trained:
        return
    ropes = {name: rope for name, rope in _ropes(text).items() if not name.startswith("sliding")}
    extended = next((rope for rope in ropes.values() if rope.get("rope_type", "default") != "default"), None)
    if not ropes or extended is not None:
        kind = f"RoPE of type {extended['rope_type']}" if extended else "no RoPE"
        raise UsageError(
            f"--max-tokens {tokens}: {recipe.model} was trained on {trained or 'an unknown number'} and has {kind}, which cannot be "
            f"extended further; "
            f"lower --max-tokens, or take a model with plain RoPE"
        )
    if trained is None:
        raise UsageError(
            f"--max-tokens {tokens}: expected --trained-tokens, as the configuration of {recipe.model} names no context"
        )
    for rope in ropes.values():
        if recipe.rope == "theta":
            rope["rope_theta"] = extended_theta(rope["rope_theta"], trained, tokens)
        else:
            rope.update(rope_type=recipe.rope, factor=tokens / trained, original_max_position_embeddings=trained)


def _ropes(text: PreTrainedConfig) -> dict[str, dict[str, Any]]:
    """The RoPE parameters by the type of layer that has them, or those of all layers by the name ""; empty if there is no RoPE."""
    found: dict[str, Any] = getattr(text, "rope_parameters", None) or {}
    nested = {name: rope for name, rope in found.items() if isinstance(rope, dict)}
    return nested or ({"": found} if found else {})


def check_positions(model: PreTrainedModel) -> None:
    """Raises: UsageError if the frequencies that the model computes with are not those of its configuration.

    They are computed once, when a model is made. A theta that is set later changes nothing, without any error.
    """
    text = model.config.get_text_config()
    ropes = _ropes(text)
    for name, frequencies in model.named_buffers():
        layer_type = name.rpartition(".")[2].removesuffix("inv_freq").rstrip("_")
        if not name.endswith("inv_freq") or layer_type not in ropes:  # of images, or those before an extension
            continue
        rope = ropes[layer_type]
        kind = rope.get("rope_type", "default")
        if kind == "default":
            close = 1e-3 if frequencies.dtype == torch.float32 else 3e-2
            if len(frequencies) > 1 and not math.isclose(theta_of(frequencies), rope["rope_theta"], rel_tol=close):
                raise UsageError(
                    f"{name} has the theta {theta_of(frequencies):.0f}, and the configuration says {rope['rope_theta']:.0f}"
                )
        elif kind in ROPE_INIT_FUNCTIONS:
            expected, _ = ROPE_INIT_FUNCTIONS[kind](text, **({"layer_type": layer_type} if layer_type else {}))
            if not torch.allclose(frequencies, expected.to(frequencies)):
                raise UsageError(f"{name} has other frequencies than RoPE of type {kind} has in the configuration")


def theta_of(inverse_frequencies: torch.Tensor) -> float:
    """The theta of plain RoPE with these inverse frequencies."""
    return float(inverse_frequencies[1].double() ** -len(inverse_frequencies))
