"""Rows as training sequences: mixtures of data sets, tokenized, with labels on the answer only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import datasets
from transformers import AutoTokenizer
from transformers import PreTrainedTokenizerBase as Tokenizer

from synthctx_data.dataset import Address, load_rows, parse_variant_address
from synthctx_data.errors import UsageError, first_line
from synthctx_data.tokens import compile_template

_MERGED = 4  # the most tokens at the end of a prompt that may change when an answer follows
IGNORED = -100  # the label of a token that does not enter the loss
_PART = re.compile(r"(?P<address>.+?)(?:\*(?P<weight>[0-9]{1,9}(?:\.[0-9]{1,9})?))?")


@dataclass(frozen=True)
class MixturePart:
    """A data set of a mixture and its weight (None: all of its rows)."""

    address: Address
    weight: Fraction | None = None


def parse_mixture(texts: Sequence[str]) -> list[MixturePart]:
    """The parts of a mixture, each written like "synthctx/mdqa_synth:symbolic_haystack@v1*0.5".

    Raises: UsageError if a part is written otherwise or comes twice, or if only some parts have weights.
    """
    parts = [_parse_part(text) for text in texts]
    if len({part.address for part in parts}) < len(parts):
        raise UsageError(f"--data: expected different data sets, got one twice in {' '.join(texts)}")
    if any(part.weight for part in parts) and not all(part.weight for part in parts):
        raise UsageError(f"--data: expected a weight behind every data set or none; got {' '.join(texts)}")
    return parts


def _parse_part(text: str) -> MixturePart:
    match = _PART.fullmatch(text)
    weight = Fraction(match["weight"]) if match and match["weight"] else None
    if match is None or weight == 0:
        raise UsageError(
            "--data: expected PLACE:VARIANT, such as synthctx/mdqa_synth:symbolic_haystack, with @REVISION or *WEIGHT behind it "
            f"if need be; got {text!r}"
        )
    return MixturePart(parse_variant_address(match["address"]), weight)


def load_mixture(parts: Sequence[MixturePart], split: str) -> datasets.Dataset:
    """The rows of several data sets, one data set after the other.

    If there are weights, the numbers of rows are proportional to them, as large as they can be without repeating a row.

    Raises: UsageError as `load_rows` does, or if a data set gives no row.
    """
    loaded = [load_rows(part.address, split) for part in parts]
    if parts[0].weight:
        weights = [part.weight or Fraction(0) for part in parts]
        scale = min(len(rows) / weight for rows, weight in zip(loaded, weights, strict=True))
        loaded = [rows.select(range(int(scale * weight))) for rows, weight in zip(loaded, weights, strict=True)]
    for part, rows in zip(parts, loaded, strict=True):
        if not len(rows):
            raise UsageError(
                f"--data: {part.address} has no row in the {split} split of this mixture; mend its weight, or leave it out"
            )
    return datasets.concatenate_datasets(loaded)


def load_tokenizer(model: str, revision: str | None = None) -> Tokenizer:
    """The tokenizer of a model.

    Raises: UsageError if it cannot be loaded.
    """
    try:
        return AutoTokenizer.from_pretrained(model, revision=revision)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise UsageError(f"--model: expected a tokenizer in {model!r}: {reason}") from error


def prompt_ids(tokenizer: Tokenizer, row: dict[str, Any]) -> list[int]:
    """The tokens of a row's prompt, after which a model writes its answer."""
    ids: list[int] = tokenize(tokenizer, render_prompt(tokenizer, row))["input_ids"]
    added = not tokenizer.chat_template and ids and ids[-1] == tokenizer.eos_token_id
    return ids[:-1] if added else ids


def render_prompt(tokenizer: Tokenizer, row: dict[str, Any]) -> str:
    """The text of a row's prompt, after which a model writes its answer."""
    if tokenizer.chat_template:
        return _rendered(tokenizer, row["prompt"], generation=True)
    return f"{row['prompt'][0]['content']}\n"


def render_row(tokenizer: Tokenizer, row: dict[str, Any]) -> str:
    """The text of a row's training sequence: prompt and completion in the chat template, or else on lines of their own."""
    if tokenizer.chat_template:
        return _rendered(tokenizer, [*row["prompt"], *row["completion"]])
    return f"{row['prompt'][0]['content']}\n{row['completion'][0]['content']}"


def tokenize(tokenizer: Tokenizer, text: str, **options: Any) -> Any:
    """The tokenizer's output for a rendered text. If there is a chat template, only its special tokens are in the output."""
    return tokenizer(text, add_special_tokens=not tokenizer.chat_template, **options)


def encode(tokenizer: Tokenizer, row: dict[str, Any]) -> dict[str, list[int]]:
    """The training sequence of a row: `input_ids`, and `labels`, which are the same on the answer and IGNORED before it.

    Without a chat template, an end token follows the text. This is how synthctx counts tokens.
    """
    ids: list[int] = tokenize(tokenizer, render_row(tokenizer, row))["input_ids"]
    if not tokenizer.chat_template:
        ids = [*ids, tokenizer.eos_token_id]
    start = prompt_ids(tokenizer, row)
    shared = next((i for i, (a, b) in enumerate(zip(start, ids, strict=False)) if a != b), min(len(start), len(ids)))
    return {"input_ids": ids, "labels": [IGNORED] * shared + ids[shared:]}


def require_end(tokenizer: Tokenizer) -> None:
    """Raises: UsageError if nothing would end an answer."""
    if tokenizer.chat_template is None and tokenizer.eos_token_id is None:
        raise UsageError(
            "expected a tokenizer with a chat template or an end token, and it has neither: an answer would not end"
        )


def encode_all(rows: datasets.Dataset, tokenizer: Tokenizer, max_tokens: int) -> datasets.Dataset:
    """The training sequences of all rows.

    Raises: UsageError if a sequence has more than `max_tokens` tokens, because a cut could remove its needle; or if the tokens of its
    answer cannot be told from those of its prompt.
    """
    require_end(tokenizer)

    def encode_row(row: dict[str, Any]) -> dict[str, list[int]]:
        encoded = encode(tokenizer, row)
        size, before = len(encoded["input_ids"]), encoded["labels"].count(IGNORED)
        if before == size or before < len(prompt_ids(tokenizer, row)) - _MERGED:
            raise UsageError(
                f"{row['id']}: expected a chat template that renders a prompt the same with and without its answer, and the answer "
                "behind it; under this model's, no token can be told to be the answer's"
            )
        if size > max_tokens:
            raise UsageError(
                f"{row['id']} has {size} tokens under this tokenizer, and the model reads {max_tokens}; raise "
                f"--max-tokens, or build the data with --max-tokens {max_tokens} and --tokenizer of this model"
            )
        return encoded

    return rows.map(encode_row, remove_columns=rows.column_names, desc="Tokenizing")


def _rendered(tokenizer: Tokenizer, messages: list[dict[str, str]], generation: bool = False) -> str:
    """The messages in the chat template, as synthctx counts them. The renderer of transformers would insert today's date."""
    template = _compiled(tokenizer.get_chat_template())
    return str(template.render(messages=messages, add_generation_prompt=generation, **tokenizer.special_tokens_map))


_compiled = lru_cache(compile_template)
