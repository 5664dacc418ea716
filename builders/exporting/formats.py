"""Formats of other tools: what a row, or several rows on one context, is in each, and how that tool is told of the file."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from synthctx_data.row_checks import documents_of

Format = Literal["openai", "sharegpt", "alpaca", "text", "llamafactory", "axolotl"]
Message = Mapping[str, str]
Row = Mapping[str, Any]
Render = Callable[[str, str], str]  # the text of a user message and an answer


@dataclass(frozen=True)
class Written:
    """How a format writes conversations, and whether it has room for several questions in one.

    line: the JSON of a conversation, from its messages. config: how the tool is told of a file; empty if it needs no telling.
    """

    line: Callable[[Sequence[Message], Render], dict[str, Any]]
    several: bool = True
    config: Callable[[str], str] = lambda name: ""


def _openai(messages: Sequence[Message], _: Render) -> dict[str, Any]:
    return {"messages": [dict(message) for message in messages]}


def _sharegpt(messages: Sequence[Message], _: Render) -> dict[str, Any]:
    names = {"user": "human", "assistant": "gpt"}
    return {"conversations": [{"from": names[one["role"]], "value": one["content"]} for one in messages]}


def _alpaca(messages: Sequence[Message], _: Render) -> dict[str, Any]:
    asked, answered = messages
    return {"instruction": asked["content"], "input": "", "output": answered["content"]}


def _text(messages: Sequence[Message], render: Render) -> dict[str, Any]:
    asked, answered = messages
    return {"text": render(asked["content"], answered["content"])}


def _llamafactory(name: str) -> str:
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    entry = {"file_name": name, "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}
    return f"In dataset_info.json, beside {name}:\n\n{json.dumps({_stem(name): entry}, indent=2)}"


def _axolotl(name: str) -> str:
    return (
        f"In the YAML of a run:\n\ndatasets:\n  - path: {name}\n    ds_type: json\n    type: chat_template\n    field_messages: messages\n"
        "    roles_to_train: [assistant]\n    train_on_eos: turn"
    )


def _stem(name: str) -> str:
    return PurePosixPath(name).name.partition(".")[0]


FORMATS: dict[Format, Written] = {
    "openai": Written(_openai),
    "sharegpt": Written(_sharegpt),
    "alpaca": Written(_alpaca, several=False),
    "text": Written(_text, several=False),
    "llamafactory": Written(_openai, config=_llamafactory),
    "axolotl": Written(_openai, config=_axolotl),
}
assert set(FORMATS) == {*get_args(Format)}


def lines(rows: Iterable[Row], format: Format, together: bool, render: Render) -> Iterator[str]:
    """The lines of a file: the rows in their order, each as a conversation; or `together` those in turn that have one context."""
    groups = (list(group) for _, group in groupby(rows, key=documents_of)) if together else ([row] for row in rows)
    for group in groups:
        yield json.dumps(FORMATS[format].line(_conversation(group), render), ensure_ascii=False) + "\n"


def _conversation(rows: Sequence[Row]) -> list[Message]:
    """The messages of rows on one context: the first user message holds it, and the others ask only."""
    first, *others = rows
    messages: list[Message] = [*_messages(first)]
    for row in others:
        asked, answered = _messages(row)
        messages += [{**asked, "content": asked["content"][len(documents_of(row)) :].strip()}, answered]
    return messages


def _messages(row: Row) -> list[Message]:
    return [{"role": one["role"], "content": one["content"]} for one in (*row["prompt"], *row["completion"])]
