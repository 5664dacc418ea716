"""What can be chosen: a recipe of fine-tuning, and an evaluation."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(gt=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]

_IDLE = {"output", "logging_steps", "save_steps", "report_to", "push_to"}


def option(default: Any, text: str) -> Any:
    """A field with its default (`...` if it must be given) and its help."""
    return Field(default, description=text, validate_default=False)


class Extended(BaseModel):
    """A model whose context is extended."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: Name = option(..., "A folder or a Hub id of a causal language model.")
    model_revision: Name | None = option(None, "The revision of the model on the Hub.")
    max_tokens: Count | None = option(None, "The context to extend to, in tokens; default: the model's own.")
    trained_tokens: Annotated[int, Field(ge=64)] | None = option(
        None, "The context that the model was trained on; default: its configuration's."
    )
    rope: Literal["theta", "yarn", "linear"] = option(
        "theta", "How positions are extended; a raised theta is the paper's."
    )
    sliding_window: Count | None = option(
        None, "The sliding window of a model that has one; the paper has 16384 for Mistral."
    )
    dtype: Literal["auto", "bfloat16", "float32"] = option("auto", "auto: bfloat16 on a GPU, else float32.")
    attention: Literal["auto", "flash_attention_2", "sdpa", "eager"] = option(
        "auto", "auto: flash_attention_2 if it is installed and there is a GPU, else sdpa."
    )


class Recipe(Extended):
    """The options of a run. Sizes and ranks default to the paper's; learning rate, epochs and schedule are ours."""

    data: Annotated[list[Name], Field(min_length=1)] = option(
        ..., "Data sets: ADDRESS:VARIANT, with @REVISION or *WEIGHT behind it if need be, each a word of its own."
    )
    output: Name = option(
        "runs/finetune",
        "The folder of the adapter; default: runs/RECIPE, or runs/finetune without one.",
    )

    lora_rank: Count = option(8, "Rank of the adapter.")
    lora_alpha: Count = option(8, "Alpha of the adapter.")
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = option(0.0, "Dropout of the adapter.")
    lora_targets: Annotated[list[Name], Field(min_length=1)] = option(
        ["q_proj", "k_proj", "v_proj", "o_proj"], "The modules that it adapts."
    )

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = option(1e-4, "The highest learning rate.")
    lr_scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = option("cosine", "Its course.")
    warmup_steps: Amount = option(0.05, "Steps of warm-up, or (below 1) their share of all.")
    epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] = option(1.0, "Passes over the data.")
    max_steps: Count | None = option(None, "Steps in all; default: as many as the epochs have.")
    batch_size: Count = option(1, "Sequences on a device at once.")
    accumulation: Count = option(4, "Such batches in a step.")
    weight_decay: Amount = option(0.0, "Weight decay.")
    max_grad_norm: Amount = option(1.0, "The norm that gradients are clipped to.")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = option(0, "Seeds the adapter and the order of the data.")

    gradient_checkpointing: bool = option(True, "Compute activations again instead of keeping them.")
    deepspeed: Name | None = option(None, "A DeepSpeed configuration, e.g. training/deepspeed/zero2.json.")

    logging_steps: Count = option(10, "Steps between two lines of the log.")
    eval_steps: Count | None = option(None, "Steps between two validations; default: at the end of each epoch.")
    save_steps: Count = option(50, "Steps between two checkpoints, of which the last two are kept.")
    report_to: Literal["none", "tensorboard", "trackio", "wandb"] = option(
        "none", "Where the log goes besides the terminal."
    )
    push_to: Name | None = option(None, "A Hub id that the finished adapter is pushed to.")

    def decisive(self) -> dict[str, Any]:
        """The options that decide the weights that come out; a run goes on only with the same."""
        return self.model_dump(exclude=_IDLE)


class Applied(Extended):
    """A model or an adapter on the rows of a data set."""

    model: Name | None = option(
        None, "A folder or a Hub id of a causal language model; default: the one of the adapter."
    )  # type: ignore[assignment]
    adapter: Name | None = option(
        None, "A folder or a Hub id of a LoRA adapter, with the configuration that lies beside it."
    )
    data: Name = option(..., "A data set, as ADDRESS:VARIANT or ADDRESS:VARIANT@REVISION.")
    split: Name = option("validation", "The split whose rows are read.")
    limit: Count | None = option(None, "How many of its rows; default: all.")


class Evaluation(Applied):
    """The options of an evaluation."""

    output: Name | None = option(
        None, "The folder of predictions, scores and plot; default: evaluations/MODEL/DATA_SPLIT."
    )
    batch_size: Count = option(1, "Rows that are answered at once.")
    max_new_tokens: Count = option(64, "Tokens of an answer at most.")
    endpoint: Name | None = option(
        None, "An OpenAI-compatible endpoint (vLLM's, say) that answers instead: its base URL."
    )
    resamples: Count = option(1000, "Resamples of the bootstrap.")

    def decisive(self) -> dict[str, Any]:
        """The options that decide the predictions."""
        return self.model_dump(exclude={"output", "batch_size", "limit", "resamples"})
