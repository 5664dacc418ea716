"""Tiny random models of many families, by their name in transformers."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_WINDOWS = {
    "num_hidden_layers": 3,
    "sliding_window": 16,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
_LATENT = {
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 12,
    "n_routed_experts": 4,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "apertus": {},
    "arcee": {},
    "bitnet": {},
    "biogpt": {},
    "cohere": {},
    "cohere2": {**_WINDOWS},
    "deepseek_v2": {
        **_LATENT,
        "num_key_value_heads": 4,
        "first_k_dense_replace": 1,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
    },
    "deepseek_v3": {**_LATENT, "num_key_value_heads": 4, "n_group": 2, "topk_group": 1, "moe_intermediate_size": 16},
    "ernie4_5": {},
    "exaone4": {**_WINDOWS},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, **_WINDOWS, "attn_logit_softcapping": 5.0},
    "gemma3_text": {"head_dim": 8, **_WINDOWS},
    "glm": {"head_dim": 8},
    "glm4": {"head_dim": 8},
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neox": {},
    "gpt_oss": {"head_dim": 8, **_WINDOWS, "num_local_experts": 4, "num_experts_per_tok": 2},
    "granite": {},
    "granitemoe": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "helium": {"head_dim": 8},
    "hunyuan_v1_dense": {"head_dim": 8},
    "llama": {},
    "llama4_text": {"head_dim": 8, "attention_chunk_size": 16, "num_local_experts": 2, "intermediate_size_mlp": 32},
    "mistral": {"sliding_window": 16},
    "mixtral": {"num_local_experts": 4},
    "nemotron": {},
    "olmo": {},
    "olmo2": {},
    "olmo3": {**_WINDOWS},
    "olmoe": {**_EXPERTS},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "persimmon": {},
    "phi": {},
    "phi3": {"sliding_window": 16},
    "qwen2": {"use_sliding_window": True, **_WINDOWS},
    "qwen2_moe": {**_EXPERTS, "shared_expert_intermediate_size": 16},
    "qwen3": {"head_dim": 8},
    "qwen3_moe": {**_EXPERTS, "head_dim": 8},
    "seed_oss": {"head_dim": 8},
    "smollm3": {},
    "stablelm": {},
    "starcoder2": {"sliding_window": 16},
}
STATEFUL: dict[str, dict[str, Any]] = {
    "lfm2": {"num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"]},
    "qwen3_next": {
        "head_dim": 8,
        **_EXPERTS,
        "shared_expert_intermediate_size": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "num_hidden_layers": 2,
        "layer_types": ["linear_attention", "full_attention"],
    },
}
OFTEN = ("deepseek_v3", "gemma2", "gemma3_text", "gpt2", "gpt_oss", "llama", "mistral", "qwen3_moe")


def rarely(*families: str) -> list[Any]:
    """Families that are left to the slow tests."""
    return [pytest.param(family, marks=pytest.mark.slow) for family in families]


def make(family: str, attention: str | None = None, **changes: Any) -> PreTrainedModel:
    """The model of a family, the same each time; attention as transformers chooses it, if not given."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**SMALL, **{**FAMILIES, **STATEFUL}[family], **changes})
    model = AutoModelForCausalLM.from_config(config, **({"attn_implementation": attention} if attention else {}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)  # as they are made, all heads attend alike: nothing would show
    return model.eval()
