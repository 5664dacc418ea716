"""The F1 of a recipient with heads of a donor."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from transformers import AutoConfig, LogitsProcessor, LogitsProcessorList

from analysis.engine.conditions import ConditionAnswers, Generate, draw_heads, name_of, positions, reads_alike
from analysis.heads import Head, HeadScores
from analysis.interventions import TwinPatch, intervene, patched
from analysis.options import PatchOptions
from synthctx_data.command import out, table
from synthctx_data.errors import UsageError, first_line
from training import run_folder
from training.answer_scores import Mean
from training.generate import Batch, generate_batch
from training.identity import identify_model
from training.model import load_for_reading
from training.plots import bars, bars_size, saved
from training.turns import prompt_ids


def patch_folder(options: PatchOptions) -> Path:
    """The folder of the experiment: `output`, or else one named after model, data, split, donor and positions."""
    if options.output:
        return Path(options.output)
    donor = Path(str(options.donor_adapter or options.donor_model)).name
    return run_folder.default_folder("patch", options, donor, options.positions)


def sets_of(recipient: HeadScores, donor: HeadScores, top: int, seeds: int) -> dict[str, list[list[Head]]]:
    """The sets of heads to patch, by the name of the condition. "random" has one set for each seed."""
    mine, theirs = ({head for head in scores.top(top) if scores.values[head] > 0} for scores in (recipient, donor))
    shared = sorted(mine & theirs)
    others = sorted(set(donor.ranked()) - mine - theirs)
    random = [draw_heads(others, len(shared), "patch", seed) for seed in range(seeds)]
    sets = {"intersect": [shared], "complement": [sorted(theirs - mine)], "random": random}
    return {
        name: drawn
        for name, drawn in sets.items()
        if drawn[0] and len(drawn[0]) >= (len(shared) if name == "random" else 1)
    }


def patch_heads(options: PatchOptions) -> dict[str, Mean]:
    """The F1 of the recipient, of the donor, and of the recipient with each set of the donor's heads.

    Raises: UsageError if models, data or scores cannot be loaded; ConflictError if the folder holds another experiment.
    """
    if not options.donor_adapter and not options.donor_model:
        raise UsageError("expected --donor-adapter or --donor-model, got neither")
    recipient, donor = HeadScores.load(options.heads), HeadScores.load(options.donor_heads)
    if recipient.values.shape != donor.values.shape:
        raise UsageError(
            f"--donor-heads: expected scores of as many layers and heads as the recipient's {recipient.values.shape}, "
            f"got {donor.values.shape}"
        )
    sets = sets_of(recipient, donor, options.top, options.seeds)
    output = patch_folder(options)
    known = [identify_model(options.donor_model), identify_model(options.donor_adapter)]
    answers = ConditionAnswers(options, output, {"donor_weights": known})
    answers.require_shape(recipient, "--heads")
    pair = _Twins(options, answers) if _fit_one_batch(options) else _TwoModels(options, answers)
    scores = {"recipient": [answers.f1("recipient")], "donor": [answers.f1("donor", pair.alone)]}
    for name, drawn in sets.items():
        scores[name] = [answers.f1(name_of(heads), pair.with_heads(heads)) for heads in drawn]
    found = {name: answers.mean(each, name, options.resamples) for name, each in scores.items()}
    gained = {
        name: answers.difference(scores["intersect"], scores[name], f"over {name}", options.resamples)
        for name in ("recipient", "random")
        if {"intersect", name} <= scores.keys()
    }
    about = {"options": options.model_dump(), "heads": sets}
    answers.finish("patch.json", {"about": about, "f1": found, "gained": gained})
    title = f"{options.donor_adapter or options.donor_model} into {options.adapter or options.model}"
    with saved(output / "patch", bars_size(found), title) as axes:
        bars(found, "F1", axes)
    return found


def _fit_one_batch(options: PatchOptions) -> bool:
    """True if recipient and donor are adapters of one kind on one model, with the same extension of positions."""
    if not options.adapter or not options.donor_adapter or options.donor_model not in (None, options.model):
        return False
    try:
        mine, theirs = (_kind(place) for place in (options.adapter, options.donor_adapter))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--donor-adapter: expected adapters with the config.json that `training/finetune.py` puts beside them, got "
            f"{options.adapter} and {options.donor_adapter}: {first_line(error)}"
        ) from error
    return mine == theirs


def _kind(adapter: str) -> tuple[Any, ...]:
    text = AutoConfig.from_pretrained(adapter).get_text_config()
    base = PeftConfig.from_pretrained(adapter)
    return base.base_model_name_or_path, base.peft_type, text.rope_parameters, getattr(text, "sliding_window", None)


class _Twins:
    """Two adapters on one model. A batch has each row twice, first for the donor; both copies continue with the recipient's tokens."""

    def __init__(self, options: PatchOptions, answers: ConditionAnswers) -> None:
        self.options, self.answers = options, answers

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        model, tokenizer = self.answers.loaded
        model.load_adapter(self.options.donor_adapter, adapter_name="donor")
        model.set_adapter("default")
        return model, tokenizer

    def alone(self, batch: Batch, **arguments: Any) -> torch.Tensor:
        """The prompts with the donor's answers, as tokens (row, token)."""
        names = ["donor"] * len(batch.rows)
        written: torch.Tensor = generate_batch(self._loaded[0], batch, adapter_names=names, **arguments)
        return written

    def with_heads(self, heads: Sequence[Head]) -> Generate:
        """A function that generates with the recipient while these heads are patched from the donor."""

        def generate(
            batch: Batch, input_ids: torch.Tensor, attention_mask: torch.Tensor, **arguments: Any
        ) -> torch.Tensor:
            (model, tokenizer), half = self._loaded, len(batch.rows)
            where = positions(tokenizer, batch, self.options.positions)
            with intervene(model, TwinPatch(heads, where)):
                written: torch.Tensor = generate_batch(
                    model,
                    batch,
                    reads_alike(batch, where),
                    input_ids=input_ids.repeat(2, 1),
                    attention_mask=attention_mask.repeat(2, 1),
                    adapter_names=["donor"] * half + ["default"] * half,
                    logits_processor=LogitsProcessorList([_SecondHalf()]),
                    **arguments,
                )
            return written[half:]

        return generate


