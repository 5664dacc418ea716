"""Command lines: options from flags and YAML files, errors in one line, tables, and progress."""

import io
import json
import os
import re
import shlex
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter
from cyclopts.config import Yaml
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from synthctx_data.errors import SynthctxError, UsageError
from synthctx_data.files import expanded, read_yaml
from synthctx_data.log import LOG, start_log
from synthctx_data.option_model import OptionModel, panel
from synthctx_data.shown import SafeConsole, hidden, require_environment, visible

T = TypeVar("T")

out = SafeConsole(highlight=False, markup=False, emoji=False)
err = SafeConsole(stderr=True, highlight=False, markup=False, emoji=False)
PROGRESS_COLUMNS = (
    TextColumn("{task.description}", markup=False),
    BarColumn(),
    MofNCompleteColumn(),
    TimeRemainingColumn(),
)
SILENCE = 60  # seconds between lines of progress where there is no terminal
_LONGEST = 1500  # characters of a message: some repeat what was given
_WEB = re.compile(r"https?://.*", re.DOTALL)
_called: list[str] = []  # the command line that runs
_ended_by: list[int] = []  # signals other than that of Ctrl-C

AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON, in place of a table.")]
OptionsFile = Annotated[
    Path | None,
    Parameter(help="A YAML file of these options. A flag counts before it."),
    panel("Options from a file", 9),
]


def command_line(name: str, help: str, epilogue: str = "", version: str | None = None) -> App:
    """A command line that has no commands yet. `help` and `epilogue` are shown as they are, line by line."""
    return App(
        name,
        help=help,
        help_epilogue=epilogue,
        help_format="plaintext",
        version=version,
        version_flags=["--version"] if version else [],
        default_parameter=Parameter(negative_iterable=(), negative_none=()),
        config=[_options_file],
        suppress_keyboard_interrupt=False,  # `run` says what is kept
    )


def script(name: str, options: type[OptionModel], call: Callable[[Any, str], object], help: str, epilogue: str) -> App:
    """The command line of a script that has one model of options.

    `call` gets the options, and the name of the `--config` file without folder and ending ("" if there is no such file).
    """
    app = command_line(name, help, epilogue)
    app.usage = f"Usage: python {sys.argv[0]} [OPTIONS]"

    def main(*, options: Any, config: Path | None = None) -> None:
        if err.is_terminal:
            err.print(f"{name}: loading PyTorch and transformers")  # which takes seconds
        call(options, config.stem if config else "")

    app["--help"].show = False  # it would have a panel of its own, above all others
    main.__annotations__ = {"options": Annotated[options, Parameter(name="*")], "config": OptionsFile}
    if not any(field.is_required() for field in options.model_fields.values()):
        main.__kwdefaults__ = {"options": options(), "config": None}
    app.default(main)
    return app


