"""Has a language model write: many requests at a time, every answer kept before it is looked at, and stopped cleanly at any moment."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from builders.writing.endpoint import Endpoint
from builders.writing.prices import Spending
from builders.writing.requests import Draft, Editor, Pass, Unit
from builders.writing.store import Answer, AnswerStore, Request
from synthctx_data.errors import WriterError

Units = Callable[[], Iterable[Unit[Any]]]
_HOPELESS = 30  # answers in a row of which not one can be used
_STORED = 64  # units that are judged between two looks at what has arrived
_WAIT = 0.05  # seconds between looks at spent money that is all reserved


@dataclass
class Status:
    """How far a writer is, for whoever watches: units of this pass that are done, answers that came, their tokens, and their cost.

    note: what else is going on.
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
    """Asks for every answer that the units need and the store lacks.

    In one pass after the other, each unit goes as far as there are answers, and those that miss one go on by asking for it, several at
    a time. What an asking is written meanwhile is provisional: whether passages repeat each other is known for certain only once all
    units before have theirs. So the writer is done when a pass finds everything there.

    watch: written of every answer.
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
        self.status = Status(spending)

    async def write(self, units: Units) -> Pass:
        """The last pass, in which nothing was missing.

        Raises: WriterError if the endpoint gives no answers, if the budget is used up, or if hardly an answer can be used; what was
        answered is kept.
        """
        self.status.units = sum(1 for _ in units())
        while True:
            one = Pass(Editor(self._model), self._store)
            self.status.editor, self.status.done = one.editor, 0
            if not await self._pass(one.drafts(units())):
                return one

    async def _pass(self, drafts: Iterator[Draft[Any]]) -> int:
        """How many units missed something; they have all been asked for."""
        running: set[asyncio.Task[None]] = set()
        slots = asyncio.Semaphore(self._concurrency)
        missed = 0

        def ended(task: asyncio.Task[None]) -> None:
            running.discard(task)
            slots.release()

        try:
            for number, draft in enumerate(drafts):
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
                if missed == 1:  # it goes alone: a wrong address or key is found out once
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
                answer = self._store.get(draft.request.key) or await self._paid(draft.request)
                if answer is None:
                    return
                draft.give(answer)
                require_hope(self.status.editor)
            self._finished()
        except Exception as error:
            self._end(error)

    def _end(self, error: Exception) -> None:
        """Sends nothing more."""
        self._stop = self._stop or error
        self._endpoint.stop()

    async def _paid(self, request: Request) -> Answer | None:
        """The endpoint's answer, which is kept; None if the writer stops before."""
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
    """US dollars that an answer may cost; 0 where no budget asks for it."""
    return spending.cost(*endpoint.tokens(request)) if spending.budget is not None else 0.0


def require_hope(editor: Editor) -> None:
    """Raises: WriterError if of many answers in a row none can be used."""
    if editor.in_vain >= _HOPELESS:
        raise WriterError(
            f"{editor.in_vain} answers of {editor.model} in a row cannot be used ({reasons(editor)}); they are kept, and nothing more is "
            "asked for; take another --model, or another --store to ask this one anew"
        )


def reasons(editor: Editor) -> str:
    """Why answers were rejected, the most frequent reason first: "12 not JSON, 3 cut off"."""
    return ", ".join(f"{count} {kind}" for kind, count in editor.rejected.most_common())


def require_written(last: Pass) -> None:
    """Raises: WriterError if a unit was given up."""
    if last.given_up:
        some = ", ".join(last.given_up[:3]) + (" and others" if len(last.given_up) > 3 else "")
        raise WriterError(
            f"{len(last.given_up)} could not be written, {some}; of all answers, {reasons(last.editor)}. They are kept; take another "
            "--model or --seed, or another --store to ask anew"
        )
