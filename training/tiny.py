"""Makes a tiny model with random weights: python training/tiny.py models/tiny

For trying out a command without a GPU, a download or patience. It is a Llama of 2 layers with 8 heads and a context of 512
tokens, under the tokenizer that synthctx bundles, and knows nothing.
"""

import argparse
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from synthctx_data.tokens import BUNDLED


def make_tiny(folder: Path, seed: int = 0, **changes: int) -> Path:
    """The folder, with a model and its tokenizer in it; `changes` go over its configuration."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(BUNDLED))
    options = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 512,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        **{**options, **changes},
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print(make_tiny(parser.parse_args().folder))
