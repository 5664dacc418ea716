"""What all command lines share: options from flags and files, errors in one line, progress; calls made again; whole files."""

import asyncio
import contextlib
import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from builders.commands import app as synthctx_app
from synthctx_data.command import progress_bar, script
from synthctx_data.errors import UsageError
from synthctx_data.files import whole, whole_folder
from synthctx_data.option_model import SEVERAL, OptionModel
from synthctx_data.retry import retry, retry_async
from tests.commands import call, process


class Few(OptionModel):
    """A few options of all kinds."""

    rows: Annotated[int, Field(ge=1)]
    """Rows."""
    rate: float = 0.5
    """A rate."""
    tops: Annotated[list[int], SEVERAL] = [1, 2]
    """Several numbers."""
    kind: Literal["this", "that"] = "this"
    """A choice."""
    fast: bool = False
    """A switch."""
    place: Path | None = None
    """A place."""


def given(tmp_path: Path, *words: object) -> tuple[Few, str]:
    """The options that a command line comes to, and the name of its file."""
    seen: list[tuple[Few, str]] = []
    ran = call(script("few", Few, lambda *one: seen.append(one), "Few.", ""), *words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    return seen[0]


def refused(tmp_path: Path, *words: object) -> str:
    """The one line that a command line ends with."""
    ran = call(script("few", Few, lambda *_: None, "Few.", ""), *words, cwd=tmp_path)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr
    return ran.stderr


def test_flags_count_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("rows: 3\nrate: 1e-3\ntops: [7, 8]\nfast: true\nplace: a/b\n")
    options, name = given(tmp_path, "--config", "mine.yaml", "--tops", 5, 6, "--rows", 4)
    assert name == "mine"
    assert options == Few(rows=4, rate=1e-3, tops=[5, 6], fast=True, place=Path("a/b"))
    assert given(tmp_path, "--rows", 1, "--no-fast") == (Few(rows=1), "")


def test_flags_files_and_python_refuse_the_same_in_the_same_words(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("rows: 0\n")
    line = "--rows: expected greater than or equal to 1, got"
    assert line in refused(tmp_path, "--rows", 0)
    assert line in refused(tmp_path, "--config", "bad.yaml")
    with pytest.raises(UsageError, match=line):
        Few(rows=0)


@pytest.mark.parametrize(
    ("words", "content", "message"),
    [
        ((), "", "--rows is missing"),
        (("--rows", "many"), "", "--rows: expected a valid integer, unable to parse string as an integer, got 'many'"),
        (("--rows", 1, "--kind", "other"), "", "--kind: expected 'this' or 'that', got 'other'"),
        (("--rows", 1, "--speed", 9), "", "Unknown option: --speed"),
        (("--rows", 1, "--config", "f.yaml"), "speed: 9", "Unknown option: \"[speed]\" from"),
        (("--rows", 1, "--config", "f.yaml"), "[1]", "--config: expected options by name, got list in f.yaml"),
        (("--rows", 1, "--config", "f.yaml"), "a: [", "--config: expected options by name, and f.yaml cannot be read: while parsing"),
        (("--rows", 1, "--config", "absent.yaml"), "", "--config: expected options by name, and absent.yaml cannot be read: "),
    ],
)  # fmt: skip
def test_bad_options_are_one_clear_line(tmp_path: Path, words: tuple, content: str, message: str) -> None:
    (tmp_path / "f.yaml").write_text(content)
    assert message in refused(tmp_path, *words)


def test_options_never_change_and_know_what_was_chosen() -> None:
    options = Few(rows=2, rate=0.5, fast=True)
    with pytest.raises(ValidationError, match="frozen"):
        options.rate = 1.0
    assert options.changed() == {"rows": 2, "fast": True}
    assert options == Few(rows=2, fast=True)


def test_any_error_is_one_line_and_interruption_has_its_code(tmp_path: Path) -> None:
    def fail(error: BaseException) -> tuple[int, str]:
        def raise_it(*_: object) -> None:
            raise error

        ran = call(script("few", Few, raise_it, "Few.", ""), "--rows", 1, cwd=tmp_path)
        assert ran.stderr.count("\n") == 1
        return ran.returncode, ran.stderr

    assert fail(KeyboardInterrupt()) == (130, "few: interrupted; the same command goes on from what is done\n")
    assert fail(OSError("disk\nfull")) == (1, "few: OSError: disk full\n")
    code, said = fail(ZeroDivisionError("division by zero"))
    assert (code, "a fault of synthctx" in said, "SYNTHCTX_TRACEBACK=1" in said) == (1, True, True)
    assert "expected torch, which is not installed" in fail(ModuleNotFoundError("no", name="torch"))[1]


@pytest.mark.parametrize("command", ["list", "build", "show", "check", "push", "answers"])
def test_help_begins_with_examples_and_fits_80_columns(tmp_path: Path, command: str) -> None:
    said = process("-m", "builders", command, "--help", cwd=tmp_path, COLUMNS="80").stdout
    assert re.search(rf"\n\nFor example:\n(  )?synthctx {command}", said)
    assert max(map(len, said.splitlines())) <= 80
    assert command in call(synthctx_app, "--help", cwd=tmp_path).stdout


def test_progress_is_a_line_now_and_then_without_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("synthctx_data.command.SILENCE", 0)
    with progress_bar("counting", 3) as advance:
        advance(1)
        advance(2)
    assert capsys.readouterr().err == "counting: 1 of 3\ncounting: 3 of 3\n"


class PassingError(Exception):
    """A trouble that passes."""


def failing(times: int, error: Exception) -> tuple[list[int], object]:
    """A call that fails so often, and the calls so far."""
    calls: list[int] = []

    def one() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error
        return "done"

    return calls, one


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_call_is_made_again_as_long_as_its_error_passes(asynchronous: bool) -> None:
    def run(one, waits) -> str:
        async def awaited() -> str:
            return one()

        def passing(error: BaseException) -> bool:
            return isinstance(error, PassingError)

        return asyncio.run(retry_async(awaited, waits, passing)) if asynchronous else retry(one, waits, passing)

    calls, one = failing(2, PassingError())
    assert run(one, (0, 0)) == "done"
    assert len(calls) == 3
    calls, one = failing(3, PassingError())
    with pytest.raises(PassingError):
        run(one, (0, 0))
    assert len(calls) == 3
    calls, one = failing(1, ValueError())
    with pytest.raises(ValueError):
        run(one, (0, 0))
    assert len(calls) == 1


def test_a_file_or_folder_is_whole_or_as_it_was(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("before")
    with contextlib.suppress(PassingError), whole(file) as aside:
        aside.write_text("half")
        raise PassingError
    with contextlib.suppress(PassingError), whole_folder(folder) as aside:
        aside.mkdir()
        (aside / "part").touch()
        raise PassingError
    assert (file.read_text(), list(tmp_path.iterdir())) == ("before", [file])
    with whole(file) as aside:
        aside.write_text("after")
    with whole_folder(folder) as aside:
        aside.mkdir()
    assert (file.read_text(), sorted(tmp_path.iterdir())) == ("after", [file, folder])
