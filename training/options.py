"""The options of fine-tuning and of evaluation. Each is defined once, for the command line, YAML recipes and Python."""

from typing import Annotated, Any, ClassVar, Literal, Self

from cyclopts import Parameter
from pydantic import AfterValidator, Field, field_validator, model_validator

from synthctx_data.errors import UsageError
from synthctx_data.files import expanded, parse_json
from synthctx_data.hub import has_form_of_hub_id
from synthctx_data.option_model import SEVERAL, OptionModel, panel
from synthctx_data.places import folder_here
from synthctx_data.shown import public_address

Positive = Annotated[int, Field(gt=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
Split = Literal["train", "validation"]
BENCHMARKS = ("ruler", "babilong", "nolima", "mrcr", "longbench", "helmet")
Folder = Annotated[str, Field(min_length=1), AfterValidator(lambda place: str(folder_here("--output", place)))]

MODEL_PANEL = panel("Model", 1)
DATA_PANEL = panel("Data and output", 2)
_ADAPTER = panel("Adapter", 3)
_SCHEDULE = panel("Schedule", 4)
_HARDWARE = panel("Hardware", 5)
_LOG = panel("Log and checkpoints", 6)
ANSWERS_PANEL = panel("Answers", 3)
BENCHMARK_PANEL = panel("Benchmarks", 4)
_OF_HEADS = {"q_proj", "k_proj", "v_proj", "o_proj"}  # the modules of which heads have their parts
_IDLE = {"output", "dry_run", "gradient_checkpointing", "logging_steps", "save_steps", "report_to", "push_to"}


def names_benchmark(data: str) -> bool:
    """True if an address is one of a benchmark, such as ruler:FILE."""
    return data.partition(":")[0] in BENCHMARKS and ":" in data


def _json_in(file: str) -> Any:
    """The value in a file of JSON; an empty text if there is none."""
    try:
        return parse_json(expanded(file).read_bytes())
    except (OSError, ValueError):
        return ""


class ModelOptions(OptionModel):
    """The options of a model and of the extension of its context."""

    model: Annotated[Name, MODEL_PANEL]
    """A folder or a Hub id of a causal language model."""
    model_revision: Annotated[Name | None, MODEL_PANEL] = None
    """The revision of the model on the Hub."""
    max_tokens: Annotated[Positive | None, Field(le=2**26), MODEL_PANEL] = None
    """The context to extend to, in tokens. Default: the model's own."""
    trained_tokens: Annotated[int | None, Field(ge=64), MODEL_PANEL] = None
    """The context that the model was trained on, in tokens. Default: what its configuration says."""
    rope: Annotated[Literal["theta", "yarn", "linear"], MODEL_PANEL] = "theta"
    """How positions are extended. The paper raises theta."""
    sliding_window: Annotated[Positive | None, MODEL_PANEL] = None
    """The sliding window, in tokens, of a model that has one. The paper has 16384 for Mistral."""
    dtype: Annotated[Literal["auto", "bfloat16", "float32"], MODEL_PANEL] = "auto"
    """The type of the weights. auto: bfloat16 on a GPU, else float32."""
    attention: Annotated[Literal["auto", "flash_attention_2", "sdpa", "eager"], MODEL_PANEL] = "auto"
    """The implementation of attention. auto: the first of flash_attention_2 (installed, with a GPU), sdpa and eager that the model can."""


class AdapterOptions(OptionModel):
    """The options that every tuning of an adapter has."""

    lora_rank: Annotated[Positive, _ADAPTER] = 8
    """The rank of the adapter."""
    lora_alpha: Annotated[Positive, _ADAPTER] = 8
    """The alpha of the adapter."""
    lora_targets: Annotated[list[Name], Field(min_length=1), SEVERAL, _ADAPTER] = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    ]
    """The modules that the adapter changes."""
    seed: Annotated[int, Field(ge=0, lt=2**32), _SCHEDULE] = 0
    """The seed of the adapter and of the order of the data."""
    logging_steps: Annotated[Positive, _LOG] = 10
    """Steps between two lines of the log."""
    save_steps: Annotated[Positive, _LOG] = 50
    """Steps between two checkpoints. The last two checkpoints are kept."""


class Recipe(AdapterOptions, ModelOptions):
    """The options of a fine-tuning run. Sizes and ranks default to the paper's; learning rate, epochs and schedule are ours."""

    data: Annotated[list[Name], Field(min_length=1), SEVERAL, DATA_PANEL]
    """Data sets as PLACE:VARIANT, with @REVISION or *WEIGHT behind it if need be."""
    output: Annotated[Folder, Parameter(show_default=False), DATA_PANEL] = "runs/finetune"
    """The folder of the adapter. Default: runs/RECIPE, or runs/finetune without a recipe."""

    order: Annotated[Literal["shuffled", "given"], DATA_PANEL] = "shuffled"
    """The order of the rows. given: as they are in the data, for a mixture that begins with short rows."""

    positions: Annotated[Literal["whole", "skip"], DATA_PANEL] = "whole"
    """The positions of a row's tokens. whole: one after the other. skip: in two chunks, the second later by a random number of
    positions, up to --max-tokens (PoSE): so that short rows train for long contexts."""

    lora_dropout: Annotated[float, Field(ge=0, lt=1), _ADAPTER] = 0.0
    """The dropout of the adapter."""
    heads: Annotated[Name | None, _ADAPTER] = None
    """A ranking of heads (heads.json of analysis/detect.py, or its folder). Only its --top highest are tuned, each together with the heads
    that share its keys and values."""
    top: Annotated[Positive | None, _ADAPTER] = None
    """How many of the highest heads are tuned. It goes with --heads."""

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False), _SCHEDULE] = 1e-4
    """The highest learning rate."""
    lr_scheduler: Annotated[Literal["cosine", "linear", "constant", "constant_with_warmup"], _SCHEDULE] = "cosine"
    """The course of the learning rate."""
    warmup_steps: Annotated[Amount, _SCHEDULE] = 0.05
    """Steps of warm-up; below 1, their share of all steps."""
    epochs: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False), _SCHEDULE] = 1.0
    """Passes over the data."""
    max_steps: Annotated[Positive | None, _SCHEDULE] = None
    """Steps in all. Default: as many as the epochs have."""
    batch_size: Annotated[Positive, _SCHEDULE] = 1
    """Sequences on a device at once."""
    accumulation: Annotated[Positive, _SCHEDULE] = 4
    """Batches in a step."""
    weight_decay: Annotated[Amount, _SCHEDULE] = 0.0
    """The weight decay."""
    max_grad_norm: Annotated[Amount, _SCHEDULE] = 1.0
    """The norm that gradients are clipped to."""

    gradient_checkpointing: Annotated[Literal["auto"] | bool, _HARDWARE] = "auto"
    """Compute activations again instead of keeping them. auto: if keeping them would take more than half of the memory."""
    deepspeed: Annotated[Name | None, _HARDWARE] = None
    """A DeepSpeed configuration, e.g. training/deepspeed/zero2.json."""
    sequence_parallel: Annotated[Positive, _HARDWARE] = 1
    """GPUs that read each context together, a part each (DeepSpeed Ulysses). It goes with --deepspeed and torchrun."""

    eval_steps: Annotated[Positive | None, _LOG] = None
    """Steps between two validations. Default: at the end of each epoch."""
    report_to: Annotated[Literal["none", "tensorboard", "trackio", "wandb"], _LOG] = "none"
    """Where the log goes besides the terminal."""
    push_to: Annotated[Name | None, _LOG] = None
    """A Hub id that the finished adapter is pushed to."""

    @field_validator("push_to")
    @classmethod
    def _is_hub_id(cls, value: str | None) -> str | None:
        if value is not None and not has_form_of_hub_id(value):
            raise UsageError(f"--push-to: expected OWNER/NAME, got {value!r}")
        return value

    @field_validator("deepspeed")
    @classmethod
    def _configures_deepspeed(cls, value: str | None) -> str | None:
        if value is not None and "zero_optimization" not in _json_in(value):
            raise UsageError(
                f"--deepspeed: expected a file of JSON with zero_optimization, such as training/deepspeed/zero2.json, got {value!r}"
            )
        return value

    @model_validator(mode="after")
    def _says_how_many_heads(self) -> Self:
        if (self.heads is None) != (self.top is None):
            raise UsageError(
                "--heads, --top: expected both or neither: a ranking of heads, and how many of it are tuned"
            )
        if self.heads and not set(self.lora_targets) <= _OF_HEADS:
            raise UsageError(
                f"--heads: expected --lora-targets among {', '.join(sorted(_OF_HEADS))}, got {', '.join(self.lora_targets)}"
            )
        return self

    @model_validator(mode="after")
    def _can_divide_contexts(self) -> Self:
        if self.sequence_parallel == 1:
            return self
        if not self.deepspeed:
            raise UsageError("--sequence-parallel: it goes with --deepspeed, such as training/deepspeed/zero2.json")
        if self.batch_size > 1:
            raise UsageError(
                f"--sequence-parallel: expected --batch-size 1, got {self.batch_size}; take more --accumulation instead"
            )
        if self.positions == "skip":
            raise UsageError(
                "--sequence-parallel: expected --positions whole; skipped positions need a mask that cannot be divided"
            )
        return self

    def decisive(self) -> dict[str, Any]:
        """The options that decide the trained weights. A run resumes only with the same ones."""
        new = {
            "order",
            "heads",
            "top",
            "sequence_parallel",
        } - self.changed().keys()  # which runs of earlier versions do not record
        return self.model_dump(exclude=_IDLE | new)


