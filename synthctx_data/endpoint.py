"""One request to an OpenAI-compatible endpoint: sent again where that helps, within limits, and without telling the key to anybody."""

import asyncio
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
import openai

from synthctx_data.answers import Answer, Request
from synthctx_data.errors import UsageError, WriterError, first_line
from synthctx_data.tokens import load_counter

NO_KEY = "none"  # what servers that ask for no key get
_TRIES = 8  # of a request to an endpoint that has answered before
_FIRST_TRIES = 3  # of one that never has
_PAUSES = 30  # that an endpoint may ask for, request by request
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds between tries
_LONGEST_PAUSE = 600.0  # seconds that an endpoint may ask for
_AGAIN = {408, 409, 425, 429}  # and all from 500
_NO_SCHEMA = {400, 415, 422, 500, 501}  # what servers say that cannot do structured output
_SECRET = 8  # characters from which a key is looked for in what is said and kept: a shorter one is a word like "none"
_CHAT = "/chat/completions"
_UNKNOWN_TO_SERVERS = {"maxLength", "minLength", "maxItems", "title", "description"}  # of JSON schema


@dataclass(frozen=True)
class EndpointOptions:
    """Where requests are sent, and how fast.

    url: of an OpenAI-compatible API, such as http://localhost:8000/v1; None takes OPENAI_BASE_URL, or else OpenAI's.
    key_file: a file that holds the key; None takes OPENAI_API_KEY.
    concurrency: requests at the same time.
    requests_per_minute, tokens_per_minute: not to be passed; None is no limit.
    timeout: seconds that one answer may take.
    """

    url: str | None = None
    key_file: Path | None = None
    concurrency: int = 16
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout: float = 600.0

    @property
    def address(self) -> str:
        """Where requests are sent."""
        return self.url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"

    @property
    def key(self) -> str:
        """The key.

        Raises: UsageError if its file cannot be read, or if it is no key.
        """
        if self.key_file is None:
            key, place = os.environ.get("OPENAI_API_KEY") or NO_KEY, "OPENAI_API_KEY"
        else:
            place = f"--api-key-file {self.key_file}"
            try:
                key = self.key_file.expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{place}: expected a file that holds a key: {first_line(error)}") from None
        if not key or not key.isascii() or not key.isprintable():
            raise UsageError(f"{place}: expected one key, on one line, in ASCII")
        return key


