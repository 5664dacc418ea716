"""MRCR (OpenAI 2025): a long chat, of whose equal requests the model is to repeat the answer to one. Files are those of openai/mrcr.

Source: huggingface.co/datasets/openai/mrcr, README.md
"""

import json
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from synthctx_data.corpora import encodes
from training.benchmarks.entries import Entry

METRIC = "match_ratio"
_CHARACTERS_PER_TOKEN = 2  # at least, so that no answer is cut


def row(entry: Entry) -> dict[str, Any]:
    """The row of an entry, with all turns of its chat."""
    try:
        chat = [{"role": one["role"], "content": one["content"]} for one in json.loads(entry.text("prompt"))]
    except (ValueError, TypeError, KeyError, RecursionError):
        chat = []
    texts = [text for one in chat for text in one.values()]
    if not all(isinstance(text, str) and encodes(text) for text in texts) or not chat or chat[-1]["role"] != "user":
        entry.refuse("prompt", "the messages of a chat, as JSON, that end with the user's")
    answer = entry.text("answer")
    needles = entry.number_of("n_needles")
    return entry.row(
        f"{needles} needles",
        chat,
        [answer],
        len(answer) // _CHARACTERS_PER_TOKEN + 16,
        begins=entry.text("random_string_to_prepend"),
    )


def score(row: Mapping[str, Any], prediction: str) -> float:
    """How much of the answer the prediction repeats, by difflib's ratio; 0 if it does not begin with the letters that were asked for."""
    if not prediction.startswith(row["begins"]):
        return 0.0
    said, answer = (text.removeprefix(row["begins"]) for text in (prediction, row["answers"][0]))
    return SequenceMatcher(None, said, answer).ratio()
