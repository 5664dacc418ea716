"""The private parts of transformers that this package needs, each wrapped once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel


def attention_name(model: PreTrainedModel) -> str:
    """The name of the attention implementation that a model uses, such as "sdpa"."""
    return str(model.config._attn_implementation)


def can_set_attention(model: PreTrainedModel) -> bool:
    """True if a model's attention goes through the attention interface."""
    return bool(model._can_set_attn_implementation())


def attention_function(name: str) -> Callable[..., Any]:
    """The attention function that is registered under a name."""
    function: Callable[..., Any] = AttentionInterface._global_mapping[name]
    return function


def mask_function(name: str) -> Callable[..., Any]:
    """The mask function that is registered under a name."""
    function: Callable[..., Any] = AttentionMaskInterface._global_mapping[name]
    return function


@contextmanager
def registered(name: str, attend: Callable[..., Any], mask: Callable[..., Any]) -> Iterator[None]:
    """Registers an attention function and its mask function under a name, until `with` is left."""
    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, mask)
    try:
        yield
    finally:
        AttentionInterface._global_mapping.pop(name)
        AttentionMaskInterface._global_mapping.pop(name)


def is_stateful(model: PreTrainedModel) -> bool:
    """True if a model keeps a state that a cache cannot take back."""
    return bool(model._is_stateful)
