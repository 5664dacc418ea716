"""Command lines as a user calls them, but in this process: starting one takes longer than most of what it is asked."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from cyclopts import App

from builders import commands
from synthctx_data.command import run

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ran:
    """What a command ended with, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def call(app: App, *arguments: object, cwd: Path, **environment: str) -> Ran:
    """Runs a command line in a directory."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        patch.dict(os.environ, environment),
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


def process(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments as a process: one for each command is enough, others are called here."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@contextlib.contextmanager
def started(*command: object, cwd: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Python with these arguments as a process that runs while the test goes on; it ends with the context at the latest.

    It heeds Ctrl-C even where the tests are a background job of a shell, which does not.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        running = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=cwd,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with running:
        try:
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def wait_until(holds: Callable[[], object], running: subprocess.Popen[str]) -> None:
    """Waits for a state, as long as it takes the process to bring it about."""
    while not holds():
        if running.poll() is not None and not holds():
            raise AssertionError(f"it ended with {running.returncode} before that: {running.communicate()}")
        time.sleep(0.01)
