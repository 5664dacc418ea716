"""Command lines as a user calls them, but in this process: starting one takes longer than most of what it is asked."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from cyclopts import App

from builders import commands
from synthctx_data.command import run


@dataclass(frozen=True)
class Ran:
    """What a command ended with, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def call(app: App, *arguments: object, cwd: Path, **environment: str) -> Ran:
    """Runs a command line in a directory, 100 columns wide."""
    out, err = io.StringIO(), io.StringIO()
    with (
        _place(cwd, {"COLUMNS": "100", **environment}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            run(app, [str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
    return Ran(code if isinstance(code, int) else 1, out.getvalue(), err.getvalue())


def synthctx(*arguments: object, cwd: Path, **environment: str) -> Ran:
    """Runs the `synthctx` command in a directory."""
    return call(commands.app, *arguments, cwd=cwd, **environment)


def script(name: str) -> App:
    """The command line of a script such as "analysis/detect.py"."""
    module = name.removesuffix(".py").replace("/", ".")
    __import__(module)
    return sys.modules[module].app


@contextlib.contextmanager
def _place(cwd: Path, environment: dict[str, str]) -> Iterator[None]:
    with contextlib.chdir(cwd), patch.dict(os.environ, environment):
        yield