class Limit:
    """Spreads what is taken evenly over time, so that no minute has more than it may."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds = 60 / per_minute if per_minute else 0.0
        self._next = 0.0

    async def take(self, amount: float) -> None:
        """Waits until this much may be taken."""
        now = time.monotonic()
        start = max(now, self._next)
        self._next = start + amount * self._seconds
        if start > now:
            await asyncio.sleep(start - now)


class Endpoint:
    """Answers requests; made inside of a running event loop, and closed by `close`."""

    def __init__(self, options: EndpointOptions) -> None:
        self._key = options.key
        self.shown = _address(options.address)
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
        except (openai.OpenAIError, ValueError) as error:
            raise UsageError(f"--endpoint {self.shown}: {self.scrub(first_line(error))}") from None
        self._requests, self._tokens = Limit(options.requests_per_minute), Limit(options.tokens_per_minute)
        self._resume_at = 0.0
        self.closing = False  # whether nothing is to be sent again
        self._answered = False  # whether it ever has
        self._structured = True  # whether to ask for structured output
        self._counter = load_counter(None)

    async def close(self) -> None:
        """Closes all connections."""
        await self.client.close()

    def tokens(self, request: Request) -> tuple[int, int]:
        """About how many tokens a request has, and how many its answer can have at most."""
        return sum(self._counter.raw(m["content"]) for m in request.body["messages"]), int(request.body["max_tokens"])

    async def ask(self, request: Request) -> Answer:
        """The answer to a request, good or bad.

        Raises: WriterError if there is none, and asking again does not help.
        """
        tries = pauses = 0
        amount = sum(self.tokens(request)) if self._tokens._seconds else 0
        while True:
            await self._wait_for_pause()
            await self._requests.take(1)
            await self._tokens.take(amount)
            try:
                reply = await self._send(request)
                self._answered = True
                return self.answer(request, reply)
            except openai.APIStatusError as error:
                if self._structured and not self._answered and error.status_code in _NO_SCHEMA:
                    self._structured = False
                    continue
                if self._answered and error.status_code == 400:
                    return self._refused(request)
                if not _helps(error):
                    raise WriterError(self._said(error)) from None
                pause = _asked_pause(error.response.headers)
                if pause is not None and pauses < _PAUSES:
                    pauses += 1
                    self._pause(pause, error)
                    continue
                problem: Exception = error
            except (openai.APIError, httpx2.HTTPError, ValueError, OSError) as error:
                problem = error
            tries += 1
            if self.closing or tries >= (_TRIES if self._answered else _FIRST_TRIES):
                raise WriterError(self._said(problem)) from None
            await asyncio.sleep(min(_FIRST_WAIT * 2**tries, _LONGEST_WAIT) * random.uniform(0.5, 1))

    def answer(self, request: Request, reply: Mapping[str, Any]) -> Answer:
        """A reply of the endpoint as the answer to a request: a reply that lacks something is an answer that lacks it."""
        choices = reply.get("choices") or [{}]
        choice = choices[0] if isinstance(choices, list) and isinstance(choices[0], dict) else {}
        message = choice.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        text = self.scrub(content) if isinstance(content, str) else ""
        reason = self.scrub(str(choice.get("finish_reason") or "none"))
        model = self.scrub(str(reply.get("model") or request.body["model"]))
        sent, written = self._usage(request, reply, text)
        return Answer(
            request.key, request.template, request.unit, text, reason, model, self.shown, sent, written, time.time()
        )

    def scrub(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self._key, "***") if len(self._key) >= _SECRET else text

    def body(self, request: Request) -> dict[str, Any]:
        """What is sent: the request's body, and the form of its answer if the endpoint has structured output."""
        structured = self._structured and request.form is not None
        return {**request.body, **({"response_format": _response_format(request.form)} if structured else {})}

    async def _send(self, request: Request) -> Mapping[str, Any]:
        # Not `chat.completions.create`: what it adds, types on both sides, takes longer than all else, and is not trusted anyway.
        reply = await self.client.post(_CHAT, body=self.body(request), cast_to=object)
        if not isinstance(reply, dict):
            raise ValueError(f"expected a chat completion in JSON, got {str(reply)[:80]!r}")
        return reply

    def _usage(self, request: Request, reply: Mapping[str, Any], text: str) -> tuple[int, int]:
        usage = reply.get("usage")
        if isinstance(usage, dict):
            prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
            if isinstance(prompt, int) and isinstance(completion, int):
                return prompt, completion
        return self.tokens(request)[0], self._counter.raw(text)

    def _refused(self, request: Request) -> Answer:
        """The answer to a request that the endpoint takes for a bad one, where it took others."""
        model = str(request.body["model"])
        return Answer(request.key, request.template, request.unit, "", "refused", model, self.shown, 0, 0, time.time())

    async def _wait_for_pause(self) -> None:
        while (left := self._resume_at - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def _pause(self, seconds: float, error: openai.APIStatusError) -> None:
        if seconds > _LONGEST_PAUSE:
            raise WriterError(f"{self._said(error)} (it asks to wait {seconds:.0f} seconds)") from None
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def _said(self, error: Exception) -> str:
        """What went wrong, for the user."""
        name = type(error).__name__
        said = self.scrub(first_line(error))[:300]
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            key = "no key is given" if self._key == NO_KEY else "the key is refused"
            return f"{self.shown}: {key} ({name}: {said}); set OPENAI_API_KEY or --api-key-file"
        if isinstance(error, openai.APIConnectionError):
            cause = f": {self.scrub(first_line(error.__cause__))}" if isinstance(error.__cause__, Exception) else ""
            return f"{self.shown} cannot be reached ({name}: {said}{cause}); is --endpoint (or OPENAI_BASE_URL) right, and its server up?"
        return f"{self.shown} gives no answer ({name}: {said})"


def _helps(error: openai.APIStatusError) -> bool:
    """Whether sending the request again may help."""
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


def _address(url: str) -> str:
    """The address of an API, which goes into the store and into messages.

    Raises: UsageError if it is none, or if it holds more than an address: that would be a secret.
    """
    parts = urlsplit(url)
    shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    if parts.scheme not in ("http", "https") or not parts.netloc:
        # What came is not repeated: it may be a key in the wrong place.
        raise UsageError("--endpoint: expected an address such as http://localhost:8000/v1, and got something else")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            f"--endpoint: expected an address without user name, password and query, such as {shown}; a key goes into OPENAI_API_KEY or "
            "--api-key-file"
        )
    return shown


def _response_format(form: Any) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": form.__name__, "strict": True, "schema": _plain(form.model_json_schema())},
    }


def _plain(schema: Any) -> Any:
    """The schema without what servers refuse in one."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    named = "properties" in schema  # the names of properties are no words of the schema's
    plain = {
        name: {key: _plain(item) for key, item in value.items()} if name in ("properties", "$defs") else _plain(value)
        for name, value in schema.items()
        if name not in _UNKNOWN_TO_SERVERS
    }
    return {**plain, "additionalProperties": False} if named else plain