class FinetuneOptions(Recipe):
    """The options of the command that fine-tunes: those of a recipe, and whether to do it."""

    dry_run: Annotated[bool, Parameter(negative=()), _HARDWARE] = False
    """Only say how many rows, tokens and steps there are, and what memory and time one H100 would take. No weights are loaded."""


class ReadingOptions(ModelOptions):
    """The options of a model or an adapter, and of the rows of a data set that it reads."""

    reads_benchmarks: ClassVar[bool] = False

    model: Annotated[Name | None, MODEL_PANEL] = None  # type: ignore[assignment]
    """A folder or a Hub id of a causal language model. Default: the one of the adapter."""
    adapter: Annotated[Name | None, MODEL_PANEL] = None
    """A folder or a Hub id of a LoRA adapter, with the configuration that lies beside it."""
    data: Annotated[Name, DATA_PANEL]
    """A data set, as PLACE:VARIANT or PLACE:VARIANT@REVISION."""
    split: Annotated[Split, DATA_PANEL] = "validation"
    """The split whose rows are read."""
    limit: Annotated[Positive | None, DATA_PANEL] = None
    """Rows to read. Default: all of the split."""

    @model_validator(mode="after")
    def _has_a_model(self) -> Self:
        if self.model is None and self.adapter is None:
            raise UsageError("expected --model or --adapter, got neither")
        if names_benchmark(self.data) and not self.reads_benchmarks:
            raise UsageError(
                f"--data: expected PLACE:VARIANT; only training/evaluate.py reads benchmarks, got {self.data!r}"
            )
        return self


