"""synthctx answers: lists the answers in a store, exports them as JSON lines, and imports these."""

from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from builders.writing.store import Answer, AnswerStore, export, exported
from synthctx_data.command import AsJson, command_line, out, print_json, table
from synthctx_data.errors import DatasetError, UsageError
from synthctx_data.files import expanded
from synthctx_data.places import at, reached

_Store = Annotated[Path, Parameter(help="A store of answers, e.g. synthctx/answers.sqlite.")]
_File = Annotated[Path, Parameter(help="A file of answers as JSON lines.")]
_Target = Annotated[
    str, Parameter(help="A file for answers as JSON lines, here or in a store such as s3://bucket/answers.jsonl.")
]

app = command_line("answers", "")  # its help stands in builders/commands/__init__.py


@app.command(name="list")
def list_answers(
    store: _Store,
    /,
    *,
    unit: Annotated[
        str | None, Parameter(help="Show the answers for this example, e.g. mdqa_synth/train/000007.")
    ] = None,
    json: AsJson = False,
) -> None:
    """List the answers of a store by task, kind of request and model; with --unit, show the answers themselves.

    For example:
      synthctx answers list synthctx/answers.sqlite
      synthctx answers list synthctx/answers.sqlite --unit mdqa_synth/train/000007
    """
    with closing(_open(store)) as answers:
        if unit is None:
            groups = _groups(answers)
            if json:
                print_json(groups)
            else:
                out.print(_table(groups))
            return
        wanted = [answer for answer in answers if answer.unit.startswith(unit)]
    if not wanted:
        raise UsageError(
            f"--unit: no answer in {store} has a unit that begins with {unit!r}; units look like mdqa_synth/train/000007"
        )
    if json:
        print_json([asdict(answer) for answer in wanted])
        return
    for answer in wanted:
        said = f"{answer.unit}, by {answer.model} ({answer.finish_reason}, {answer.completion_tokens} tokens)"
        out.print(f"{said}\n{answer.text}\n", soft_wrap=True)


@app.command(name="export")
def export_answers(store: _Store, file: _Target, /) -> None:
    """Write all answers as JSON lines: enough to build the same rows anywhere, without a network.

    For example:
      synthctx answers export synthctx/answers.sqlite answers.jsonl
    """
    target = at(file)
    if isinstance(target, Path) and target.resolve() == expanded(store).resolve():
        raise UsageError(f"expected another file than the store to write to, got {file} for both")
    with reached(target), closing(_open(store)) as answers:
        count = export(answers, target)
    out.print(f"{file}: {count} answers", soft_wrap=True)


@app.command(name="import")
def import_answers(store: _Store, file: _File, /) -> None:
    """Add exported answers to a store. A store that does not exist is made; an answer that is there already stays.

    For example:
      synthctx answers import elsewhere.sqlite answers.jsonl
    """
    found = exported(expanded(file))
    first = next(found, None)  # before a store is made
    if first is None:
        raise DatasetError(f"{file}: expected answers that `synthctx answers export` wrote, and it holds none")
    answers = AnswerStore(expanded(store))
    count = answers.keep_all(chain([first], found))
    out.print(f"{store}: {count} new answers, {len(answers)} in all", soft_wrap=True)
    asked = sorted({answer.asked for answer in answers})
    out.print(f"Build with --store {store} and the --model that was asked: {', '.join(asked)}", soft_wrap=True)


def _open(store: Path) -> AnswerStore:
    if not expanded(store).exists():
        raise DatasetError(
            f"expected a store of answers, and there is no {store}; synthctx build --model makes one, and so does import"
        )
    return AnswerStore(expanded(store), read=True)


def _groups(answers: AnswerStore) -> list[dict[str, Any]]:
    """The answers by task, kind of request, model and end: their number, and their tokens."""
    groups: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for answer in answers:
        groups[_kind(answer), answer.asked, answer.model, answer.finish_reason].update(
            {"answers": 1, "prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
        )
    named = ("kind", "asked", "model", "finish_reason")
    return [{**dict(zip(named, names, strict=True)), **counts} for names, counts in sorted(groups.items())]


def _table(groups: list[dict[str, Any]]) -> Table:
    columns = dict.fromkeys(("for", "--model", "answered by", "ended by"), "left")
    columns |= dict.fromkeys(("answers", "tokens in", "tokens out"), "right")
    rows = [[f"{value:,}" if isinstance(value, int) else value for value in group.values()] for group in groups]
    return table(columns, rows)


def _kind(answer: Answer) -> str:
    """The task and the kind of request: "mdqa_synth/needle"."""
    parts = answer.unit.split("/")
    return "/".join(dict.fromkeys([parts[0], parts[-1]]))
