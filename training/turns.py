"""Rows as a model reads them: what it is asked, what it is to answer, and the token that ends an answer.

A model is asked with the very tokens that stand before the answer in its training sequence. So the prompt is cut from the rendered
row; what the chat template would write before an answer of its own may differ (DeepSeek-R1's begins a thought, gpt-oss's leaves the
channel open). Templates that let their model think are told not to.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from transformers import PreTrainedTokenizerBase as Tokenizer

from synthctx_data.errors import UsageError, first_line
from synthctx_data.hub import read_from
from synthctx_data.tokens import THOUGHTS_OFF, compile_template

IGNORED = -100  # the label of a token that does not enter the loss
_Messages = Sequence[Mapping[str, str]]
_STANDS_IN = "Synthctx"  # for an answer, where only the text around it is wanted
# Answers with whose first characters a tokenizer may merge what stands before.
_FIRST = ("A", "a", "1", "(", '"', "é", "日", "The", "the", "Document", "Answer", "Dorla", "D", "1923", "[3]")
_SHOWN = 4  # the tokens that an error shows


def load_tokenizer(model: str, revision: str | None = None) -> Tokenizer:
    """The tokenizer of a model.

    Raises: UsageError if it cannot be loaded.
    """
    expected = "--model: expected a folder or a Hub id with a tokenizer"
    if Path(model).is_dir() and not any(any(Path(model).glob(kind)) for kind in ("tokenizer*", "vocab*", "*.model")):
        raise UsageError(f"{expected}, got {model!r}: there is no tokenizer.json")
    with read_from(model, expected):
        return AutoTokenizer.from_pretrained(model, revision=revision)
    raise AssertionError  # read_from lets no error through without raising another


def render_row(tokenizer: Tokenizer, row: dict[str, Any]) -> str:
    """The text of a row's training sequence: prompt and completion in the chat template, or else on lines of their own."""
    return _rendered(tokenizer, row["prompt"], row["completion"][0]["content"])


def render_prompt(tokenizer: Tokenizer, row: dict[str, Any]) -> str:
    """The text that a model is asked with: that of the training sequence before the answer.

    Raises: UsageError if the chat template leaves the answer out, or changes it.
    """
    return _around_answer(tokenizer, row["prompt"])[0]


def tokenize(tokenizer: Tokenizer, text: str, **options: Any) -> Any:
    """The tokenizer's output for a rendered text. If there is a chat template, only its special tokens are in the output."""
    return tokenizer(text, add_special_tokens=not tokenizer.chat_template, **options)


def prompt_ids(tokenizer: Tokenizer, row: dict[str, Any]) -> list[int]:
    """The tokens of a row's prompt, after which a model writes its answer.

    Tokens at the end that an answer could merge with are left out. If the row has a `prefill`, the words that begin the answer, the model
    goes on behind it.
    """
    prompt = render_prompt(tokenizer, row)
    if row.get("prefill"):
        return _prompt_ids(tokenizer, prompt + row["prefill"])
    return _asked_ids(tokenizer, prompt)


def encode(tokenizer: Tokenizer, row: dict[str, Any]) -> dict[str, list[int]]:
    """The training sequence of a row: `input_ids`, and `labels`, which are the same on the answer and IGNORED before it.

    Without a chat template, an end token follows the text. This is how synthctx counts tokens.

    Raises: UsageError if the template changes the answer, or if the sequence does not begin with the tokens of the prompt.
    """
    text, prompt, answer = render_row(tokenizer, row), render_prompt(tokenizer, row), row["completion"][0]["content"]
    if text.startswith(prompt) and not text.removeprefix(prompt).lstrip().startswith(answer.strip()):
        raise UsageError(
            f"{row['id']}: expected a chat template that keeps an answer as it is, and this model's makes "
            f"{text.removeprefix(prompt)[: len(answer) + _SHOWN]!r} of {answer!r}; take another"
        )
    ids, start = _row_ids(tokenizer, text), _asked_ids(tokenizer, prompt)
    if ids[: len(start)] != start or len(ids) == len(start):
        same = shared_prefix(start, ids)
        asked, trained = (tokenizer.convert_ids_to_tokens(each[same : same + _SHOWN]) for each in (start, ids))
        raise UsageError(
            f"{row['id']}: expected a chat template that renders a prompt the same whatever its answer is, and under this model's, a "
            f"model is asked with {asked} and trained with {trained}; take another template"
        )
    return {"input_ids": ids, "labels": [IGNORED] * len(start) + ids[len(start) :]}


