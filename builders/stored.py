"""`synthctx answers`: what a store of answers holds, and its way out and in as JSON lines."""

from collections import Counter, defaultdict

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from builders import flags
from synthctx_data.answers import Answer, AnswerStore, export, exported
from synthctx_data.errors import DatasetError, UsageError

app = typer.Typer(
    help="What language models answered: list, export and import it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False, markup=False)


@app.command("list")
def list_(store: flags.StoreFile, unit: flags.Unit = None) -> None:
    """List what a store holds: answers and tokens by task, kind of request, and model; or, with --unit, the answers themselves."""
    answers = _open(store)
    if unit is None:
        out.print(_table(answers))
        return
    wanted = [answer for answer in answers if answer.unit.startswith(unit)]
    if not wanted:
        raise UsageError(
            f"--unit: nothing in {store} is for what begins with {unit!r}; units look like mdqa_synth/train/000007"
        )
    for answer in wanted:
        said = f"{answer.unit}, by {answer.model} ({answer.finish_reason}, {answer.completion_tokens} tokens)"
        out.print(f"{said}\n{answer.text}\n", soft_wrap=True)


@app.command("export")
def export_(store: flags.StoreFile, file: flags.ExportFile) -> None:
    """Write all answers as JSON lines: enough to build the same rows anywhere, without a network."""
    if file.expanduser().resolve() == store.expanduser().resolve():
        raise UsageError(f"expected another file than the store to write to, got {file} for both")
    count = export(_open(store), file.expanduser())
    out.print(f"{file}: {count} answers", soft_wrap=True)


@app.command("import")
def import_(store: flags.StoreFile, file: flags.ExportFile) -> None:
    """Add exported answers to a store, which is made if there is none; where it has an answer already, that one stays."""
    answers = AnswerStore(store.expanduser())
    count = answers.keep_all(exported(file.expanduser()))
    out.print(f"{store}: {count} new answers, {len(answers)} in all", soft_wrap=True)
    asked = sorted({answer.asked for answer in answers})
    out.print(f"Build with --store {store} and the --model that was asked: {', '.join(asked)}", soft_wrap=True)


def _open(store: flags.StoreFile) -> AnswerStore:
    if not store.expanduser().exists():
        raise DatasetError(
            f"expected a store of answers, and there is no {store}; synthctx build --model makes one, and so does import"
        )
    return AnswerStore(store.expanduser())


def _table(answers: AnswerStore) -> Table:
    groups: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for answer in answers:
        groups[_kind(answer), answer.asked, answer.model, answer.finish_reason].update(
            {"answers": 1, "in": answer.prompt_tokens, "out": answer.completion_tokens}
        )
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("for", "--model", "answered by", "ended by", "answers", "tokens in", "tokens out"):
        table.add_column(column, justify="right" if column.startswith(("answers", "tokens")) else "left", no_wrap=True)
    for names, counts in sorted(groups.items()):
        table.add_row(*names, *(f"{counts[name]:,}" for name in ("answers", "in", "out")))
    return table


def _kind(answer: Answer) -> str:
    """The task and the kind of request: "mdqa_synth/needle"."""
    parts = answer.unit.split("/")
    return "/".join(dict.fromkeys([parts[0], parts[-1]]))
