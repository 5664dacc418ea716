"""Writing by a language model: many requests at a time, every answer kept before it is judged, and clean stops at any time."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from builders.writing.endpoint import Endpoint
from builders.writing.prices import Spending
from builders.writing.requests import Draft, Editor, Pass, Unit
from builders.writing.store import Answer, AnswerStore, Request
from synthctx_data.errors import WriterError

Units = Callable[[], Iterable[Unit[Any]]]
_HOPELESS = 30  # answers in a row, none of which can be used, after which the writer stops
_LOST = 3  # units that are given up, after which the writer stops
_STORED = 64  # units that are judged before the writer looks at arrived answers again
_LOOK = 0.2  # seconds between two looks for an answer that another build asks for
_RENEW = 10.0  # seconds between two renewals of claims
_WAIT = 0.05  # seconds between two tries to reserve US dollars in a budget without room


@dataclass
class Status:
    """The progress of a writer: the units of this pass, and those that are done, and the answers that came, with their tokens.

    note: a remark for the user, such as the state of a batch.
    """

    spending: Spending
    units: int = 0
    done: int = 0
    answered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    note: str = ""
    editor: Editor = field(default_factory=lambda: Editor(""))

    def count(self, answer: Answer) -> None:
        """Counts an answer that came."""
        self.answered += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens


class Writer:
    """A writer, which asks for every answer that the units need and the store lacks.

    It makes one pass after the other. In a pass, each unit goes as far as the stored answers reach. Units that miss an answer
    then ask for it, several at a time. Their results are provisional: a passage can be compared with all earlier ones only
    when the units before it are written. So the writer is done when a pass misses nothing.

    watch: is called after every answer, and after every finished unit.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        store: AnswerStore,
        model: str,
        concurrency: int,
        spending: Spending,
        watch: Callable[[Status], None],
    ) -> None:
        self._endpoint, self._store, self._model = endpoint, store, model
        self._concurrency, self._spending, self._watch = concurrency, spending, watch
        self._stop: Exception | None = None
        self._asked: dict[str, asyncio.Lock] = {}  # requests under way, by their keys
        self.status = Status(spending)

    async def write(self, units: Units) -> Pass:
        """The last pass, in which nothing was missing.

        Raises: WriterError if the endpoint gives no answers, if the budget is used up, or if hardly an answer can be used; what was
        answered is kept.
        """
        self.status.units = sum(1 for _ in units())
        claims = asyncio.create_task(self._keep_claims())
        try:
            while True:
                one = Pass(Editor(self._model), self._store)
                self.status.editor, self.status.done = one.editor, 0
                if not await self._pass(one.drafts(units())):
                    return one
        finally:
            claims.cancel()

    async def _pass(self, drafts: Iterator[Draft[Any]]) -> int:
        """The number of units that missed an answer. All of these have been asked for."""
        running: set[asyncio.Task[None]] = set()
        slots = asyncio.Semaphore(self._concurrency)
        missed = 0

        def ended(task: asyncio.Task[None]) -> None:
            running.discard(task)
            slots.release()

        try:
            for number, draft in enumerate(drafts):
                require_hope(self.status.editor)
                if draft.request is None:
                    self._finished()
                    if number % _STORED == 0:
                        await asyncio.sleep(0)
                    continue
                missed += 1
                await slots.acquire()
                if self._stop:
                    break
                task = asyncio.create_task(self._finish(draft))
                running.add(task)
                task.add_done_callback(ended)
                if missed == 1:  # the first goes alone, so that a wrong address or key fails once only
                    await asyncio.wait([task])
        except asyncio.CancelledError:  # Ctrl-C: what is under way has been paid for
            self._end(WriterError("interrupted"))
            raise
        finally:
            while running:
                await asyncio.wait(running)
        if self._stop:
            raise self._stop
        return missed

    async def _finish(self, draft: Draft[Any]) -> None:
        """Asks for all that the unit still needs."""
        try:
            while draft.request and not self._stop:
                answer = await self._answer(draft.request)
                if answer is None:
                    return
                draft.give(answer)
                require_hope(self.status.editor)
            self._finished()
        except Exception as error:
            self._end(error)

    def _end(self, error: Exception) -> None:
        """Stops the writer with this error, unless it stopped with another before."""
        self._stop = self._stop or error
        self._endpoint.stop()

    async def _answer(self, request: Request) -> Answer | None:
        """The stored answer, or the endpoint's; None if the writer stops before asking. Units with the same request share its answer."""
        async with self._asked.setdefault(request.key, asyncio.Lock()):
            answer = await self._shared(request)
        self._asked.pop(request.key, None)
        return answer

    async def _shared(self, request: Request) -> Answer | None:
        """As `_answer`. A request that another build asks at this moment is waited for."""
        while not self._store.claim(request.key):
            if self._stop:
                return None
            await asyncio.sleep(_LOOK)
        try:
            return self._store.get(request.key) or (None if self._stop else await self._paid(request))
        finally:
            self._store.give_up(request.key)

    async def _keep_claims(self) -> None:
        while True:
            await asyncio.sleep(_RENEW)
            self._store.renew()

    async def _paid(self, request: Request) -> Answer | None:
        """The endpoint's answer, which is kept; None if the writer stops before asking."""
        if batch := self._store.batch_of(request.key):
            raise WriterError(
                f"{request.unit} was handed in with {batch}, whose answers are not here yet: add --batch to wait for them, or they are "
                "paid for twice"
            )
        reserved = most_cost(request, self._endpoint, self._spending)
        while not self._spending.reserve(reserved):
            if not self._spending.under_way:
                raise self._spending.refusal(reserved)
            await asyncio.sleep(_WAIT)
            if self._stop:
                return None
        answer = None
        try:
            answer = await self._endpoint.ask(request)
        finally:
            self._spending.settle(reserved, answer)
        self.status.count(answer)
        self._watch(self.status)
        return self._store.keep(answer)

    def _finished(self) -> None:
        self.status.done += 1
        self._watch(self.status)


def most_cost(request: Request, endpoint: Endpoint, spending: Spending) -> float:
    """The most US dollars that a request and its answer may cost; 0 if there is no budget."""
    return spending.cost(*endpoint.tokens(request)) if spending.budget is not None else 0.0


def require_hope(editor: Editor) -> None:
    """Raises: WriterError if none of the last 30 answers can be used, or if three units were given up."""
    if len(editor.given_up) >= _LOST:
        require_written(editor)
    if editor.in_vain >= _HOPELESS:
        raise WriterError(
            f"{editor.in_vain} answers of {editor.model} in a row cannot be used (of all so far: {reasons(editor)}); they are kept, and "
            "nothing more is asked for; ask for fewer examples, or take another --model, or another --store to ask this one anew"
        )


def reasons(editor: Editor) -> str:
    """The faults of rejected answers, the most frequent first: "12 not JSON, 3 cut off"."""
    return ", ".join(f"{count} {kind}" for kind, count in editor.rejected.most_common())


def require_written(editor: Editor) -> None:
    """Raises: WriterError if a unit was given up."""
    if editor.given_up:
        some = "; ".join(f"{unit}: {fault}" for unit, fault in islice(editor.given_up.items(), _LOST))
        rejected = f" Of all answers, {reasons(editor)}." if editor.rejected else ""
        raise WriterError(
            f"these examples could not be written, after many tries: {some}.{rejected} All answers are kept. Ask for fewer examples, or "
            "take another --model or --seed, or another --store to ask anew"
        )
