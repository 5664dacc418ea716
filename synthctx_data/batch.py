"""Has a language model write through the Batch API: at a lower price, within a day, and through any number of restarts."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2
import openai

from synthctx_data.answers import Answer, AnswerStore, Request
from synthctx_data.endpoint import Endpoint
from synthctx_data.errors import WriterError
from synthctx_data.prices import Purse
from synthctx_data.writer import Status, Units, require_hope
from synthctx_data.writing import Draft, Editor, Pass

T = TypeVar("T")
_CHAT: Final = "/v1/chat/completions"
_MOST = 10_000  # requests in a file; OpenAI takes 50,000 and 200 MB
_ENDED = ("completed", "failed", "expired", "cancelled")
_TRIES = 20  # of a call that is refused or does not arrive: hours of waiting are not given up for one of them


class BatchWriter:
    """Asks as `Writer` does, in files of requests: one for all that is missing, then, since some requests follow from answers, the next.

    Before a file becomes a batch, the store knows its requests. So a writer that was killed finds its batches again, and pays for
    nothing twice.

    seconds: between two looks at a batch.
    watch: told of every look, and of every answer.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        store: AnswerStore,
        model: str,
        purse: Purse,
        watch: Callable[[Status], None],
        seconds: float = 30.0,
    ) -> None:
        self._endpoint, self._store, self._model, self._purse = endpoint, store, model, purse
        self._watch, self._seconds = watch, seconds
        self._tried = False  # whether one request has been sent by itself
        self.status = Status(purse)

    async def write(self, units: Units) -> Pass:
        """The last pass, in which nothing was missing.

        Raises: WriterError if the endpoint has no Batch API, if a batch answers nothing, or if the budget is used up.
        """
        self.status.units = sum(1 for _ in units())
        await self._collect()
        while True:
            one = Pass(Editor(self._model), self._store)
            self.status.editor, self.status.done = one.editor, 0
            requests: Iterator[Request] = self._missing(one.drafts(units()))
            first = next(requests, None)
            if first is None:
                return one
            if self._tried:
                requests = chain([first], requests)
            else:  # shows whether address, key and structured output are right, before a file is handed in
                self._keep(await self._endpoint.ask(first))
                self._tried = True
            await self._hand_in_all(requests)
            await self._collect()

    def _missing(self, drafts: Iterable[Draft[Any]]) -> Iterator[Request]:
        for draft in drafts:
            if draft.request:
                yield draft.request
            else:
                self.status.done += 1

    async def _hand_in_all(self, requests: Iterator[Request]) -> None:
        while True:
            chunk = list(islice(self._affordable(requests), _MOST))
            if not chunk:
                return
            require_hope(self.status.editor)
            file = await self._upload(chunk)
            self._store.hand_in(chunk, file, self._endpoint.shown)
            await self._create(file)

    def _affordable(self, requests: Iterator[Request]) -> Iterator[Request]:
        """The requests, up to the one that the budget has no room for."""
        for request in requests:
            most = self._purse.cost(*self._endpoint.tokens(request)) if self._purse.budget is not None else 0.0
            if self._purse.reserve(most):
                yield request
            elif self._purse.under_way:
                return
            else:
                raise self._purse.refusal(most)

    async def _upload(self, requests: Iterable[Request]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "requests.jsonl"
            with path.open("w", encoding="utf-8") as lines:
                for request in requests:
                    body = self._endpoint.body(request)
                    line = {"custom_id": request.key, "method": "POST", "url": _CHAT, "body": body}
                    lines.write(json.dumps(line) + "\n")
            files = self._endpoint.client.files
            made = await self._patiently(lambda: files.create(file=path, purpose="batch"))
        return made.id

    async def _create(self, file: str) -> str:
        batches = self._endpoint.client.batches
        made = await self._patiently(
            lambda: batches.create(completion_window="24h", endpoint=_CHAT, input_file_id=file)
        )
        self._store.name_batch(file, made.id)
        return made.id

    async def _collect(self) -> None:
        """Waits for all batches of this endpoint, and keeps their answers."""
        for file, batch in self._store.batches(self._endpoint.shown):
            # A kill may have come between the making of a batch and the note of it.
            name = batch or await self._find(file) or await self._create(file)
            await self._collect_batch(file, name)
        self._purse.release()

    async def _find(self, file: str) -> str | None:
        async for batch in self._endpoint.client.batches.list():
            if batch.input_file_id == file:
                self._store.name_batch(file, batch.id)
                return batch.id
        return None

    async def _collect_batch(self, file: str, name: str) -> None:
        batches = self._endpoint.client.batches
        while True:
            batch = await self._patiently(lambda: batches.retrieve(name))
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
            async for line in self._lines(part):
                problem = self._take(line, handed_in) or problem
        self._store.take_back(file)
        self.status.note = ""
        if self.status.answered == before:
            said = [error.message for error in (batch.errors.data or [])] if batch.errors else []
            raise WriterError(
                f"{self._endpoint.shown}: batch {name} of {len(handed_in)} requests ended as {batch.status} without an answer: "
                f"{self._endpoint.scrub(str((said or [problem])[0]))}; call again to hand in another, or leave out --batch"
            )

    async def _lines(self, file: str) -> AsyncIterator[dict[str, Any]]:
        content = await self._patiently(lambda: self._endpoint.client.files.content(file))
        for line in content.text.split("\n"):  # not splitlines: answers may hold other separators
            if line.strip():
                yield json.loads(line)

    def _take(self, line: dict[str, Any], handed_in: dict[str, tuple[str, str]]) -> str:
        """Keeps the answer of one line; returns what is wrong if it has none."""
        key = line.get("custom_id")
        reply = line.get("response") or {}
        if key not in handed_in:
            return ""
        if reply.get("status_code") != 200 or not isinstance(reply.get("body"), dict):
            return str(line.get("error") or reply.get("body") or "no answer")[:200]
        template, unit = handed_in[key]
        answer = self._endpoint.answer(
            Request({"model": self._model, "messages": [], "max_tokens": 0}, template, unit), reply["body"]
        )
        self._keep(answer.of(key))
        return ""

    def _keep(self, answer: Answer) -> None:
        kept = self._store.keep(answer)
        self._purse.spend(kept)
        self.status.count(kept)
        self._watch(self.status)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        for tried in range(1, _TRIES + 1):
            try:
                return await call()
            except openai.APIStatusError as error:
                if error.status_code < 500 and error.status_code != 429:
                    what = (
                        "expected an endpoint with the Batch API (leave out --batch)"
                        if error.status_code in (404, 405)
                        else "--batch"
                    )
                    raise WriterError(
                        f"{self._endpoint.shown}: {what}: {self._endpoint.scrub(str(error))[:300]}"
                    ) from None
                problem: Exception = error
            except (openai.APIError, httpx2.HTTPError, OSError) as error:
                problem = error
            await asyncio.sleep(min(self._seconds, 2.0**tried))
        raise WriterError(
            f"{self._endpoint.shown}: --batch: {self._endpoint.scrub(str(problem))[:300]}; call again to go on"
        )