def end_of_answer(tokenizer: Tokenizer) -> int:
    """The token that ends an answer: the first token of its own that the chat template writes behind one, or else the end token.

    Raises: UsageError if nothing ends an answer.
    """
    if not tokenizer.chat_template:
        if tokenizer.eos_token_id is None:
            raise UsageError(
                "expected a tokenizer with a chat template or an end token, and it has neither: an answer would not end"
            )
        return int(tokenizer.eos_token_id)
    behind = _around_answer(tokenizer, _user(""))[1]
    ids, added = tokenizer(behind, add_special_tokens=False)["input_ids"], tokenizer.added_tokens_decoder
    own = [token for token in ids if token in added and str(added[token]).strip()]  # some have tokens for line ends
    found = next((token for token in own if added[token].special), own[0] if own else None)
    if found is None:
        raise UsageError(
            f"expected a chat template that ends an answer with a special token, and this one's ends it with {behind!r}: a model would "
            "not learn where to stop; add the token to the template"
        )
    return int(found)


def _user(message: str) -> _Messages:
    return [{"role": "user", "content": message}]


def _around_answer(tokenizer: Tokenizer, messages: _Messages) -> tuple[str, str]:
    """The texts before and behind the answer in a rendered row.

    Raises: UsageError if the chat template leaves the answer out, or changes it.
    """
    before, found, behind = _rendered(tokenizer, messages, _STANDS_IN).rpartition(_STANDS_IN)
    if not found:
        raise UsageError(
            "expected a chat template that renders a user's and an assistant's message, and this one's leaves the answer out, or changes "
            "it; take another"
        )
    return before, behind


def _rendered(tokenizer: Tokenizer, prompt: _Messages, answer: str) -> str:
    """The messages in the chat template, as synthctx counts them. The renderer of transformers would insert today's date."""
    messages = [*prompt, {"role": "assistant", "content": answer}]
    if not tokenizer.chat_template:
        return "\n".join(message["content"] for message in messages)
    try:
        template = _compiled(tokenizer.get_chat_template())
        return str(
            template.render(
                messages=messages, add_generation_prompt=False, **THOUGHTS_OFF, **tokenizer.special_tokens_map
            )
        )
    except Exception as error:  # a template may raise anything
        raise UsageError(
            f"expected a chat template that accepts one user and one assistant message, and it raised: {first_line(error)}; mend it"
        ) from error


def _asked_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The tokens of a rendered prompt, without those at its end that an answer could merge with."""
    ids = _prompt_ids(tokenizer, prompt)
    return ids[: len(ids) - _merging(tokenizer, str(tokenizer.chat_template))]


def _prompt_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenize(tokenizer, text)["input_ids"]
    added = not tokenizer.chat_template and ids and ids[-1] == tokenizer.eos_token_id
    return ids[:-1] if added else ids


def _row_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenize(tokenizer, text)["input_ids"]
    if tokenizer.chat_template or (ids and ids[-1] == tokenizer.eos_token_id):  # which some tokenizers add themselves
        return ids
    return [*ids, tokenizer.eos_token_id]


@lru_cache(maxsize=8)
def _merging(tokenizer: Tokenizer, _: str) -> int:
    """The number of tokens at the end of a prompt that may change when an answer follows, under a tokenizer with this template."""
    message = _user("Answer with a short phrase.")
    start = _prompt_ids(tokenizer, _around_answer(tokenizer, message)[0])
    rows = (_row_ids(tokenizer, _rendered(tokenizer, message, answer)) for answer in _FIRST)
    return max(len(start) - shared_prefix(start, ids) for ids in rows)


def shared_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """The number of tokens in the common beginning of two sequences."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


_compiled = lru_cache(compile_template)
