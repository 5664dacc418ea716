"""Answers of a model under several conditions, stored as they are made, and their F1."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerBase as Tokenizer

from analysis.heads import Head, HeadScores
from analysis.interventions import MeanOutputs, Positions, intervene
from analysis.options import AnswersOptions
from analysis.spans import Tokens, tokens_of
from synthctx_data.dataset import load_rows, parse_variant_address
from synthctx_data.errors import UsageError, require_choice
from synthctx_data.files import write_json
from synthctx_data.row_checks import documents_of
from synthctx_data.seeding import rng
from training import run_folder
from training.answer_scores import Mean, mean, score
from training.generate import Batch, answering
from training.identity import identify
from training.model import load_config_of, load_for_reading
from training.predictions import PREDICTIONS, predict, read_predictions
from training.turns import prompt_ids

_Row = dict[str, Any]
_ROWS_OF_MEANS = 16
Draws = Sequence[Sequence[float]]  # the value of each row, in each draw
Generate = Callable[..., torch.Tensor]  # replaces the model's own `generate`; see training/generate.py


class ConditionAnswers:
    """The answers of a model to the rows of a data set under each condition, in `output/CONDITION/predictions.jsonl`.

    Raises: UsageError if model or data cannot be loaded; ConflictError if the folder holds the answers of another experiment.
    """

    def __init__(
        self,
        options: AnswersOptions,
        output: Path,
        run: Mapping[str, Any],
        choose: Callable[[Iterable[_Row]], Iterable[_Row]] = iter,
    ) -> None:
        self.options, self.output = options, output
        rows = load_rows(parse_variant_address(options.data), options.split, options.limit)
        self.rows: list[_Row] = list(choose(rows))
        self.run = {**options.decisive(), **identify(options), **run}
        run_folder.is_finished(output, self.run, holding=f"*/{PREDICTIONS}")

    @cached_property
    def loaded(self) -> tuple[Any, Tokenizer]:
        """The model and its tokenizer, loaded at first use. From then on the folder belongs to this experiment."""
        loaded = load_for_reading(self.options)
        run_folder.record(self.output, self.run)
        return loaded

    @cached_property
    def mean_outputs(self) -> torch.Tensor:
        """The mean output (layer, head, dimension) of each head over the prompts of the first rows of the split."""
        model, tokenizer = self.loaded
        means = MeanOutputs()
        with torch.no_grad(), intervene(model, means):
            for row in load_rows(parse_variant_address(self.options.data), self.options.split, _ROWS_OF_MEANS):
                model(input_ids=torch.tensor([prompt_ids(tokenizer, row)], device=model.device), use_cache=False)
        return means.means()

    def f1(self, condition: str, generate: Generate | None = None) -> list[float]:
        """The F1 of each row's answer under a condition."""
        known = self.answers(condition, generate)
        return [score(row, known[row["id"]])["f1"] for row in self.rows]

    def answers(self, condition: str, generate: Generate | None = None) -> dict[str, str]:
        """The answers under a condition, by row id. The model answers only rows that have no stored answer."""
        file = self.output / condition / PREDICTIONS
        known = read_predictions(file)
        missing = [row for row in self.rows if row["id"] not in known]
        if missing:
            model, tokenizer = self.loaded
            file.parent.mkdir(exist_ok=True)
            answer = answering(model, tokenizer, self.options.batch_size, self.options.max_new_tokens, generate)
            known |= predict(answer, missing, file)
        return known

    def finish(self, name: str, found: Mapping[str, Any]) -> None:
        """Writes the results as JSON into the folder, and records that the experiment is finished."""
        write_json(self.output / name, found)
        run_folder.record(self.output, self.run, finished=True)

    def require_shape(self, heads: HeadScores, flag: str) -> None:
        """Raises: UsageError if the scores have other numbers of layers and heads than the model."""
        config = load_config_of(self.options).get_text_config()
        shape = (config.num_hidden_layers, config.num_attention_heads)
        if heads.values.shape != shape:
            raise UsageError(
                f"{flag}: expected scores of the model's {shape[0]} layers of {shape[1]} heads, got scores of {heads.values.shape[0]} "
                f"of {heads.values.shape[1]}; make them:  python analysis/detect.py --help"
            )

    def mean(self, draws: Draws, name: str, resamples: int) -> Mean:
        """The mean over rows, with its interval. The value of a row is the mean of its draws."""
        return mean(_of_rows(draws), resamples, (name,), [documents_of(row) for row in self.rows])

    def difference(self, one: Draws, other: Draws, name: str, resamples: int) -> Mean:
        """The mean of one condition's values minus another's, row by row, with its interval."""
        rows = [a - b for a, b in zip(_of_rows(one), _of_rows(other), strict=True)]
        return self.mean([rows], name, resamples)


def _of_rows(draws: Draws) -> list[float]:
    return [fmean(values) for values in zip(*draws, strict=True)]


def highest_heads(scores: HeadScores, number: int) -> list[Head]:
    """The `number` highest heads.

    Raises: UsageError if fewer have scores.
    """
    heads = scores.top(number)
    if len(heads) < number:
        raise UsageError(f"--top: expected at most the {len(heads)} heads that have scores, got {number}")
    return heads


def name_of(heads: Iterable[Head]) -> str:
    """A short name for a set of heads. The same set always has the same name."""
    listed = ",".join(f"{layer}-{head}" for layer, head in sorted(heads))
    return listed if len(listed) < 40 else hashlib.sha256(listed.encode()).hexdigest()[:16]


def spans(tokenizer: Tokenizer, batch: Batch, part: Callable[[Tokens], Iterable[range]]) -> torch.Tensor:
    """A mask (row, column) over a batch's padded prompts, True where a part of the row stands."""
    columns = torch.zeros(len(batch.rows), batch.width, dtype=torch.bool)
    for i, row in enumerate(batch.rows):
        for span in part(tokens_of(tokenizer, row)):
            columns[i, batch.columns(i, span)] = True
    return columns


def positions(tokenizer: Tokenizer, batch: Batch, name: str) -> Positions:
    """The positions with a name: prefill, answer (from the prompt's last token on), both, all (the same), question or needle.

    Raises: UsageError if there is no such name.
    """
    require_choice("positions", name, Literal["prefill", "answer", "both", "all", "question", "needle"])
    if name == "question":
        return Positions(spans(tokenizer, batch, lambda tokens: [tokens.question]), False)
    if name == "needle":
        return Positions(spans(tokenizer, batch, lambda tokens: tokens.needles), False)
    columns = torch.zeros(len(batch.rows), batch.width, dtype=torch.bool)
    columns[:, : batch.width - 1] = name != "answer"
    columns[:, batch.width - 1] = name != "prefill"
    return Positions(columns, name != "prefill")


def reads_alike(batch: Batch, where: Positions, hidden: torch.Tensor | None = None) -> bool:
    """True if an intervention does the same in all rows of a batch while they read what they share, so that it can be read once."""
    parts = [where.prompt[:, : batch.shared]]
    if hidden is not None and parts[0].any():
        parts.append(hidden[:, : batch.shared])
    return all(bool((part == part[:1]).all()) for part in parts)


def draw_heads(heads: Sequence[Head], number: int, *name: str | int) -> list[Head]:
    """A random draw of `number` heads (all if there are fewer), from the random stream with this name."""
    return rng("heads", *name).shuffled(heads)[:number]
