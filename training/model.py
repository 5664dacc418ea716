"""Models, loaded with an extended context, and adapters for their attention heads."""

from importlib.util import find_spec
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig, PeftModel
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers import PreTrainedTokenizerBase as Tokenizer

from synthctx_data.errors import UsageError
from synthctx_data.hub import may_be_hub_id, read_from
from synthctx_data.log import LOG
from training.contexts import can_share_context
from training.options import AdapterOptions, ModelOptions, ReadingOptions, Recipe
from training.rope import check_positions, extend
from training.turns import load_tokenizer

_MODEL = "--model: expected a folder or a Hub id of a causal language model that can be loaded"
_ADAPTER = "--adapter: expected a folder or a Hub id of an adapter with its config.json"


def load_config(recipe: ModelOptions) -> PreTrainedConfig:
    """The configuration of the recipe's model, with the context extended to `max_tokens` tokens.

    Raises: UsageError if the model cannot be loaded, or if its positions cannot be extended like this.
    """
    with read_from(recipe.model, _MODEL):
        config = AutoConfig.from_pretrained(recipe.model, revision=recipe.model_revision)
        if not hasattr(config.get_text_config(), "vocab_size"):
            raise UsageError(f"{_MODEL}, got {recipe.model!r}: it is a {config.model_type}, which reads no text")
        extend(config, recipe)
    return config


def load_model(recipe: ModelOptions, config: PreTrainedConfig) -> PreTrainedModel:
    """The model with this configuration.

    Raises: UsageError if it cannot be loaded, lacks weights, or computes with other positions than configured.
    """
    with read_from(recipe.model, _MODEL):
        model, info = AutoModelForCausalLM.from_pretrained(
            recipe.model,
            revision=recipe.model_revision,
            config=config,
            dtype=choose_dtype(recipe.dtype),
            attn_implementation=choose_attention(recipe.attention, config),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are told below
        )
    absent = sorted([*info["missing_keys"], *map(str, info["mismatched_keys"])])
    if absent:
        raise UsageError(
            f"--model: expected all weights in {recipe.model!r}, and {len(absent)} are absent or misshapen: {absent[0]}"
        )
    with read_from(recipe.model, _MODEL):
        check_positions(model)
    LOG.info("%s: loaded as %s, with attention %s", recipe.model, model.dtype, model.config._attn_implementation)
    return model


def load_for_reading(options: ReadingOptions) -> tuple[PreTrainedModel, Tokenizer]:
    """The model of the options, with its adapter if it has one, ready to read, and the tokenizer.

    Raises: UsageError if one of them cannot be loaded.
    """
    return load_adapted(options).eval(), load_tokenizer_of(options)


def load_tokenizer_of(options: ReadingOptions) -> Tokenizer:
    """The tokenizer of the adapter; if there is no adapter, or its folder has none, that of the model.

    Raises: UsageError if it cannot be loaded.
    """
    if options.adapter and not (Path(options.adapter).is_dir() and not any(Path(options.adapter).glob("tokenizer*"))):
        return load_tokenizer(options.adapter)
    return load_tokenizer(_base_of(options), options.model_revision)


def load_config_of(options: ReadingOptions) -> PreTrainedConfig:
    """The configuration that the model reads with: the one beside its adapter, or else its own, extended as the options say.

    Raises: UsageError if it cannot be loaded.
    """
    if options.adapter is None:
        return load_config(options)
    if Path(options.adapter).is_dir() and not (Path(options.adapter) / "adapter_config.json").is_file():
        raise UsageError(
            f"--adapter: expected a finished adapter in {options.adapter}, and there is no adapter_config.json; the command that trains it "
            "goes on when it is called again"
        )
    with read_from(options.adapter, _ADAPTER):
        return AutoConfig.from_pretrained(options.adapter)
    raise AssertionError  # read_from lets no error through without raising another


