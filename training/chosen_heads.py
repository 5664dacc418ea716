"""Adapters of chosen heads: the parts of a LoRA adapter that belong to other heads are zero, and stay so."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedConfig

from synthctx_data.errors import UsageError
from synthctx_data.files import expanded, parse_json

Head = tuple[int, int]  # layer, head
RANKING = "heads.json"
_MODULE = re.compile(r"\.layers\.(\d+)\.self_attn\.([qkvo])_proj$")


def read_top(place: str, top: int) -> list[Head]:
    """The `top` highest heads of a ranking: heads.json, as analysis/detect.py writes it, or its folder.

    Raises: UsageError if there is none, or if it has fewer heads.
    """
    file = expanded(place)
    file = file / RANKING if file.is_dir() else file
    try:
        ranked = [(one["layer"], one["head"]) for one in parse_json(file.read_bytes())["heads"]]
        if not all(type(number) is int for one in ranked for number in one) or len(set(ranked)) < len(ranked):
            raise ValueError("expected whole numbers, and each head once")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"--heads: expected {RANKING} as analysis/detect.py writes it, or its folder, got {place}: {type(error).__name__}: {error}; "
            "of an entry of the atlas, analysis/export.py --format ranking makes one"
        ) from error
    if len(ranked) < top:
        raise UsageError(f"--top {top}: expected at most the {len(ranked)} heads that {file} ranks")
    return ranked[:top]


def whole_groups(heads: Sequence[Head], config: PreTrainedConfig) -> list[Head]:
    """The heads with all others that share their keys and values, in the order of layer and head.

    Raises: UsageError if the model lacks one of the heads.
    """
    text = config.get_text_config()
    layers, count = text.num_hidden_layers, text.num_attention_heads
    size = count // (getattr(text, "num_key_value_heads", None) or count)
    absent = [one for one in heads if not (0 <= one[0] < layers and 0 <= one[1] < count)]
    if absent:
        raise UsageError(
            f"--heads: expected heads of a model of {layers} layers of {count} heads, got (layer, head) {absent[0]}"
        )
    groups = {(layer, head // size) for layer, head in heads}
    return sorted((layer, group * size + i) for layer, group in groups for i in range(size))


def tune_only(model: Any, heads: Sequence[Head], config: PreTrainedConfig) -> None:
    """Confines a model's new LoRA adapter to heads: the rows of q, k and v and the columns of o that are theirs.

    The other rows of B and columns of A become zero, and so do their gradients: an optimizer then leaves them at zero.

    Raises: UsageError if the adapter changes something else, or if the attention of the model has another form.
    """
    text = config.get_text_config()
    count = text.num_attention_heads
    groups = getattr(text, "num_key_value_heads", None) or count
    width = getattr(text, "head_dim", None) or text.hidden_size // count
    by_layer: dict[int, list[int]] = defaultdict(list)
    for layer, head in heads:
        by_layer[layer].append(head)
    for name, module in model.named_modules():
        if not hasattr(module, "lora_A") or not hasattr(module, "base_layer"):
            continue
        found = _MODULE.search(name)
        if found is None:
            raise UsageError(
                f"--heads: expected a model whose heads are in self_attn.q_proj and so on, and the adapter changes {name}"
            )
        kind, mine = found[2], by_layer[int(found[1])]
        units, chosen = (count, mine) if kind in "qo" else (groups, sorted({head * groups // count for head in mine}))
        linear = module.base_layer
        size = linear.in_features if kind == "o" else linear.out_features
        if size != units * width:
            raise UsageError(
                f"--heads: expected {name} to have {units} heads of {width} dimensions, and it has {size} in all"
            )
        keep = torch.zeros(units, width)
        keep[chosen] = 1
        if kind == "o":
            _confine(module.lora_A["default"].weight, keep.flatten()[None, :])
        else:
            _confine(module.lora_B["default"].weight, keep.flatten()[:, None])


def _confine(weight: torch.nn.Parameter, keep: torch.Tensor) -> None:
    mask = keep.to(weight.device, weight.dtype)
    with torch.no_grad():
        weight.mul_(mask)
    weight.register_hook(lambda one: one * mask.to(one.device, one.dtype))  # type: ignore[no-untyped-call]
