"""Answers to prompts, from a model on this machine."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from synthctx_data.errors import UsageError
from synthctx_data.row_checks import documents_of
from training.contexts import can_share_context

_TOGETHER = 16  # rows on one context that are answered at once, if nothing else is asked for
_Row = dict[str, Any]
AnswerBatches = Iterator[list[tuple[str, str]]]  # ids and answers, batch by batch


def batches(rows: Sequence[_Row], size: int | None, together: int = 1) -> Iterator[Sequence[_Row]]:
    """The rows in batches of at most `size`, sorted by their number of tokens, for the least padding.

    Rows with the same documents are in batches of their own, which can read these documents once. Without a size, there are at most
    `together` rows in such a batch, and one in others.
    """
    contexts: dict[str, list[_Row]] = {}
    for row in rows:
        contexts.setdefault(documents_of(row), []).append(row)
    shared = [(group, size or together) for group in contexts.values() if len(group) > 1]
    alone = [row for group in contexts.values() if len(group) == 1 for row in group]
    for group, most in [*shared, (alone, size or 1)]:
        ordered = sorted(group, key=lambda row: int(row["num_tokens"]))
        yield from (ordered[i : i + most] for i in range(0, len(ordered), most))


@dataclass(frozen=True)
class Batch:
    """Rows that are answered together, and the tokens of their prompts.

    The prompts are padded to `width` tokens: on the left, or behind the first `shared` tokens, which are the same in all of them.
    """

    rows: Sequence[_Row]
    prompts: Sequence[Sequence[int]]
    width: int
    shared: int = 0

    def padded(self, prompt: Sequence[int], by: int) -> list[int]:
        """A prompt, or something for each of its tokens, padded with `by`."""
        return [*prompt[: self.shared], *[by] * (self.width - len(prompt)), *prompt[self.shared :]]

    def columns(self, row: int, tokens: range) -> list[int]:
        """The columns of the padded prompts at which some tokens of a row's prompt stand."""
        padding = self.width - len(self.prompts[row])
        return [token if token < self.shared else token + padding for token in tokens]


def answering(
    model: Any,
    tokenizer: Any,
    batch_size: int | None,
    max_new_tokens: int,
    generate: Callable[..., Any] | None = None,
) -> Callable[[Sequence[_Row]], AnswerBatches]:
    """A function that answers rows greedily with a loaded model, `batch_size` at once (None: those that share a context).

    An answer has at most `max_new_tokens`, or else as many as its row says (`answer_tokens`).

    `generate(batch, **arguments)` replaces the model's own `generate(**arguments)` and returns the tokens (row, token) of prompts and
    answers. It can intervene in the model while the model answers.
    """
    import torch

    from training.answer_text import read_answer
    from training.turns import prompt_ids

    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
    stops = ends(model, tokenizer)
    can_share = can_share_context(model.config)

    def answer(rows: Sequence[_Row]) -> AnswerBatches:
        for part in batches(rows, batch_size, _TOGETHER if can_share else 1):
            prompts = [prompt_ids(tokenizer, row) for row in part]
            shared = common_context(part, prompts) if can_share else 0
            batch = Batch(part, prompts, max(map(len, prompts)), shared)
            wanted = [row.get("answer_tokens", max_new_tokens) for row in part]
            rooms = [min(most, window - len(prompt)) for most, prompt in zip(wanted, prompts, strict=True)]
            for row, room, most in zip(part, rooms, wanted, strict=True):
                _require_room(row, room, most, tokenizer)
            arguments = {
                "input_ids": [batch.padded(prompt, pad) for prompt in prompts],
                "attention_mask": [batch.padded([1] * len(prompt), 0) for prompt in prompts],
            }
            with torch.no_grad():
                written = (generate or partial(generate_batch, model))(
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


def generate_batch(
    model: Any, batch: Batch, once: bool = True, adapter_names: list[str] | None = None, **arguments: Any
) -> Any:
    """The tokens (row, token) of prompts and answers, as `model.generate(**arguments)` returns them.

    With `once`, the tokens that all prompts share are read once. There may be several blocks of the batch's rows; `adapter_names` then
    has the adapter of each row.
    """
    from transformers import DynamicCache

    names = {} if adapter_names is None else {"adapter_names": adapter_names}
    if not once or not batch.shared:
        return model.generate(**names, **arguments)
    cache, rows = DynamicCache(), len(batch.rows)
    firsts = {name: value[::rows] for name, value in names.items()}
    context = arguments["input_ids"][::rows, : batch.shared]
    model(input_ids=context, past_key_values=cache, use_cache=True, logits_to_keep=1, **firsts)
    cache.batch_repeat_interleave(rows)
    return model.generate(**names, **arguments, past_key_values=cache)


def common_context(rows: Sequence[_Row], prompts: Sequence[Sequence[int]]) -> int:
    """The number of tokens that the prompts of some rows share, if the rows have the same documents; else 0."""
    from training.turns import shared_prefix

    if len(rows) < 2 or len({documents_of(row) for row in rows}) > 1:
        return 0
    return min(*(shared_prefix(prompts[0], other) for other in prompts[1:]), *(len(prompt) - 1 for prompt in prompts))


def _require_room(row: _Row, room: int, most: int, tokenizer: Any) -> None:
    needed = min(most, len(tokenizer(row["completion"][0]["content"])["input_ids"]))
    if room < needed and "task" in row:
        raise UsageError(
            f"{row['id']} leaves {max(room, 0)} tokens for an answer of {needed} in what the model reads; leave such rows out by "
            "--longest, or raise --max-tokens"
        )
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
