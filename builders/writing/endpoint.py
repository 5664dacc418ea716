"""Requests to an OpenAI-compatible endpoint: sent again where that helps, within rate limits, and with the key kept secret."""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeGuard

import httpx2
import openai

from builders.writing.options import NO_KEY, WritingOptions
from builders.writing.store import Answer, Request
from synthctx_data.errors import UsageError, WriterError, first_line
from synthctx_data.log import LOG
from synthctx_data.shown import hidden, keep_secret
from synthctx_data.tokens import load_counter

_TRIES = 8  # attempts of a request to an endpoint that has answered before
_FIRST_TRIES = 3  # attempts of a request to one that never has
_PAUSES = 30  # pauses that an endpoint may ask for, in one request
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds between tries
_LONGEST_PAUSE = 600.0  # seconds that an endpoint may ask for
_AGAIN = {408, 409, 425, 429}  # status codes after which another attempt may help, besides all from 500
_NO_SCHEMA = {400, 415, 422, 500, 501}  # status codes of servers that cannot do structured output
_CHAT = "/chat/completions"
_FILTERED = {
    "content_filter",
    "content_policy_violation",
    "invalid_prompt",
}  # codes of a request that will never be answered
_LONGEST_TEXT = 100_000  # characters that are kept: more than the longest answer that is asked for
_COUNTS = 2**31  # beyond any count of tokens
_MORE = 1.5  # tokens assumed for each that the bundled tokenizer counts, until the endpoint tells
_STOPPED = "stopped; what was answered is kept"
_UNKNOWN_TO_SERVERS = {
    "maxLength",
    "minLength",
    "maxItems",
    "title",
    "description",
}  # keywords of JSON schema that some servers refuse


