"""Rows that share a context: which models can read it once for all of them."""

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def can_share_context(config: "PreTrainedConfig") -> bool:
    """True if several questions can stand behind one context that a model reads once, each hidden from the others by a mask.

    For this, each token must see all tokens before it in every layer: no window, no chunks, no state. And the model must take positions.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, DynamicCache
    from transformers.cache_utils import DynamicLayer

    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if kind is None or kind._is_stateful or "position_ids" not in inspect.signature(kind.forward).parameters:
        return False
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=config.get_text_config()).layers)