class _SecondHalf(LogitsProcessor):  # type: ignore[misc]
    """A logits processor under which the first half of a batch continues with the tokens of the second half."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores.chunk(2)[1].repeat(2, 1)


class _TwoModels:
    """Two models side by side. The donor reads everything that the recipient reads."""

    def __init__(self, options: PatchOptions, answers: ConditionAnswers) -> None:
        self.options, self.answers = options, answers

    @cached_property
    def _donor(self) -> tuple[Any, Any]:
        change = {"adapter": self.options.donor_adapter, "model": self.options.donor_model}
        try:
            return load_for_reading(self.options.model_copy(update=change))
        except UsageError as error:
            raise UsageError(re.sub(r"^--(model|adapter)", r"--donor-\1", str(error))) from error

    def _able(self, batch: Batch, most: int) -> Any:
        """The donor, after a check that it reads the same tokens and has a context that is large enough."""
        model, tokenizer = self._donor
        window = model.config.get_text_config().max_position_embeddings
        if batch.width + most > window:
            raise UsageError(
                f"--donor-model: expected a donor that reads {batch.width} tokens ({batch.rows[0]['id']}) and an answer, and it reads "
                f"{window}; take an adapter that was trained for them, or a model of that context"
            )
        if [prompt_ids(tokenizer, row) for row in batch.rows] != list(batch.prompts):
            raise UsageError(
                "--donor-model: expected a donor with the recipient's tokenizer and chat template, and it reads other tokens: "
                f"{batch.rows[0]['id']}"
            )
        return model

    def alone(self, batch: Batch, **arguments: Any) -> torch.Tensor:
        """The prompts with the donor's answers, as tokens (row, token)."""
        written: torch.Tensor = self._able(batch, arguments["max_new_tokens"]).generate(**arguments)
        return written

    def with_heads(self, heads: Sequence[Head]) -> Generate:
        """A function that generates with the recipient while these heads are patched from the donor."""

        def generate(batch: Batch, **arguments: Any) -> torch.Tensor:
            model, tokenizer = self.answers.loaded
            donor = self._able(batch, arguments["max_new_tokens"])
            with patched(model, donor, heads, positions(tokenizer, batch, self.options.positions)):
                written: torch.Tensor = model.generate(**arguments)
            return written

        return generate


def show_patching(found: dict[str, Mean], output: Path) -> None:
    """Prints a table with a row for each condition."""
    rows = [(name, f"{mean.mean:.3f}", f"[{mean.low:.2f}, {mean.high:.2f}]") for name, mean in found.items()]
    out.print(table({"": "left", "F1": "right", "95 %": "right"}, rows))
    out.print(f"{output}: patch.json, patch.svg, patch.png", soft_wrap=True)
