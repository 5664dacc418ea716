"""Writing by a language model through the Batch API: at a lower price, within a day, and through any number of restarts."""

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2
import openai
from filelock import FileLock, Timeout
from openai.types import Batch

from builders.writing.endpoint import Endpoint, is_filtered
from builders.writing.prices import Spending
from builders.writing.requests import Draft, Editor, Pass
from builders.writing.store import Answer, AnswerStore, Request
from builders.writing.writer import Status, Units, most_cost, require_hope
from synthctx_data.errors import WriterError
from synthctx_data.retry import retry_async
from synthctx_data.shown import hidden

T = TypeVar("T")
_PROBLEMS = (openai.APIError, httpx2.HTTPError, ValueError, OSError)
_CHAT: Final = "/v1/chat/completions"
_MOST = 10_000  # requests in a file; OpenAI takes 50,000 and 200 MB
_ENDED = ("completed", "failed", "expired", "cancelled")
_TRIES = 20  # attempts of a call: hours of waiting are not given up because one call fails


class BatchWriter:
    """A writer that hands its requests in as files. The first files hold all that is missing; later ones follow from answers.

    The store knows the requests of a file before the file becomes a batch. So a writer that was killed finds its batches
    again, and pays for nothing twice.

    seconds: the time between two looks at a batch.
    watch: is called after every look, and after every answer.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        store: AnswerStore,
        model: str,
        spending: Spending,
        watch: Callable[[Status], None],
        seconds: float = 30.0,
    ) -> None:
        self._endpoint, self._store, self._model, self._spending = endpoint, store, model, spending
        self._watch, self._seconds = watch, seconds
        self.status = Status(spending)

    async def write(self, units: Units) -> Pass:
        """The last pass, in which nothing was missing.

        Raises: WriterError if the endpoint has no Batch API, if a batch answers nothing, if the budget is used up, or if another
        process waits for batches of this store.
        """
        try:
            with FileLock(f"{self._store.file}.batch.lock", timeout=0):
                return await self._write(units)
        except Timeout:
            raise WriterError(
                f"{self._store.file}: another process waits for batches of this store; wait until it is done, or stop it"
            ) from None

    async def _write(self, units: Units) -> Pass:
        self.status.units = sum(1 for _ in units())
        await self._collect()
        while True:
            one = Pass(Editor(self._model), self._store)
            self.status.editor, self.status.done = one.editor, 0
            if not await self._hand_in_all(self._missing(one.drafts(units()))):
                return one
            await self._collect()

    def _missing(self, drafts: Iterable[Draft[Any]]) -> Iterator[Request]:
        seen: set[str] = set()  # units may make the same request
        for draft in drafts:
            if draft.request is None:
                self.status.done += 1
            elif draft.request.key not in seen:
                seen.add(draft.request.key)
                yield draft.request

    async def _hand_in_all(self, requests: Iterator[Request]) -> int:
        """The number of requests that were handed in."""
        count = 0
        while chunk := list(islice(self._affordable(requests), _MOST)):
            require_hope(self.status.editor)
            file = await self._upload(chunk)
            self._store.hand_in(chunk, file, self._endpoint.shown)
            await self._create(file)
            count += len(chunk)
        return count

    def _affordable(self, requests: Iterator[Request]) -> Iterator[Request]:
        """The requests before the first that the budget has no room for."""
        for request in requests:
            most = most_cost(request, self._endpoint, self._spending)
            if self._spending.reserve(most):
                yield request
            elif self._spending.under_way:
                return
            else:
                raise self._spending.refusal(most)

    async def _upload(self, requests: Iterable[Request]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "requests.jsonl"
            with path.open("w", encoding="utf-8") as lines:
                for request in requests:
                    # Without structured output: an endpoint that has none would refuse the requests hours later.
                    line = {"custom_id": request.key, "method": "POST", "url": _CHAT, "body": dict(request.body)}
                    lines.write(json.dumps(line) + "\n")
            files = self._endpoint.client.files
            made = await self._patiently(lambda: files.create(file=path, purpose="batch"))
        return made.id

    async def _create(self, file: str) -> str:
        """The name of the batch of a file: one that an earlier call made without hearing of it, or else a new one."""
        batches = self._endpoint.client.batches

        async def find_or_make() -> str:
            async for batch in batches.list():
                if batch.input_file_id == file:
                    return batch.id
            made = await batches.create(completion_window="24h", endpoint=_CHAT, input_file_id=file)
            return made.id

        name = await self._patiently(find_or_make)
        self._store.name_batch(file, name)
        return name

    async def _collect(self) -> None:
        """Waits for all batches of this endpoint, and keeps their answers."""
        for file, batch in self._store.batches(self._endpoint.shown):
            await self._collect_batch(file, batch or await self._create(file))
        self._spending.release()

    async def _collect_batch(self, file: str, name: str) -> None:
        async def look() -> Batch | None:
            try:
                return await self._endpoint.client.batches.retrieve(name)
            except openai.NotFoundError:
                return None

        while True:
            batch = await self._patiently(look)
            if batch is None:
                self._store.take_back(file)
                raise WriterError(
                    f"{self._endpoint.shown} knows nothing of {name} any more; call again to hand its requests in anew"
                )
            counts = batch.request_counts
            self.status.note = f"{name} {batch.status}" + (f", {counts.completed} of {counts.total}" if counts else "")
            self._watch(self.status)
            if batch.status in _ENDED:
                break
            await asyncio.sleep(self._seconds)
        before = self.status.answered
        handed_in = self._store.handed_in(file)
        problem = "no output"
        for part in filter(None, (batch.output_file_id, batch.error_file_id)):
            content = await self._patiently(partial(self._endpoint.client.files.content, part))
            for line in content.text.split("\n"):  # not splitlines: answers may hold other separators
                problem = self._take(line, handed_in) or problem
        self._store.take_back(file)
        self.status.note = ""
        if self.status.answered == before:
            said = [error.message for error in (batch.errors.data or [])] if batch.errors else []
            raise WriterError(
                f"{self._endpoint.shown}: batch {name} of {len(handed_in)} requests ended as {batch.status} without an answer: "
                f"{self._said((said or [problem])[0])}; call again to hand in another, or leave out --batch"
            )

    def _take(self, line: str, handed_in: dict[str, tuple[str, str]]) -> str:
        """The problem of a line without an answer, in words; empty if the line has an answer, which is kept."""
        try:
            entry = json.loads(line)
            key, reply = entry["custom_id"], entry.get("response") or {}
            status, body = reply.get("status_code"), reply.get("body")
            template, unit = handed_in[key]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return "lines that are no answers" if line.strip() else ""
        request = Request({"model": self._model, "messages": [], "max_tokens": 0}, template, unit)
        if status == 200 and isinstance(body, dict) and isinstance(body.get("choices"), list):
            answer = self._endpoint.answer(request, body)
        elif is_filtered(body):
            answer = self._endpoint.refused(request)
        else:
            return str(entry.get("error") or body or "no answer")
        del handed_in[key]
        self._keep(replace(answer, key=key))
        return ""

    def _keep(self, answer: Answer) -> None:
        kept = self._store.keep(answer)
        self._spending.spend(kept)
        self.status.count(kept)
        self._watch(self.status)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call, which is repeated after passing errors.

        Raises: WriterError if it is refused, or fails again and again.
        """
        waits = [min(self._seconds, 2.0**tried) for tried in range(1, _TRIES)]
        try:
            return await retry_async(call, waits, _is_passing)
        except _PROBLEMS as error:
            if _is_passing(error):
                raise WriterError(
                    f"{self._endpoint.shown}: --batch: {self._said(error)}; call again to go on"
                ) from None
            absent = isinstance(error, openai.APIStatusError) and error.status_code in (404, 405)
            what = "expected an endpoint with the Batch API" if absent else "--batch"
            raise WriterError(f"{self._endpoint.shown}: {what}: {self._said(error)}; or leave out --batch") from None

    def _said(self, problem: object) -> str:
        return hidden(str(problem))[:300]


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, openai.APIStatusError):
        return error.status_code >= 500 or error.status_code == 429
    return isinstance(error, _PROBLEMS)
