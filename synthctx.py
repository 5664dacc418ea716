"""Synthetic long-context data, fine-tuning on it, and the attention heads that it teaches. The whole API is on this screen.

    address = synthctx.build("mdqa_synth", "symbolic_haystack", max_tokens=2048, train=90, validation=10)
    rows = synthctx.load(address, "validation")
    model, tokenizer = synthctx.load_model("meta-llama/Llama-3.2-1B-Instruct")
    heads = synthctx.score_heads(model, tokenizer, rows, score="wu_forced")
    with synthctx.intervene(model, synthctx.Knockout(heads.top(5))):
        ...

Options have the names and the help of the command line: max_tokens is --max-tokens. Fine-tuning and the analysis need PyTorch and the
repository (pip install -e '.[analysis]'); data can be built without them.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from synthctx_data import __version__
from synthctx_data.errors import SynthctxError, UsageError

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from analysis.heads import HeadScores
    from analysis.interventions import (
        Intervention,
        Knockout,
        MeanOutputs,
        Outputs,
        Patch,
        Positions,
        intervene,
        patched,
    )
    from analysis.options import ScoreName
    from analysis.spans import Span
    from synthctx_data.examine import Examined
    from training.answer_scores import Mean

__all__ = [
    "HeadScores",
    "Intervention",
    "Knockout",
    "MeanOutputs",
    "Outputs",
    "Patch",
    "Positions",
    "__version__",
    "build",
    "check",
    "evaluate",
    "finetune",
    "intervene",
    "load",
    "load_model",
    "mix",
    "patched",
    "score_heads",
]
P = ParamSpec("P")
T = TypeVar("T")
_FLAG = re.compile(r"(?<![\w-])--(?!help\b)([a-z][a-z0-9-]*)")
_LATER = {
    **dict.fromkeys(
        ("Intervention", "Knockout", "MeanOutputs", "Outputs", "Patch", "Positions", "intervene", "patched"),
        "analysis.interventions",
    ),
    "HeadScores": "analysis.heads",
}


def __getattr__(name: str) -> Any:
    """A class or function of the analysis, imported when it is first asked for: PyTorch takes seconds."""
    if name not in _LATER:
        raise AttributeError(f"module 'synthctx' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return __all__


def _called_from_python(function: Callable[P, T]) -> Callable[P, T]:
    """The function, with errors that speak of arguments where the command line speaks of flags."""

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return function(*arguments, **options)
        except SynthctxError as error:
            said = _FLAG.sub(lambda flag: flag[1].replace("-", "_"), str(error))
            raise type(error)(said).with_traceback(error.__traceback__) from None

    return call


@_called_from_python
def build(task: str, variant: str, output: str | Path = "synthctx", **options: Any) -> str:
    """The address of a variant, after it is built into the folder OUTPUT/TASK. What is there already is not built again.

    `options` are those of `synthctx build`, e.g. max_tokens=2048, train=90, key_style="word", corpus=("questions.jsonl.gz",). Here one
    process builds. With more `workers`, a script must build under `if __name__ == "__main__":`, as each of them reads the script anew.

    Raises: SynthctxError for a task, a variant, an option or a corpus that cannot be used.
    """
    from builders import find_task
    from builders.commands.build import build_planned
    from builders.planned_build import RunOptions, plan_builds, require_use
    from builders.writing.options import WritingOptions
    from synthctx_data.option_model import divide
    from synthctx_data.options import Options

    mine, writing, where = divide({"workers": 1, **options, "output": str(output)}, Options, WritingOptions, RunOptions)
    (planned,) = plan_builds(find_task(task), [variant], mine, where)
    require_use([planned], writing, mine.store is not None)
    build_planned(planned, where, writing)
    return f"{planned.build.folder}:{variant}"


@_called_from_python
def mix(recipe: str | Path | Mapping[str, Any], output: str | Path = "synthctx", **changes: Any) -> str:
    """The address of a mixture, after it is made. Called again after an interruption, it goes on where it stopped.

    recipe: a YAML file, the name of a recipe that comes with synthctx ("mdqa_synth/recommended"), or the recipe itself as a mapping
        (docs/mixtures.md).
    changes: what is to differ from the recipe: train, validation, tokenizer and max_tokens.

    Raises: UsageError for a recipe that cannot be used; ConflictError if the folder holds another mixture of that name.
    """
    from builders import find_task
    from builders.hub.card import update_card
    from builders.mixing.card import describe_mixture
    from builders.mixing.mix import Mixture
    from builders.mixing.mix import mix as make_mixture
    from builders.mixing.recipe import read_recipe
    from synthctx_data.places import folder_here

    found = read_recipe(recipe if isinstance(recipe, Mapping) else str(recipe), changes)
    mixture = Mixture(found, folder_here("output", str(output)) / found.task)
    make_mixture(mixture, 1, lambda rows: None)
    update_card(find_task(found.task), mixture.build, describe=describe_mixture(found))
    return f"{mixture.folder}:{found.name}"


@_called_from_python
def load(address: str, split: str = "train", limit: int | None = None) -> "datasets.Dataset":
    """The rows of a split, or its first `limit` rows. `address` is PLACE:VARIANT or PLACE:VARIANT@REVISION.

    Raises: UsageError if there is no such data set, variant or split.
    """
    from synthctx_data.dataset import load_rows, parse_variant_address
    from synthctx_data.places import reached

    found = parse_variant_address(str(address))
    with reached(found.place):
        return load_rows(found, split, limit)


@_called_from_python
def check(
    address: str, max_tokens: int | None = None, depth: str | None = None, tokenizer: str | None = None
) -> "Examined":
    """The faults of a variant (`.faults` in words, `.report.ok`), and a survey of its rows (`.survey`).

    The arguments are what was asked for: the budget in tokens, the depths and the tokenizer. Default: what build.json says.

    Raises: SynthctxError if there is no such variant, or if its files cannot be read.
    """
    from synthctx_data.command import progress_bar
    from synthctx_data.dataset import find_variants, parse_variant_address
    from synthctx_data.examine import examine, expected
    from synthctx_data.places import reached

    found = parse_variant_address(address)
    with reached(found.place):
        (variant,) = find_variants(found)
        with progress_bar(f"checking {variant.name}", variant.count()) as progress:
            return examine(variant, expected(variant.manifest, max_tokens, depth, tokenizer), progress)


@_called_from_python
def load_model(
    model: str | Path | None = None, adapter: str | Path | None = None, **options: Any
) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """A model and its tokenizer, ready to read: from a folder or a Hub id, with an extended context, or with an adapter.

    `options` are those of a model, e.g. max_tokens=32768, rope="yarn". An adapter brings its own context.

    Raises: UsageError if one of them cannot be loaded.
    """
    from synthctx_data.option_model import divide
    from training.model import load_for_reading
    from training.options import ModelOptions, ReadingOptions

    if not model and not adapter:
        raise UsageError("expected --model or --adapter, got neither")
    divide({"model": "-", **options}, ModelOptions)  # a name that is none of these
    return load_for_reading(ReadingOptions(**_plain({"model": model, "adapter": adapter, "data": "-", **options})))


@_called_from_python
def score_heads(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Iterable[dict[str, Any]],
    score: "ScoreName" = "wu",
    calibrate: bool = True,
    span: "Span" = "needle",
) -> "HeadScores":
    """The scores of a loaded model's heads on rows: `.top(5)`, `.to_frame()`, `.values` (layer, head), `.save(file)`.

    Scores are wu, wu_forced, mass, qrhead, logit, edge and ablate (`python analysis/detect.py --help`). `span` says what counts as a
    needle: all of it, or the sentence with its answer.

    Raises: UsageError if a row has more tokens than the model reads; ModelError if the score cannot be had of this model.
    """
    from analysis.engine.detect import kv_heads, score_rows
    from analysis.heads import HeadScores
    from synthctx_data.command import with_progress
    from synthctx_data.row_checks import documents_of

    if isinstance(rows, Mapping):
        raise UsageError(
            "rows: expected rows one by one, and a slice of a data set is a dictionary of columns; take rows.select(range(4)) for rows[:4]"
        )
    listed = list(rows)
    scoring = score_rows(model, tokenizer, listed, score, calibrate, span)
    scored = list(with_progress(scoring, "scoring heads", len(listed)))
    about = {"score": score, "span": span, "calibrate": calibrate, "kv_heads": kv_heads(model)}
    return HeadScores.of(scored, about, list(map(documents_of, listed)))


@_called_from_python
def finetune(**recipe: Any) -> Path:
    """The folder of an adapter, after it is trained there. `recipe` has the options of training/finetune.py: model, data, output ...

    Raises: UsageError if model or data cannot be loaded or do not fit; ConflictError if the folder holds another run.
    """
    from training.finetune import finetune as train
    from training.options import Recipe

    if isinstance(recipe.get("data"), str):
        recipe["data"] = [recipe["data"]]
    return train(Recipe(**_plain(recipe)))


@_called_from_python
def evaluate(**options: Any) -> dict[str, dict[str, dict[str, "Mean"]]]:
    """The mean scores of a model by group: `["all"]["all"]["f1"].mean`. `options` are those of training/evaluate.py: model, data ...

    Raises: UsageError if model or data cannot be loaded; ConflictError if the folder holds the predictions of another run.
    """
    from training.evaluate import evaluate as answer
    from training.options import EvaluateOptions

    return answer(EvaluateOptions(**_plain(options)))


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with paths as text."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
