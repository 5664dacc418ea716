"""Answers to prompts, from an OpenAI-compatible endpoint."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

from synthctx_data.command import err
from synthctx_data.errors import UsageError
from synthctx_data.shown import hidden, public_address
from training.answer_text import bare_answer
from training.generate import AnswerBatches, batches
from training.options import EvaluateOptions

_Row = dict[str, Any]
# What some models refuse, and what they take instead.
_INSTEAD: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "max_tokens": lambda asked: {"max_completion_tokens": asked["max_tokens"]},
    "temperature": lambda _: {},
}
_GO_ON = {"add_generation_prompt": False, "continue_final_message": True}  # as vLLM and SGLang take it


def from_endpoint(options: EvaluateOptions) -> Callable[[Sequence[_Row]], AnswerBatches]:
    """A function that answers rows through an OpenAI-compatible endpoint, `batch_size` rows at a time.

    If the endpoint refuses a part of the request that some models refuse, the request is made again without it. A reply without
    content is an empty answer.

    Raises: UsageError if the endpoint does not answer as it should.
    """
    import openai

    if not options.model or options.adapter:
        raise UsageError("--endpoint: expected --model, the name that the endpoint knows it by, and no --adapter")
    key = os.environ.get("OPENAI_API_KEY", "none")
    if not key.isascii() or not key.isprintable():
        raise UsageError("OPENAI_API_KEY: expected one key, on one line, in ASCII")
    address = public_address(str(options.endpoint), "--endpoint")
    client = openai.OpenAI(base_url=address, api_key=key, max_retries=5)
    request, changing = _request(options), Lock()
    given = "max_tokens" in json.loads(options.request) or "max_completion_tokens" in json.loads(options.request)
    empty: list[str] = []

    def ask(row: _Row) -> str | Exception:
        try:
            content = _text(_reply(row).choices[0].message.content)
        except (openai.OpenAIError, AttributeError, LookupError, TypeError, ValueError) as error:
            return error
        if content is None:
            empty.append(row["id"])
        return bare_answer(content or "")

    def _reply(row: _Row) -> Any:
        asked = {**request, **_of_row(row, request, given)}
        messages = row["prompt"] + ([{"role": "assistant", "content": row["prefill"]}] if row.get("prefill") else [])
        try:
            return client.chat.completions.create(model=str(options.model), messages=messages, extra_body=asked)
        except openai.BadRequestError as error:
            refused = next((name for name in _INSTEAD if name in asked and f"'{name}'" in str(error)), None)
            if refused is None:
                raise
            with changing:
                if refused in request:  # another thread may have been faster
                    request.update(_INSTEAD[refused](request))
                    del request[refused]
            return _reply(row)

    def answer(rows: Sequence[_Row]) -> AnswerBatches:
        together = options.batch_size or 1
        with ThreadPoolExecutor(together) as pool:
            for batch in batches(rows, together):
                replies = list(zip(batch, pool.map(ask, batch), strict=True))
                yield [(row["id"], reply) for row, reply in replies if isinstance(reply, str)]
                for row, reply in replies:
                    if isinstance(reply, Exception):
                        raise UsageError(
                            f"--endpoint {address}: no answer to {row['id']}: {type(reply).__name__}: {hidden(str(reply))}; others are kept"
                        )
        if empty:
            err.print(
                f"{len(empty)} replies had no content and count as empty answers: {empty[0]} first", soft_wrap=True
            )

    return answer


def _of_row(row: _Row, request: dict[str, Any], given: bool) -> dict[str, Any]:
    """The fields that a row of a benchmark asks for: to go on behind the words that begin its answer, and its own number of tokens.

    given: --request has a number of tokens, which counts before that of the row.
    """
    name = next((name for name in ("max_tokens", "max_completion_tokens") if name in request), None)
    fields: dict[str, Any] = dict(_GO_ON) if row.get("prefill") else {}
    if name and "answer_tokens" in row and not given:
        fields[name] = row["answer_tokens"]
    return fields


def _text(content: Any) -> str | None:
    """The text of a reply's content, which may come in parts.

    Raises: TypeError if it is something else.
    """
    if isinstance(content, list):
        return "".join(part["text"] for part in content)
    if content is not None and not isinstance(content, str):
        raise TypeError(f"expected a text, got {content!r}")
    return content


def _request(options: EvaluateOptions) -> dict[str, Any]:
    """The fields of each request besides model and messages.

    Raises: UsageError if `request` is no JSON object.
    """
    try:
        wanted = json.loads(options.request)
        if not isinstance(wanted, dict):
            raise ValueError(f"got a {type(wanted).__name__}")
    except ValueError as error:
        raise UsageError(f'--request: expected a JSON object such as {{"temperature": null}}: {error}') from error
    fields = {"max_tokens": options.max_new_tokens, "temperature": 0, **wanted}
    return {name: value for name, value in fields.items() if value is not None}
