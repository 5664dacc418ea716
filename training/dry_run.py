"""A dry run of training: rows, tokens, steps, memory and time, from configuration, tokenizer and a few rows. No weights are read."""

from dataclasses import dataclass
from math import ceil
from statistics import fmean

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from synthctx_data.command import out
from training.memory import GIB, Memory, computes_again, estimate_memory
from training.model import load_config, shares_contexts
from training.options import Recipe
from training.sequences import contexts, encode_all, load_mixture, parse_mixture
from training.turns import load_tokenizer

_SEQUENCES = 16  # that are counted, at most
_H100 = 79 * GIB  # the memory of an H100 with 80 GB
_FLOPS = 989e12  # its floating-point operations a second in bfloat16, without sparsity
_USED = 0.4  # the share of them that training is taken to reach


@dataclass(frozen=True)
class Forecast:
    """The size of a training run: `rows`, `sequences` (rows on one context are one), the steps of all epochs, and tokens.

    `tokens` are the fewest, the mean and the most of a sequence. `memory` and `hours` are those on one H100, with `checkpointing` or
    without.
    """

    rows: int
    sequences: int
    steps: int
    tokens: tuple[int, int, int]
    memory: Memory
    checkpointing: bool
    hours: float

    @property
    def fits(self) -> bool:
        """True if one H100 holds the training."""
        return self.memory.total <= _H100


def forecast(recipe: Recipe) -> Forecast:
    """The size of the training that a recipe asks for, from some of its rows.

    Raises: UsageError if the configuration, the tokenizer or the data cannot be loaded, or if a row is too long.
    """
    config = load_config(recipe)
    tokenizer = load_tokenizer(recipe.model, recipe.model_revision)
    rows = load_mixture(parse_mixture(recipe.data), "train")
    together = shares_contexts(recipe, config)
    groups = contexts(rows) if together else [[i] for i in range(len(rows))]
    apart = ceil(len(groups) / _SEQUENCES)
    counted = [i for group in groups[::apart] for i in group]  # from all data sets of a mixture
    most = recipe.max_tokens or config.get_text_config().max_position_embeddings
    sizes = [len(one) for one in encode_all(rows.select(counted), tokenizer, most, together)["labels"]]
    sequences = len(groups)
    steps = recipe.max_steps or ceil(ceil(sequences / recipe.batch_size / recipe.accumulation) * recipe.epochs)
    on_gpu = recipe.model_copy(update={"dtype": "bfloat16" if recipe.dtype == "auto" else recipe.dtype})
    checkpointing = computes_again(config, on_gpu, max(sizes), _H100)
    memory = estimate_memory(config, on_gpu, max(sizes), checkpointing)
    read = steps * recipe.batch_size * recipe.accumulation
    seconds = read * fmean(_operations(config, size) for size in sizes) * (3 if checkpointing else 2) / (_FLOPS * _USED)
    tokens = (min(sizes), round(fmean(sizes)), max(sizes))
    return Forecast(len(rows), sequences, steps, tokens, memory, checkpointing, seconds / 3600)


def _operations(config: PreTrainedConfig, tokens: int) -> float:
    """The floating-point operations of one forward pass without logits. The frozen weights need as many again in the backward pass."""
    text = config.get_text_config()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    weights = model.base_model.num_parameters() - model.get_input_embeddings().weight.numel()
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    # A token sees half of the tokens on average, in two products.
    attention = 2 * text.num_hidden_layers * text.num_attention_heads * size * tokens
    return float(tokens * (2 * weights + attention))


def show_forecast(recipe: Recipe, found: Forecast) -> None:
    """Prints a forecast."""
    least, mean, most = found.tokens
    how = "activations computed again" if found.checkpointing else "all activations kept"
    time = f"{found.hours:.1f} hours" if found.hours >= 1 else f"{60 * found.hours:.1f} minutes"
    for line in (
        f"rows       {found.rows:,} in {found.sequences:,} sequences; rows on one context are one sequence",
        f"tokens     {least:,} to {most:,} a sequence, {mean:,} on average, in {min(_SEQUENCES, found.sequences)} of them",
        f"steps      {found.steps:,} of {recipe.batch_size * recipe.accumulation} sequences",
        f"one H100   {found.memory.total / GIB:.1f} GiB of {_H100 / GIB:.0f}, {how}: {found.memory}",
        f"           about {time}, if it reaches {_USED:.0%} of its {_FLOPS / 1e12:.0f} TFLOP/s",
    ):
        out.print(line, soft_wrap=True)
    if not found.fits:
        out.print("one H100 does not hold it: take several with --deepspeed, or fewer --max-tokens", soft_wrap=True)
