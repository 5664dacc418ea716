"""What the terminal shows of writing: what it will cost, how far it is, and why answers were rejected."""

from rich import box
from rich.table import Table

from builders.writing import Estimate
from synthctx_data.prices import Purse
from synthctx_data.writer import Status
from synthctx_data.writing import MOST_ATTEMPTS, MOST_DRAWS, Editor


def cost(estimate: Estimate, purse: Purse, model: str) -> Table:
    """What is missing and what it costs, by kind of request."""
    table = Table(
        title=f"what {model} has still to be asked" if estimate.requests else "nothing is missing", box=box.SIMPLE_HEAD
    )
    for column in ("", "requests", "tokens sent", "tokens written", "USD"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name in sorted(estimate.requests):
        table.add_row(name, *_numbers(estimate.requests[name], estimate.prompt[name], estimate.expected[name], purse))
    sent, written, most = estimate.prompt.total(), estimate.expected.total(), estimate.most.total()
    table.add_section()
    table.add_row("all", *_numbers(estimate.requests.total(), sent, written, purse))
    table.caption = _prices(purse, model, sent, most) if estimate.requests else ""
    table.caption_justify = "left"
    return table


def _prices(purse: Purse, model: str, sent: int, most: int) -> str:
    again = (
        f"An answer that is rejected is asked for again, up to {MOST_ATTEMPTS} times for each of {MOST_DRAWS} draws."
    )
    if purse.price is None:
        return f"No price of {model} is known: give --prices FILE with a line like {model}: {{input: 0.5, output: 1.5}}. {again}"
    batch = f", of which a batch costs {purse.price.batch:g}" if purse.batch else ""
    longest = (
        f"If every answer is as long as it may be, {most:,} tokens are written, for {purse.cost(sent, most):.2f} USD."
    )
    return f"At {purse.price.input} USD for a million tokens sent and {purse.price.output} for a million written{batch}. {longest} {again}"


def _numbers(requests: int, sent: int, written: int, purse: Purse) -> list[str]:
    return [f"{requests:,}", f"{sent:,}", f"{written:,}", f"{purse.cost(sent, written):.2f}" if purse.price else "?"]


def writing(status: Status) -> str:
    """How far a writer is."""
    editor = status.editor
    said = [f"{status.answered:,} answers came now" if status.answered else "nothing asked"]
    said.append(f"in all {editor.accepted.total():,} used, {editor.rejected.total():,} rejected")
    if status.answered:
        said.append(f"{status.prompt_tokens:,} + {status.completion_tokens:,} tokens")
    if status.purse.price:
        said.append(f"{status.purse.spent:.4f} USD")
    if status.note:
        said.append(status.note)
    return ", ".join(said)


def rejections(editor: Editor) -> Table:
    """Why answers were rejected, and how many."""
    table = Table("rejected because", "answers", box=box.SIMPLE_HEAD)
    for kind, count in editor.rejected.most_common():
        table.add_row(kind, f"{count:,}")
    return table
