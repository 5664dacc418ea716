"""A language model's writing in the terminal: its cost, its progress, and the reasons for rejected answers."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import Progress
from rich.table import Table

from builders.writing.prices import Spending
from builders.writing.requests import MOST_ATTEMPTS, Editor
from builders.writing.run import Estimate
from synthctx_data.command import PROGRESS_COLUMNS, SILENCE, err, table

if TYPE_CHECKING:  # the code that sends requests takes as long to import as all else
    from builders.writing.writer import Status


def cost(estimate: Estimate, spending: Spending, model: str) -> Table:
    """A table of the requests that are still missing and of what they cost, by kind of request."""
    sent, written, most = estimate.prompt.total(), estimate.expected.total(), estimate.most.total()
    rows = [
        [name, *_numbers(estimate.requests[name], estimate.prompt[name], estimate.expected[name], spending)]
        for name in sorted(estimate.requests)
    ]
    shown = table(
        {"": "left", "requests": "right", "tokens sent": "right", "tokens written": "right", "USD": "right"},
        rows,
        title=f"what {model} has still to be asked" if estimate.requests else "nothing is missing",
        caption=_prices(spending, model, sent, most) if estimate.requests else "",
        caption_justify="left",
    )
    shown.add_section()
    shown.add_row("all", *_numbers(estimate.requests.total(), sent, written, spending))
    return shown


def cost_as_json(estimate: Estimate, spending: Spending) -> list[dict[str, Any]]:
    """The requests that are still missing, by kind, with their tokens and their US dollars (null if the price is not known)."""
    return [
        {
            "kind": name,
            "requests": estimate.requests[name],
            "prompt_tokens": estimate.prompt[name],
            "completion_tokens": estimate.expected[name],
            "usd": spending.cost(estimate.prompt[name], estimate.expected[name]) if spending.price else None,
        }
        for name in sorted(estimate.requests)
    ]


def _prices(spending: Spending, model: str, sent: int, most: int) -> str:
    again = f"An answer that is rejected is asked for again, up to {MOST_ATTEMPTS} times; then another subject or passage is tried."
    if spending.price is None:
        return f"No price of {model} is known: give --prices FILE with a line like {model}: {{input: 0.5, output: 1.5}}. {again}"
    batch = f", of which a batch costs {spending.price.batch:g}" if spending.batch else ""
    longest = f"If every answer is as long as it may be, {most:,} tokens are written, for {spending.cost(sent, most):.2f} USD."
    price = f"At {spending.price.input} USD for a million tokens sent and {spending.price.output} for a million written"
    return f"{price}{batch}. {longest} {again}"


def _numbers(requests: int, sent: int, written: int, spending: Spending) -> list[str]:
    usd = f"{spending.cost(sent, written):.2f}" if spending.price else "?"
    return [f"{requests:,}", f"{sent:,}", f"{written:,}", usd]


def progress_line(status: "Status") -> str:
    """A line about the progress of a writer."""
    editor = status.editor
    said = [f"{status.answered:,} answers came now" if status.answered != 1 else "1 answer came now"]
    said.append(f"{editor.accepted.total():,} of all can be used, {editor.rejected.total():,} cannot")
    if status.answered:
        said.append(f"{status.prompt_tokens:,} tokens sent, {status.completion_tokens:,} written")
    if status.spending.price:
        said.append(f"{status.spending.spent:.4f} USD")
    if status.note:
        said.append(status.note)
    return ", ".join(said)


@contextmanager
def watching(what: str) -> Iterator[Callable[["Status"], None]]:
    """A context that gives a function to show a writer's status: on a terminal as a bar, elsewhere as a line now and then."""
    with Progress(*PROGRESS_COLUMNS, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what)
        said = time.monotonic() - SILENCE

        def watch(status: "Status") -> None:
            nonlocal said
            bar.update(task, total=status.units, completed=status.done, description=f"{what}: {progress_line(status)}")
            if bar.disable and (status.answered or status.note) and time.monotonic() - said >= SILENCE:
                said = time.monotonic()
                err.print(f"{what}: {status.done:,} of {status.units:,} done, {progress_line(status)}", soft_wrap=True)

        yield watch


def rejections(editor: Editor) -> Table:
    """A table of the reasons why answers were rejected, with the number of answers."""
    rows = [(kind, f"{count:,}") for kind, count in editor.rejected.most_common()]
    return table({"rejected because": "left", "answers": "right"}, rows)
