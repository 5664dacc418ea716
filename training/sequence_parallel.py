"""A context that several GPUs read together: each holds a part of its tokens, and for attention all tokens of a part of the heads.

Source: DeepSpeed Ulysses (Jacobs et al. 2023, arXiv 2309.14509), as DeepSpeed, Accelerate and TRL have it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import accelerate
import torch
from transformers import PreTrainedConfig, trainer

from synthctx_data.errors import UsageError
from training.contexts import can_share_context
from training.model import choose_attention
from training.options import Recipe
from training.turns import IGNORED

Collate = Callable[[Sequence[Mapping[str, Sequence[int]]]], dict[str, torch.Tensor]]
_KERNELS = ("sdpa", "flash_attention_2")


def divide_contexts(recipe: Recipe, config: PreTrainedConfig) -> Any:
    """The configuration of Accelerate that divides each context among the recipe's number of processes; None if it is not divided.

    Raises: UsageError if the processes or the model's heads cannot be divided, or the model reads a context in another way.
    """
    if recipe.sequence_parallel == 1:
        return None
    from accelerate.utils import DeepSpeedSequenceParallelConfig
    from deepspeed import init_distributed

    _require_divisible(recipe, config)
    kernel = choose_attention(recipe.attention, config)
    init_distributed("nccl" if torch.cuda.is_available() else "gloo")  # which Accelerate does on a GPU only
    trainer.skip_first_batches = _skip_first_batches
    return accelerate.ParallelismConfig(
        dp_replicate_size=_processes() // recipe.sequence_parallel,
        sp_size=recipe.sequence_parallel,
        sp_backend="deepspeed",
        sp_handler=DeepSpeedSequenceParallelConfig(sp_seq_length_is_variable=True, sp_attn_implementation=kernel),
    )


def _skip_first_batches(batches: Any, count: int) -> Any:
    """The batches behind the first `count`, with which a run goes on. Accelerate's own function knows no divided batches."""
    if not hasattr(batches, "micro_batches"):
        return accelerate.skip_first_batches(batches, count)
    for _ in range(count):
        next(batches)
    return batches


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _require_divisible(recipe: Recipe, config: PreTrainedConfig) -> None:
    parts, text = recipe.sequence_parallel, config.get_text_config()
    if _processes() % parts:
        raise UsageError(
            f"--sequence-parallel {parts}: expected a multiple of {parts} processes, got {_processes()}; start it with "
            f"torchrun --nproc-per-node {parts} training/finetune.py ..."
        )
    heads, groups = text.num_attention_heads, getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    if heads % parts or (groups % parts and parts % groups):
        raise UsageError(
            f"--sequence-parallel {parts}: expected a number that divides the {heads} heads of {recipe.model}, and divides its {groups} "
            "heads of keys and values or is a multiple of them"
        )
    if choose_attention(recipe.attention, config) not in _KERNELS or not can_share_context(config):
        raise UsageError(
            f"--sequence-parallel: expected --attention {' or '.join(_KERNELS)}, and a model whose tokens see all tokens before them; "
            f"{recipe.model} has a window or a state, or another --attention is asked for"
        )


def collate_divisible(parts: int) -> Collate:
    """A function that makes a batch of one sequence, with positions, padded at its end to a multiple of `parts` tokens.

    No token of the sequence sees the padding, which is behind it, and the padding has no label.
    """

    def collate(items: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, torch.Tensor]:
        (one,) = items
        ids, labels = list(one["input_ids"]), list(one["labels"])
        more = -len(ids) % parts
        return {
            "input_ids": torch.tensor([ids + [0] * more]),
            "labels": torch.tensor([labels + [IGNORED] * more]),
            "position_ids": torch.arange(len(ids) + more)[None],
        }

    return collate
