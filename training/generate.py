"""Answers to prompts, from a model on this machine."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from synthctx_data.errors import UsageError
from training.options import EvaluateOptions

_Row = dict[str, Any]
AnswerBatches = Iterator[list[tuple[str, str]]]  # ids and answers, batch by batch


def batches(rows: Sequence[_Row], size: int) -> Iterator[Sequence[_Row]]:
    """The rows in batches of `size`. They are sorted by their number of tokens, for the least padding."""
    ordered = sorted(rows, key=lambda row: int(row["num_tokens"]))
    return (ordered[i : i + size] for i in range(0, len(ordered), size))


@dataclass(frozen=True)
class Batch:
    """Rows that are answered together, the tokens of their prompts, and the `width` in tokens of the left-padded prompts."""

    rows: Sequence[_Row]
    prompts: Sequence[Sequence[int]]
    width: int


def from_model(options: EvaluateOptions) -> Callable[[Sequence[_Row]], AnswerBatches]:
    """A function that answers rows greedily with a model on this machine.

    Raises: UsageError if model or adapter cannot be loaded, or if a prompt leaves too few tokens for its answer.
    """
    from training.model import load_for_reading

    return answering(*load_for_reading(options), options.batch_size, options.max_new_tokens)


def answering(
    model: Any,
    tokenizer: Any,
    batch_size: int,
    max_new_tokens: int,
    generate: Callable[..., Any] | None = None,
) -> Callable[[Sequence[_Row]], AnswerBatches]:
    """A function that answers rows greedily with a loaded model.

    `generate(batch, **arguments)` replaces the model's own `generate(**arguments)` and returns the tokens (row, token) of prompts and
    answers. It can intervene in the model while the model answers.
    """
    import torch

    from training.answer_text import read_answer
    from training.turns import prompt_ids

    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
    stops = ends(model, tokenizer)

    def answer(rows: Sequence[_Row]) -> AnswerBatches:
        for part in batches(rows, batch_size):
            prompts = [prompt_ids(tokenizer, row) for row in part]
            batch = Batch(part, prompts, max(map(len, prompts)))
            rooms = [min(max_new_tokens, window - len(prompt)) for prompt in prompts]
            for row, room in zip(part, rooms, strict=True):
                _require_room(row, room, max_new_tokens, tokenizer)
            arguments = {
                "input_ids": [[pad] * (batch.width - len(prompt)) + prompt for prompt in prompts],
                "attention_mask": [[0] * (batch.width - len(prompt)) + [1] * len(prompt) for prompt in prompts],
            }
            with torch.no_grad():
                written = (generate or _plainly(model))(
                    batch,
                    **{name: torch.tensor(values, device=model.device) for name, values in arguments.items()},
                    do_sample=False,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    max_new_tokens=max(rooms),
                    eos_token_id=stops,
                    pad_token_id=pad,
                )
            answers = [tokens[batch.width : batch.width + room] for tokens, room in zip(written, rooms, strict=True)]
            yield [
                (row["id"], read_answer(tokenizer, tokens.tolist(), stops))
                for row, tokens in zip(part, answers, strict=True)
            ]

    return answer


def _plainly(model: Any) -> Callable[..., Any]:
    return lambda _, **arguments: model.generate(**arguments)


def _require_room(row: _Row, room: int, most: int, tokenizer: Any) -> None:
    needed = min(most, len(tokenizer(row["completion"][0]["content"])["input_ids"]))
    if room < needed:
        raise UsageError(
            f"{row['id']} leaves {max(room, 0)} tokens for an answer of {needed} in what the model reads; raise --max-tokens, or, for an "
            "adapter, take data that were built for its context"
        )


def ends(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end an answer: those of the model, that of the tokenizer, and that of the training sequences.

    They need not be the same: Qwen2.5's base stops at another token than the one that its chat template ends answers with.

    Raises: UsageError if nothing ends an answer in a training sequence.
    """
    from training.turns import end_of_answer

    own = model.generation_config.eos_token_id
    known = [*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id, end_of_answer(tokenizer)]
    return sorted({token for token in known if token is not None})