class Limit:
    """A rate limit, which spreads requests or tokens evenly over time."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds = 60 / per_minute if per_minute else 0.0
        self._next = 0.0

    @property
    def is_set(self) -> bool:
        """True if there is a limit at all."""
        return self._seconds > 0

    def wait(self, amount: float) -> float:
        """The seconds to wait before this amount is sent. The amount is counted as sent then."""
        now = time.monotonic()
        start = max(now, self._next)
        self._next = start + amount * self._seconds
        return start - now


class Endpoint:
    """An endpoint that answers requests. It is made inside of a running event loop, and closed by `close`."""

    def __init__(self, options: WritingOptions) -> None:
        self._key = options.key
        self.shown = options.public_address
        keep_secret(self._key)
        try:
            self.client = openai.AsyncOpenAI(
                base_url=self.shown,
                api_key=self._key,
                max_retries=0,
                timeout=options.timeout,
                http_client=openai.DefaultAioHttpClient(
                    limits=httpx2.Limits(
                        max_connections=options.concurrency, max_keepalive_connections=options.concurrency
                    )
                ),
            )
        except (openai.OpenAIError, httpx2.InvalidURL, ValueError) as error:
            raise UsageError(f"--endpoint {self.shown}: {hidden(first_line(error))}") from None
        self._requests, self._tokens = Limit(options.requests_per_minute), Limit(options.tokens_per_minute)
        self._resume_at = 0.0
        self._stopped = asyncio.Event()
        self._timeout = options.timeout
        self._more = _MORE
        self._counts = False  # true once the tokens of requests are needed: counting takes as long as sending
        self._answered = False  # true once the endpoint has answered
        self._structured = True  # true while structured output is asked for
        self._counter = load_counter(None)

    async def close(self) -> None:
        """Closes all connections."""
        await self.client.close()

    def stop(self) -> None:
        """Stops sending. Requests under way are waited for; requests that wait for their turn are given up."""
        self._stopped.set()

    def tokens(self, request: Request) -> tuple[int, int]:
        """The number of tokens of a request, estimated rather too high, and the most tokens that its answer can have."""
        self._counts = True
        return int(self._counted(request) * self._more) + 1, int(request.body["max_tokens"])

    async def ask(self, request: Request) -> Answer:
        """The answer to a request, good or bad.

        Raises: WriterError if there is none, and asking again does not help, or after `stop`.
        """
        tries = pauses = 0
        amount = sum(self.tokens(request)) if self._tokens.is_set else 0
        without = False  # true while one attempt leaves structured output out, to see if that helps
        while True:
            await self._sleep(self._resume_at - time.monotonic())
            await self._sleep(max(self._requests.wait(1), self._tokens.wait(amount)))
            try:
                reply = await self._send(request, without)
                self._structured = self._structured and not without
                self._answered = True
                LOG.debug("%s was answered by %s", request.unit, self.shown)
                return self.answer(request, reply)
            except openai.APIStatusError as error:
                if self._structured and not self._answered and not without and error.status_code in _NO_SCHEMA:
                    without = True
                    continue
                without = False
                if is_filtered(error.body):
                    return self.refused(request)
                if not _helps(error):
                    raise WriterError(self._said(error)) from None
                pause = _asked_pause(error.response.headers)
                if pause is not None and pauses < _PAUSES:
                    pauses += 1
                    self._pause(pause, error)
                    continue
                problem: Exception = error
            except (openai.APIError, httpx2.HTTPError, ValueError, OSError, RecursionError) as error:
                problem = error
            tries += 1
            LOG.info("%s, attempt %d: %s", request.unit, tries, self._said(problem))
            if self._stopped.is_set() or tries >= (_TRIES if self._answered else _FIRST_TRIES):
                raise WriterError(self._said(problem)) from None
            await self._sleep(min(_FIRST_WAIT * 2**tries, _LONGEST_WAIT) * random.uniform(0.5, 1))

    def answer(self, request: Request, reply: Mapping[str, Any]) -> Answer:
        """The answer in a reply of the endpoint. A reply without a text gives an answer with an empty text."""
        choice = reply["choices"][0] if reply["choices"] else {}
        message = choice.get("message") if isinstance(choice, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        text = self._kept(content) if isinstance(content, str) else ""
        reason = self._kept(str(choice.get("finish_reason") or "none")) if isinstance(choice, dict) else "none"
        if len(text) > _LONGEST_TEXT:
            text, reason = text[:_LONGEST_TEXT], "length"
        model = self._kept(str(reply.get("model") or request.body["model"]))
        return self._made(request, text, reason, model, *self._usage(request, reply, text))

    def refused(self, request: Request) -> Answer:
        """The answer to a request that a filter of the endpoint does not let through."""
        return self._made(request, "", "refused", str(request.body["model"]), 0, 0)

    def _made(self, request: Request, text: str, reason: str, model: str, sent: int, written: int) -> Answer:
        return Answer(
            key=request.key,
            template=request.template,
            unit=request.unit,
            text=text,
            finish_reason=reason,
            asked=str(request.body["model"]),
            model=model,
            endpoint=self.shown,
            prompt_tokens=sent,
            completion_tokens=written,
            time=time.time(),
        )

    def _kept(self, text: str) -> str:
        """The text as a store can hold it: without the key, and without halves of characters (surrogates)."""
        return hidden(text).encode("utf-8", "replace").decode()

    def _counted(self, request: Request) -> int:
        return request.tokens(self._counter)

    async def _send(self, request: Request, without: bool) -> Mapping[str, Any]:
        if self._stopped.is_set():
            raise WriterError(_STOPPED)
        body = dict(request.body)
        if self._structured and not without and request.form is not None:
            body["response_format"] = _response_format(request.form)
        # Not `chat.completions.create`: it adds types on both sides, which takes longer than all else and is not relied on.
        async with asyncio.timeout(self._timeout):
            reply = await self.client.post(_CHAT, body=body, cast_to=object)
        if not isinstance(reply, dict) or not isinstance(reply.get("choices"), list):
            raise ValueError(f"expected a chat completion in JSON, got {hidden(str(reply))[:80]!r}")
        return reply

    def _usage(self, request: Request, reply: Mapping[str, Any], text: str) -> tuple[int, int]:
        """The tokens of a request and of its answer that were paid for: as the endpoint says, or else as counted here."""
        usage = reply.get("usage")
        said = usage if isinstance(usage, dict) else {}
        prompt, completion = said.get("prompt_tokens"), said.get("completion_tokens")
        counted = self._counted(request) if self._counts or not _is_count(prompt) else 0
        sent = prompt if _is_count(prompt) else counted
        if counted:
            self._more = max(self._more, sent / counted)
        return sent, completion if _is_count(completion) else self._counter.raw(text)

    async def _sleep(self, seconds: float) -> None:
        """Waits for this many seconds, if they are more than 0.

        Raises: WriterError after `stop`.
        """
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), seconds)
        if self._stopped.is_set():
            raise WriterError(_STOPPED)

    def _pause(self, seconds: float, error: openai.APIStatusError) -> None:
        if seconds > _LONGEST_PAUSE:
            raise WriterError(f"{self._said(error)} (it asks to wait {seconds:.0f} seconds)") from None
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def _said(self, error: Exception) -> str:
        """The message about an error, for the user."""
        name = type(error).__name__
        said = hidden(first_line(error))[:300]
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            key = "no key is given" if self._key == NO_KEY else "the key is refused"
            return f"{self.shown}: {key} ({name}: {said}); set OPENAI_API_KEY or --api-key-file"
        if isinstance(error, openai.APIConnectionError):
            cause = f": {hidden(first_line(error.__cause__))}" if isinstance(error.__cause__, Exception) else ""
            return f"{self.shown} cannot be reached ({name}: {said}{cause}); is --endpoint (or OPENAI_BASE_URL) right, and its server up?"
        return f"{self.shown} gives no answer ({name}: {said})"


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _COUNTS


def is_filtered(body: Any) -> bool:
    """True if an error says that this request will never be answered, even if others are."""
    inner = body.get("error", body) if isinstance(body, dict) else None
    return isinstance(inner, dict) and inner.get("code") in _FILTERED


def _helps(error: openai.APIStatusError) -> bool:
    """True if sending the request again may help."""
    return (error.status_code in _AGAIN or error.status_code >= 500) and error.code != "insufficient_quota"


def _asked_pause(headers: Mapping[str, str]) -> float | None:
    """The seconds that an endpoint asks to wait; None if it does not."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "")
        try:
            seconds = float(value) / unit
        except ValueError:
            continue
        return seconds if 0 <= seconds < float("inf") else None
    try:
        then = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max((then - datetime.now(then.tzinfo or UTC)).total_seconds(), 0.0) if then.tzinfo else None


def _response_format(form: Any) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": form.__name__, "strict": True, "schema": _plain(form.model_json_schema())},
    }


def _plain(schema: Any) -> Any:
    """The JSON schema without the keywords that some servers refuse."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    named = "properties" in schema  # the names of properties are no keywords
    plain = {
        name: {key: _plain(item) for key, item in value.items()} if name in ("properties", "$defs") else _plain(value)
        for name, value in schema.items()
        if name not in _UNKNOWN_TO_SERVERS
    }
    return {**plain, "additionalProperties": False} if named else plain
