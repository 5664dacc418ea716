"""The writing by a language model that some variants need before they are built: an estimate of its cost, and the writing itself."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from builders.examples import Examples
from builders.writing.options import WritingOptions
from builders.writing.prices import Spending
from builders.writing.requests import Editor, Pass, Unit
from builders.writing.store import AnswerStore, Request
from builders.writing.written import WrittenExpression, asked_model, stored_answers
from synthctx_data.files import expanded
from synthctx_data.tokens import load_counter

if TYPE_CHECKING:  # the code that sends requests takes as long to import as all else
    from builders.writing.writer import Status


def expression_of(examples: Examples) -> WrittenExpression | None:
    """The concept expression, if a language model has to write for it."""
    if examples.options.model is None:
        return None
    expression = examples.expression
    return expression if isinstance(expression, WrittenExpression) else None


def write_missing(
    examples: Examples, options: WritingOptions, spending: Spending, watch: Callable[["Status"], None]
) -> tuple[Pass, "Status"]:
    """The last pass over all units of a variant, and the status of the writer. Every answer is in the store then.

    Raises: WriterError if the endpoint does not answer, if the budget is used up, or if answers cannot be used. All answers
    that came are kept.
    """
    from builders.writing.writer import require_written

    expression = expression_of(examples)
    assert expression is not None
    model = asked_model(examples.options)
    _ = options.public_address, options.key  # both are judged before a store is made
    store = AnswerStore(expanded(examples.options.answer_store))
    try:
        last, status = asyncio.run(_write(expression, options, model, store, spending, watch))
    finally:
        store.close()
    require_written(last.editor)
    return last, status


async def _write(
    expression: WrittenExpression,
    options: WritingOptions,
    model: str,
    store: AnswerStore,
    spending: Spending,
    watch: Callable[["Status"], None],
) -> tuple[Pass, "Status"]:
    from builders.writing.batch import BatchWriter
    from builders.writing.endpoint import Endpoint
    from builders.writing.writer import Writer

    endpoint = Endpoint(options)
    writer = (
        BatchWriter(endpoint, store, model, spending, watch)
        if options.batch
        else Writer(endpoint, store, model, options.concurrency, spending, watch)
    )
    try:
        return await writer.write(expression.units), writer.status
    finally:
        await endpoint.close()


@dataclass
class Estimate:
    """The requests that are missing, by stage ("mdqa_synth/needle"): their number, and their tokens (`prompt`).

    expected, most: the expected and the most tokens of their answers.
    """

    requests: Counter[str] = field(default_factory=Counter)
    prompt: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)


def estimate_writing(several: Iterable[Examples]) -> Estimate:
    """The requests that the variants together still miss.

    A request that follows from an answer is taken to have the tokens of that answer and of the request before it.
    """
    found = Estimate()
    counter = load_counter(None)
    seen: set[tuple[str, str, int]] = set()
    for unit, request in chain.from_iterable(map(_missing, several)):
        tokens = request.tokens(counter)
        at = [f"{unit.name}/{stage.block}" for stage in unit.stages].index(request.unit)
        for position, stage in enumerate(unit.stages[at:], at):
            name, place = f"{unit.name.split('/')[0]}/{stage.block}", (unit.name, stage.block, position)
            if place not in seen:
                seen.add(place)
                found.requests[name] += 1
                found.prompt[name] += tokens if position == at else stage.sent or tokens
                found.expected[name] += stage.expected
                found.most[name] += stage.most
            tokens += stage.expected
    return found


def _missing(examples: Examples) -> Iterator[tuple[Unit[Any], Request]]:
    """The units that miss an answer, each with the request for it."""
    expression = expression_of(examples)
    assert expression is not None
    with stored_answers(examples.options) as answers:
        for draft in Pass(Editor(asked_model(examples.options)), answers).drafts(expression.units()):
            if draft.request:
                yield draft.unit, draft.request