def run(app: App, arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command line and exits. An error is one line on standard error, and exit code 2 (usage) or 1."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # workers are processes
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # its retries are many lines, and the error at their end is ours
    os.environ["MPLBACKEND"] = "agg"  # pictures are files
    warnings.simplefilter("ignore", FutureWarning)  # libraries send these to each other, not to the user
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character shows another
    given = list(sys.argv[1:] if arguments is None else arguments)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        require_environment()
        start_log()
        _called[:] = [*_program(app.name[0]), *given]
        LOG.info("%s", called())
        code = app(given, exit_on_error=False, print_error=False, result_action="return_value")
    except BaseException as error:
        if isinstance(error, SystemExit) or os.environ.get("SYNTHCTX_TRACEBACK"):
            raise
        message, code = _in_one_line(error, given)
        said = visible(hidden(" ".join(message.split())))
        print(f"{app.name[0]}: {said if len(said) <= _LONGEST else said[:_LONGEST] + ' ...'}", file=sys.stderr)
    sys.exit(code or 0)


def called() -> str:
    """The command line that runs, as a shell reads it, without secrets; empty if a program calls functions."""
    return shlex.join(_without_secrets(word, before) for before, word in zip(["", *_called], _called, strict=False))


def _without_secrets(word: str, before: str) -> str:
    """A word of a command line without keys, passwords and queries of addresses, however they are written."""
    flag, mark, address = word.partition("=")
    if (flag, mark) == ("--endpoint", "="):
        return f"{flag}={_host(address)}"
    if before == "--endpoint":
        return _host(word)
    return hidden(_WEB.sub(lambda found: _host(found[0]), word))


def _host(address: str) -> str:
    """An address without what stands before its last @, and behind a question mark."""
    scheme, mark, rest = address.partition("://")
    rest = (rest if mark else address).rpartition("@")[2].partition("?")[0]
    return hidden(f"{scheme}://{rest}" if mark else rest)


def _program(name: str) -> list[str]:
    """The words that start the command line of this name: `synthctx`, or `python analysis/detect.py`."""
    return ["python", sys.argv[0]] if sys.argv[0].endswith(f"{name}.py") else [name]


def _terminate(*_: object) -> NoReturn:
    """Ends the process as Ctrl-C does, but for its exit code. Schedulers ask like this."""
    _ended_by.append(signal.SIGTERM)
    raise KeyboardInterrupt


def _in_one_line(error: BaseException, given: Sequence[str]) -> tuple[str, int]:
    """The message about an error for the user, and the exit code."""
    name = type(error).__name__
    match error:
        case SynthctxError():
            return str(error), error.exit_code
        case CycloptsError():
            return _of_the_call(error, given), 2
        case ModuleNotFoundError():
            return f"expected {error.name}, which is not installed; pip install -c constraints.txt -e '.[analysis]'", 1
        case KeyboardInterrupt():
            code = 128 + (_ended_by or [signal.SIGINT])[-1]
            return str(error) or "interrupted; the same command goes on from what is done", code
        case OSError() | MemoryError():
            return _of_the_system(error), 1
    return (
        f"this is a fault of synthctx or of a file that it read: {name}: {str(error)[:500]}; please report it with what "
        "SYNTHCTX_TRACEBACK=1 prints",
        1,
    )


def _of_the_call(error: CycloptsError, given: Sequence[str]) -> str:
    if isinstance(error, MissingArgumentError) and error.argument and not given:
        return f"{error.argument.name} is missing (try --help)"
    return f"{str(error).rstrip('.')}; got: {shlex.join(given)} (try --help)"


def _of_the_system(error: OSError | MemoryError) -> str:
    name = type(error).__name__
    if isinstance(error, MemoryError) or not isinstance(error.filename, str | bytes):
        return f"{name}: {error}"
    return f"{name}: {error.strerror}: {os.fsdecode(error.filename)!r}; mend that place, or name another"


def _options_file(app: App, commands: tuple[str, ...], arguments: Any) -> None:
    """Sets the options that no flag has set to the values in the `--config` file."""
    for argument in arguments:
        if "--config" in argument.names and argument.tokens:
            file = expanded(argument.tokens[0].value)
            for name, value in read_yaml(file, "--config: expected options by name").items():
                if isinstance(value, dict):
                    raise UsageError(f"--config: expected options by name, got {name!r} with names below it in {file}")
            Yaml(file, must_exist=True, use_commands_as_keys=False)(app, commands, arguments)
            return


def processes(workers: int | None) -> int:
    """The number of processes to work with: one for each core that may be used, unless another number is asked for."""
    if workers:
        return workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A context that shows progress. It gives a function, to be called with the number of further rows that are done.

    A terminal shows a bar that disappears at the end. Elsewhere a line is printed at most every minute.
    """
    done, said = 0, time.monotonic()
    with Progress(*PROGRESS_COLUMNS, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def advance(rows: int) -> None:
            nonlocal done, said
            done += rows
            bar.advance(task, rows)
            if bar.disable and time.monotonic() - said >= SILENCE:
                said = time.monotonic()
                err.print(f"{what}: {done:,}" + (f" of {total:,}" if total is not None else ""), soft_wrap=True)

        yield advance


def with_progress(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """The items themselves, while a progress bar counts those that were used."""
    with progress_bar(what, total) as advance:
        for item in items:
            yield item
            advance(1)


def print_json(value: object) -> None:
    """Prints a value as JSON in ASCII, in which no character can command a terminal."""
    print(json.dumps(value, indent=2).replace("\x7f", "\\u007f"))


def table(columns: Mapping[str, str], rows: Iterable[Sequence[object]], **options: Any) -> Table:
    """A table for the terminal. `columns` gives the alignment of each column, "left" or "right", by its name."""
    shown = Table(box=box.SIMPLE_HEAD, **options)
    for name, side in columns.items():
        shown.add_column(name, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        shown.add_row(*map(str, row))
    return shown