class EvaluateOptions(ReadingOptions):
    """The options of an evaluation."""

    reads_benchmarks: ClassVar[bool] = True

    data: Annotated[Name, DATA_PANEL]
    """A data set, as PLACE:VARIANT or PLACE:VARIANT@REVISION. Or rows of a benchmark, as ruler:FILE or ruler:FOLDER; likewise babilong,
    nolima, mrcr, longbench and helmet."""
    longest: Annotated[Positive | None, BENCHMARK_PANEL] = None
    """Leave out rows of more tokens, as the benchmark states them, or else of more than four times as many characters."""
    prompts: Annotated[Name | None, BENCHMARK_PANEL] = None
    """A file of JSON with a prompt for each task, for babilong, nolima, longbench and helmet. Default: prompts of our own."""
    haystack_tokens: Annotated[Positive | None, Field(ge=250), BENCHMARK_PANEL] = None
    """The tokens of the book around each needle of nolima, which needs this."""
    output: Annotated[Folder | None, DATA_PANEL] = None
    """The folder of predictions, scores and plot. Default: evaluations/MODEL/DATA_SPLIT."""
    batch_size: Annotated[Positive | None, ANSWERS_PANEL] = None
    """Rows that are answered at once. Default: those on one context, at most 16, else one."""
    max_new_tokens: Annotated[Positive, ANSWERS_PANEL] = 64
    """Tokens of an answer at most. Rows of a benchmark have their own number, unless this is given."""
    endpoint: Annotated[Name | None, ANSWERS_PANEL] = None
    """The base URL of an OpenAI-compatible endpoint (vLLM's, say) that answers instead of a model here."""
    request: Annotated[Name, ANSWERS_PANEL] = "{}"
    """Fields of each request to the endpoint, as JSON, e.g. '{"chat_template_kwargs": {"enable_thinking": false}}'. null leaves one out."""
    losses: Annotated[bool, Parameter(negative=()), ANSWERS_PANEL] = False
    """Also take the model's losses, in nats per token: on the last 1,024 tokens of each context, and on its answer. They tell whether a
    tuned model still reads ordinary text as it did."""
    resamples: Annotated[Positive, Field(le=1_000_000), ANSWERS_PANEL] = 1000
    """Resamples of the bootstrap."""

    @field_validator("endpoint")
    @classmethod
    def _is_public(cls, value: str | None) -> str | None:
        if value is not None:
            public_address(value, "--endpoint")  # it is kept in run.json
        return value

    @model_validator(mode="after")
    def _is_asked(self) -> Self:
        if self.endpoint is None and "request" in self.changed():
            raise UsageError("--request: it is read with --endpoint only; add that or leave it out")
        if self.endpoint and self.losses:
            raise UsageError("--losses: an endpoint gives none; leave out one of the two")
        return self

    @model_validator(mode="after")
    def _suits_its_data(self) -> Self:
        of_benchmarks = {"longest", "prompts", "haystack_tokens"} & self.changed().keys()
        if not names_benchmark(self.data):
            if of_benchmarks:
                raise UsageError(
                    f"--{min(of_benchmarks).replace('_', '-')}: it is for benchmarks, such as --data ruler:FILE; leave it out"
                )
            return self
        name = self.data.partition(":")[0]
        if "split" in self.changed():
            raise UsageError(f"--split: the rows of {name} are in no splits; leave it out")
        if self.longest and name == "nolima":
            raise UsageError("--longest: rows of nolima are as long as --haystack-tokens says; leave it out")
        if self.prompts and name in ("ruler", "mrcr"):
            raise UsageError(f"--prompts: the rows of {name} bring their prompts; leave it out")
        if (self.haystack_tokens is None) == (name == "nolima"):
            raise UsageError(
                "--haystack-tokens: nolima needs it, and others do not take it, whose rows are as long as they are"
            )
        return self

    def decisive(self) -> dict[str, Any]:
        """The options that decide the predictions."""
        idle = {"output", "batch_size", "limit", "resamples", "longest", "losses"}
        new = {"prompts", "haystack_tokens"} - self.changed().keys()  # which runs of earlier versions do not record
        return self.model_dump(exclude=idle | new)


