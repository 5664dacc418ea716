"""Chats of the user's as rows: a message of a user and its answer, with no document and no needle."""

from collections.abc import Iterator, Mapping
from typing import Any

from synthctx_data.corpora import encodes
from synthctx_data.corpus_files import PassedOver, corpus_rows
from synthctx_data.example import CHAT
from synthctx_data.tokens import TokenCounter

_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}


def read_chats(file: str, counter: TokenCounter, most: int, passed: PassedOver) -> Iterator[dict[str, Any]]:
    """The rows of the chats in a file, folder or Hub data set: of each, the first message and its answer.

    A chat has `messages` [{role, content}], `conversations` [{from, value}], or a `prompt` with a `completion`. A system message is left
    out. Chats that do not begin with a user's message and an answer, or that have more than `most` tokens, are counted in `passed`.

    Raises: UsageError or CorpusError as `corpus_rows` does.
    """
    for place, row in corpus_rows(file, passed):
        exchange = _first_exchange(row)
        if exchange is None:
            passed.add("chats that do not begin with a user's message and an answer, passed over", place)
            continue
        prompt, completion = map(counter.break_special, exchange)
        tokens = counter.conversation(prompt, completion)
        if tokens > most:
            passed.add("chats with more tokens than any other row, passed over", place)
            continue
        yield _row(prompt, completion, tokens)


def _first_exchange(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first message of a user and its answer, if a chat begins with them."""
    turns = (
        row.get("messages")
        or row.get("conversations")
        or [*_turns(row, "prompt", "user"), *_turns(row, "completion", "assistant")]
    )
    turns = turns if isinstance(turns, list) else []
    first = (
        1 if turns and isinstance(turns[0], Mapping) and turns[0].get("role", turns[0].get("from")) == "system" else 0
    )
    said = [_said(turn) for turn in turns[first : first + 2]]
    if [role for role, _ in said] != ["user", "assistant"] or not all(text.strip() for _, text in said):
        return None
    return said[0][1], said[1][1]


def _turns(row: Mapping[str, Any], name: str, role: str) -> list[Any]:
    value = row.get(name)
    return [{"role": role, "content": value}] if isinstance(value, str) else value if isinstance(value, list) else []


def _said(turn: Any) -> tuple[str, str]:
    if not isinstance(turn, Mapping):
        return "", ""
    text = turn.get("content", turn.get("value"))
    role = _ROLES.get(str(turn.get("role", turn.get("from"))), "")
    return role, text if isinstance(text, str) and encodes(text) else ""


def _row(prompt: str, completion: str, tokens: int) -> dict[str, Any]:
    return {
        "id": "",
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": completion}],
        "question": prompt,
        "answers": [completion],
        "decomposition": [],
        "documents": [],
        "needles": [],
        "sources": [],
        "num_tokens": tokens,
        "shared_words": None,
        "concept_expression": CHAT,
        "context_diversity": "none",
        "writer": "",
    }
