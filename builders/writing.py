"""What the `llm` variants need before they can be built: what it will cost, and having it written."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.examples import Examples
from builders.llm import LlmConcept, model_name, stored_answers
from synthctx_data.access import EndpointOptions
from synthctx_data.answers import AnswerStore, Request
from synthctx_data.errors import UsageError
from synthctx_data.prices import Purse, find_price
from synthctx_data.tokens import load_counter
from synthctx_data.writing import Editor, Pass, Unit

if TYPE_CHECKING:  # what sends requests takes as long to import as all else
    from synthctx_data.writer import Status


@dataclass(frozen=True)
class WritingOptions:
    """How documents are asked for; nothing of this decides a row.

    prices: a table of prices; None takes the bundled one.
    budget: US dollars that one call may spend; None is no limit.
    batch: whether to use the Batch API.
    """

    endpoint: EndpointOptions = field(default_factory=EndpointOptions)
    prices: Path | None = None
    budget: float | None = None
    batch: bool = False

    def purse(self, model: str) -> Purse:
        """What one call may spend on the model, with its price if that is known.

        Raises: UsageError if it has to be known and is not.
        """
        price = find_price(model, self.prices)
        if price is None and self.budget is not None:
            raise UsageError(
                f"--budget-usd: expected a price for {model!r}; give --prices FILE with a line like {model}: {{input: 0.5, output: 1.5}} "
                "(US dollars for a million tokens)"
            )
        return Purse(price, self.budget, self.batch)


def expression_of(examples: Examples) -> LlmConcept[Any] | None:
    """The concept expression, if a language model has to write for it."""
    expression = examples.expression
    return expression if isinstance(expression, LlmConcept) and examples.options.model else None


def write(
    examples: Examples, options: WritingOptions, purse: Purse, watch: Callable[["Status"], None]
) -> tuple[Pass, "Status"]:
    """The last pass over all that a variant needs, and how it came to that; every answer is in the store then.

    Raises: WriterError if the endpoint does not answer, the budget is used up, or answers cannot be used; what was answered is kept.
    """
    from synthctx_data.writer import require_written

    expression = expression_of(examples)
    assert expression is not None
    model = model_name(examples.options)
    store = AnswerStore(Path(examples.options.store).expanduser())
    try:
        last, status = asyncio.run(_write(expression, options, model, store, purse, watch))
    finally:
        store.close()
    require_written(last)
    return last, status


async def _write(
    expression: LlmConcept[Any],
    options: WritingOptions,
    model: str,
    store: AnswerStore,
    purse: Purse,
    watch: Callable[["Status"], None],
) -> tuple[Pass, "Status"]:
    from synthctx_data.batch import BatchWriter
    from synthctx_data.endpoint import Endpoint
    from synthctx_data.writer import Writer

    endpoint = Endpoint(options.endpoint)
    writer = (
        BatchWriter(endpoint, store, model, purse, watch)
        if options.batch
        else Writer(endpoint, store, model, options.endpoint.concurrency, purse, watch)
    )
    try:
        return await writer.write(expression.units), writer.status
    finally:
        await endpoint.close()


@dataclass
class Estimate:
    """What is missing, by stage ("mdqa_synth/needle"): requests, and tokens of these and of their answers, expected and at most."""

    requests: Counter[str] = field(default_factory=Counter)
    prompt: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)


def estimate(several: Iterable[Examples]) -> Estimate:
    """What the variants together still miss; a request that follows from an answer counts as long as that and the request before it."""
    found = Estimate()
    counter = load_counter(None)
    seen: set[str] = set()
    for unit, request in chain.from_iterable(map(_missing, several)):
        tokens = request.tokens(counter)
        at = [f"{unit.name}/{stage.block}" for stage in unit.stages].index(request.unit)
        for stage in unit.stages[at:]:
            name, place = f"{unit.name.split('/')[0]}/{stage.block}", f"{unit.name}/{stage.block}"
            if place not in seen:
                seen.add(place)
                found.requests[name] += 1
                found.prompt[name] += tokens
                found.expected[name] += stage.expected
                found.most[name] += stage.most
            tokens += stage.expected
    return found


def _missing(examples: Examples) -> Iterator[tuple[Unit[Any], Request]]:
    """The units that miss an answer, and the request for it."""
    expression = expression_of(examples)
    assert expression is not None
    with stored_answers(examples.options) as answers:
        for draft in Pass(Editor(model_name(examples.options)), answers).drafts(expression.units()):
            if draft.request:
                yield draft.unit, draft.request