def load_adapted(options: ReadingOptions) -> PreTrainedModel:
    """The model of the options, with its adapter if it has one. Its positions are then those that the adapter was trained with.

    Raises: UsageError if one of them cannot be loaded.
    """
    if options.model_revision and Path(str(options.model)).is_dir():
        raise UsageError(
            f"--model-revision: {options.model} is a folder, and only a model on the Hub has revisions; leave it out"
        )
    if options.adapter is None:
        return load_model(options, load_config_of(options)).to(_device())
    for name in ("max_tokens", "trained_tokens", "sliding_window", "rope"):
        if getattr(options, name) != ReadingOptions.model_fields[name].default:
            raise UsageError(
                f"--{name.replace('_', '-')}: an adapter brings the context that it was trained with; leave it out"
            )
    config = load_config_of(options)
    with read_from(options.adapter, _ADAPTER):
        base = _base_of(options)
        _require_same_shape(config, AutoConfig.from_pretrained(base, revision=options.model_revision))
        if Path(options.adapter).is_dir() and not any(Path(options.adapter).glob("adapter_model.*")):
            raise UsageError(f"--adapter: expected adapter_model.safetensors in {options.adapter}, and there is none")
        model = load_model(options.model_copy(update={"model": base}), config)
        return PeftModel.from_pretrained(model, options.adapter).to(_device())
    raise AssertionError


def _base_of(options: ReadingOptions) -> str:
    """The model of the options, or else the one that their adapter was trained on.

    Raises: UsageError if the adapter names none, or a folder that is not there.
    """
    base = options.model or PeftConfig.from_pretrained(options.adapter).base_model_name_or_path
    if not base or not (Path(base).exists() or may_be_hub_id(str(base))):
        raise UsageError(
            f"--adapter: {options.adapter} was trained on the model {base!r}, which is not here; name it by --model"
        )
    return str(base)


def _require_same_shape(adapted: PreTrainedConfig, base: PreTrainedConfig) -> None:
    for name in (
        "model_type",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
    ):
        theirs, mine = (getattr(config.get_text_config(), name, None) for config in (adapted, base))
        if theirs != mine:
            raise UsageError(
                f"--model: the adapter was trained on a model whose {name} is {theirs}, and this one's is {mine}"
            )


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_dtype(name: str) -> torch.dtype:
    """The type of the weights. "auto" is bfloat16 if there is a GPU that computes with it, else float32."""
    if name == "auto":
        name = "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[name]


def choose_attention(name: str, config: PreTrainedConfig) -> str:
    """The implementation of attention for a model. "auto" is the first of flash_attention_2, sdpa and eager that can be used.

    flash_attention_2 needs a GPU. Some models cannot be computed with it or with sdpa, such as those whose logits are capped (Gemma 2).

    Raises: UsageError if flash_attention_2 is asked for and is not installed, or there is no GPU.
    """
    flash = find_spec("flash_attn") is not None and torch.cuda.is_available()
    if name == "flash_attention_2" and not flash:
        raise UsageError(
            '--attention flash_attention_2: expected a GPU and flash-attn; pip install "synthctx[flash-attn]", or take --attention sdpa'
        )
    if name != "auto":
        return name
    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if flash and getattr(kind, "_supports_flash_attn", True):
        return "flash_attention_2"
    return "sdpa" if getattr(kind, "_supports_sdpa", True) else "eager"


def shares_contexts(recipe: Recipe, config: PreTrainedConfig) -> bool:
    """True if training reads a context once for all of its rows, and can give tokens other positions: with sdpa, whose masks are free.

    Eager attention adds its mask, so a mask of booleans would hide nothing. Where several GPUs read a context together, there is no mask.
    """
    masks = recipe.sequence_parallel == 1 and choose_attention(recipe.attention, config) == "sdpa"
    return masks and can_share_context(config)


def lora(recipe: AdapterOptions, model: PreTrainedModel) -> LoraConfig:
    """The LoRA configuration of the recipe.

    Raises: UsageError if the model has no linear module with one of the target names.
    """
    there = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    missing = [name for name in recipe.lora_targets if name not in there]
    if missing:
        raise UsageError(
            f"--lora-targets: {model.name_or_path} has no {', '.join(missing)}; its linear modules are {', '.join(sorted(there))}"
        )
    return LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=getattr(recipe, "lora_dropout", 0.0),
        target_modules=sorted(recipe.lora_targets),
        task_type="CAUSAL_LM",
    )
