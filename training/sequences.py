"""Rows as training sequences: mixtures of data sets, tokenized, with labels on the answer only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import datasets
from transformers import PreTrainedTokenizerBase as Tokenizer

from synthctx_data.dataset import Address, load_rows, parse_variant_address
from synthctx_data.errors import UsageError
from training.turns import encode, end_of_answer

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


def encode_all(rows: datasets.Dataset, tokenizer: Tokenizer, max_tokens: int) -> datasets.Dataset:
    """The training sequences of all rows.

    Raises: UsageError if a sequence has more than `max_tokens` tokens, because a cut could remove its needle; or if the chat template
    does not ask a model with the tokens that it is trained on, or does not end its answers.
    """
    end_of_answer(tokenizer)

    def encode_row(row: dict[str, Any]) -> dict[str, list[int]]:
        encoded = encode(tokenizer, row)
        size = len(encoded["input_ids"])
        if size > max_tokens:
            raise UsageError(
                f"{row['id']} has {size} tokens under this tokenizer, and the model reads {max_tokens}; raise "
                f"--max-tokens, or build the data with --max-tokens {max_tokens} and --tokenizer of this model"
            )
        return encoded

    return rows.map(encode_row, remove_columns=rows.column_names, desc="Tokenizing")