class GrpoOptions(AdapterOptions, ReadingOptions):
    """The options of reinforcement learning."""

    split: Annotated[Split, DATA_PANEL] = "train"
    """The split whose rows are asked."""
    output: Annotated[Folder, DATA_PANEL] = "runs/grpo"
    """The folder of the adapter."""
    rewards: Annotated[list[Literal["answer", "evidence"]], Field(min_length=1), SEVERAL, _SCHEDULE] = ["answer"]
    """What is rewarded. Several rewards are added."""
    generations: Annotated[int, Field(ge=2), _SCHEDULE] = 8
    """Answers to each prompt."""
    prompts: Annotated[Positive, _SCHEDULE] = 2
    """Prompts in a step."""
    steps: Annotated[Positive, _SCHEDULE] = 100
    """Steps in all."""
    max_new_tokens: Annotated[Positive, _SCHEDULE] = 32
    """Tokens of an answer at most."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False), _SCHEDULE] = 1.0
    """The temperature at which answers are drawn."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False), _SCHEDULE] = 2e-5
    """The learning rate."""

    @model_validator(mode="after")
    def _has_a_new_adapter_where_it_says_so(self) -> Self:
        of_new = {"lora_rank", "lora_alpha", "lora_targets"} & self.changed().keys()
        if self.adapter and of_new:
            raise UsageError(
                f"--{min(of_new).replace('_', '-')}: the adapter that is trained on has its own; leave it out"
            )
        return self

    def decisive(self) -> dict[str, Any]:
        """The options that decide the trained weights. A run resumes only with the same ones."""
        return self.model_dump(exclude={"output", "logging_steps", "save_steps"})


class DpoOptions(AdapterOptions, ModelOptions):
    """The options of tuning on pairs of answers."""

    pairs: Annotated[Name, DATA_PANEL]
    """A file of JSON lines with prompt, chosen and rejected, e.g. of analysis/preferences.py."""
    output: Annotated[Folder, DATA_PANEL] = "runs/dpo"
    """The folder of the adapter."""
    beta: Annotated[float, Field(gt=0, allow_inf_nan=False), _SCHEDULE] = 0.1
    """How closely the model keeps to what it was."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False), _SCHEDULE] = 2e-5
    """The learning rate."""
    epochs: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False), _SCHEDULE] = 1.0
    """Passes over the pairs."""
    max_steps: Annotated[Positive | None, _SCHEDULE] = None
    """Steps in all. Default: as many as the epochs have."""
    accumulation: Annotated[Positive, _SCHEDULE] = 4
    """Pairs in a step."""

    def decisive(self) -> dict[str, Any]:
        """The options that decide the trained weights. A run resumes only with the same ones."""
        return self.model_dump(exclude={"output", "pairs", "logging_steps", "save_steps"})
