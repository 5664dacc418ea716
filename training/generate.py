"""Answers to prompts, from a model on this machine or from an endpoint."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from synthctx_data.errors import UsageError
from training.options import EvaluateOptions

_Row = dict[str, Any]
_THOUGHTS = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
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

    from training.sequences import prompt_ids

    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    window = model.config.get_text_config().max_position_embeddings
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
            texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
            yield [(row["id"], bare(text)) for row, text in zip(part, texts, strict=True)]

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


def bare(text: str) -> str:
    """The answer without the whitespace around it and without the thoughts that some chat templates put before it."""
    return _THOUGHTS.sub("", text).strip()


def ends(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end an answer: those of the model, and that of the tokenizer."""
    own = model.generation_config.eos_token_id
    known = own if isinstance(own, list) else [own]
    return sorted({token for token in [*known, tokenizer.eos_token_id] if token is not None})


def from_endpoint(options: EvaluateOptions) -> Callable[[Sequence[_Row]], AnswerBatches]:
    """A function that answers rows through an OpenAI-compatible endpoint, `batch_size` rows at a time.

    Raises: UsageError if the endpoint does not answer as it should.
    """
    import openai

    if not options.model or options.adapter:
        raise UsageError("--endpoint: expected --model, the name that the endpoint knows it by, and no --adapter")
    key = os.environ.get("OPENAI_API_KEY", "none")
    client = openai.OpenAI(base_url=options.endpoint, api_key=key, max_retries=5)

    def ask(row: _Row) -> str | Exception:
        try:
            reply = client.chat.completions.create(
                model=str(options.model), messages=row["prompt"], max_tokens=options.max_new_tokens, temperature=0
            )
            content = reply.choices[0].message.content
            return ValueError("no content") if content is None else bare(content)
        except (openai.OpenAIError, AttributeError, IndexError, TypeError, ValueError) as error:
            return error

    def answer(rows: Sequence[_Row]) -> AnswerBatches:
        with ThreadPoolExecutor(options.batch_size) as pool:
            for batch in batches(rows, options.batch_size):
                replies = list(zip(batch, pool.map(ask, batch), strict=True))
                yield [(row["id"], reply) for row, reply in replies if isinstance(reply, str)]
                for row, reply in replies:
                    if isinstance(reply, Exception):
                        raise UsageError(
                            f"--endpoint {options.endpoint}: no answer to {row['id']}: {type(reply).__name__}: {reply}; others are kept"
                        )

    return answer
