"""Rows as training sequences: mixtures of data sets, tokenized, with labels on the answer only."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Any

import datasets
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase as Tokenizer

from synthctx_data.dataset import Address, load_rows, parse_variant_address
from synthctx_data.errors import UsageError
from synthctx_data.row_checks import documents_of
from synthctx_data.seeding import rng
from training.turns import IGNORED, encode, end_of_answer, shared_prefix

_PADDED = -1  # the branch of padding
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
    if match is None or weight == 0 or "*" in match["address"]:
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


def encode_all(
    rows: datasets.Dataset, tokenizer: Tokenizer, max_tokens: int, together: bool = False
) -> datasets.Dataset:
    """The training sequences of all rows; with `together`, one sequence for all rows in turn that have the same documents.

    Raises: UsageError if a row has more than `max_tokens` tokens, because a cut could remove its needle; or if the chat template
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

    encoded = rows.map(encode_row, remove_columns=rows.column_names, desc="Tokenizing")
    if not together:
        return encoded
    groups = contexts(rows)
    if len(groups) == len(rows):
        return encoded
    indices = datasets.Dataset.from_dict({"rows": groups})
    return indices.map(
        lambda group: join([encoded[i] for i in group["rows"]]), remove_columns=["rows"], desc="Joining questions"
    )


def contexts(rows: datasets.Dataset) -> list[list[int]]:
    """The indices of the rows of each context: of rows in turn that have the same documents."""
    found = map(documents_of, rows.select_columns(["prompt", "documents"]))
    return [[i for i, _ in group] for _, group in groupby(enumerate(found), lambda one: one[1])]


def join(rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, list[int]]:
    """One training sequence for several rows: the tokens that all of them share, and behind these the rest of each row, as a branch.

    `branches` has the number of each token's branch; 0 stands for the shared tokens. A token sees those and its own branch before it,
    so that each row has the loss that it has alone.
    """
    ids, labels = [row["input_ids"] for row in rows], [row["labels"] for row in rows]
    prompts = [list(one).count(IGNORED) for one in labels]
    shared = min(*(shared_prefix(ids[0], other) for other in ids), *(prompt - 1 for prompt in prompts))
    parts = range(1, len(rows) + 1)
    return {
        "input_ids": [*ids[0][:shared], *(token for one in ids for token in one[shared:])],
        "labels": [*labels[0][:shared], *(label for one in labels for label in one[shared:])],
        "branches": [0] * shared + [part for part, one in zip(parts, ids, strict=True) for _ in one[shared:]],
    }


def with_skips(rows: datasets.Dataset, target: int, seed: int) -> datasets.Dataset:
    """The training sequences with positions up to `target`, in two chunks: the second, cut off anywhere in the context, begins later.

    `skip` has the first token of the second chunk, and the number of positions that are skipped before it. Both are drawn for each row.
    So a model sees distances as long as `target` on short rows.

    Source: PoSE (Zhu et al. 2024, arXiv 2309.10400), with two chunks.
    """

    def skip(row: dict[str, Any], index: int) -> dict[str, list[int]]:
        branches = Counter(row.get("branches") or [0] * row["labels"].count(IGNORED))
        context, longest = (
            branches.pop(0),
            max(branches.values(), default=len(row["labels"]) - row["labels"].count(IGNORED)),
        )
        stream = rng(seed, "training", "skip", index)
        return {"skip": [1 + stream.below(max(context - 1, 1)), stream.below(target - context - longest + 1)]}

    return rows.map(skip, with_indices=True, desc="Skipping positions")


def collate_branches(items: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, torch.Tensor]:
    """A batch of sequences, joined or not, with positions skipped or not: with `position_ids` and a mask (sequence, 1, token, token).

    The mask hides branches from each other. It is there for a single one too, since transformers would take a skip for a border.
    """

    def padded(values: Sequence[Sequence[int]], by: int) -> torch.Tensor:
        return pad_sequence([torch.tensor(one) for one in values], batch_first=True, padding_value=by)

    branches = padded([item.get("branches", [0] * len(item["input_ids"])) for item in items], _PADDED)
    own = branches[:, :, None] == branches[:, None, :]
    seen = (own | (branches == 0)[:, None, :]).tril()
    cuts, skipped = torch.tensor([item.get("skip", (0, 0)) for item in items])[:, :, None].unbind(1)
    return {
        "input_ids": padded([item["input_ids"] for item in items], 0),
        "labels": padded([item["labels"] for item in items], IGNORED),
        "position_ids": seen.sum(-1) - 1 + skipped * (torch.arange(seen.shape[-1]) >= cuts),
        "attention_mask": seen[:, None],
    }
