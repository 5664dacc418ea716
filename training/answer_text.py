"""The answer in what a model writes: without its thoughts, and without the words by which some templates open a channel for it."""

import re
from bisect import bisect_left
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase as Tokenizer

# Thoughts come first. A template may have opened them, so that only their end is in the text; or they may have no end.
_MARKS = {
    "<think>": "</think>",
    "<seed:think>": "</seed:think>",
    "◁think▷": "◁/think▷",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|channel>": "<channel|>",
}
_OPEN, _CLOSE = ("|".join(map(re.escape, marks)) for marks in (_MARKS, _MARKS.values()))
_THOUGHTS = re.compile(rf"\s*(?:.*(?:{_CLOSE})|(?:{_OPEN}).*)", re.DOTALL)
# gpt-oss names a channel before each part of what it writes, and only the last part of the channel "final" is the answer.
_CHANNEL = re.compile(r".*<\|channel\|>final(?:(?!<\|message\|>).)*<\|message\|>|.*<\|channel\|>.*", re.DOTALL)


def answer_start(text: str) -> int:
    """The character at which the answer in a model's text begins. It is the number of characters if there is no answer."""
    return max(found.end() if (found := pattern.match(text)) else 0 for pattern in (_THOUGHTS, _CHANNEL))


def bare_answer(text: str) -> str:
    """The answer in a model's text, without thoughts and the whitespace around it."""
    return text[answer_start(text) :].strip()


def first_of_answer(tokenizer: Tokenizer, tokens: Sequence[int]) -> int:
    """The index of the first token of the answer in the tokens that a model wrote."""
    start = answer_start(tokenizer.decode(tokens, skip_special_tokens=False))
    if not start:
        return 0
    counts = range(len(tokens) + 1)
    return bisect_left(
        counts, start, key=lambda count: len(tokenizer.decode(tokens[:count], skip_special_tokens=False))
    )


def read_answer(tokenizer: Tokenizer, tokens: Sequence[int], ends: Sequence[int]) -> str:
    """The answer in the tokens that a model wrote, up to the first token that ends an answer."""
    written = list(tokens)
    written = written[: next((i for i, token in enumerate(written) if token in ends), len(written))]
    return str(tokenizer.decode(written[first_of_answer(tokenizer, written) :], skip_special_tokens=True)).strip()
