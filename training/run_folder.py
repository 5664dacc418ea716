"""The folder of a run, with a record of what the run was made from, so that no other run is mixed into it."""

import json
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from synthctx_data import __version__
from synthctx_data.command import called
from synthctx_data.errors import ConflictError, UsageError
from synthctx_data.files import write_json
from training.options import ReadingOptions, names_benchmark

RUN_FILE = "run.json"
NOT_DECISIVE = ("finished", "command", "versions")  # parts of the record that decide nothing
_LIBRARIES = ("torch", "transformers", "peft")
_NAMED = 3  # differences that are named


def is_finished(output: Path, run: dict[str, Any], holding: str) -> bool:
    """True if the folder holds this run already and the run is finished.

    `holding` is a pattern of the files that a run leaves there.

    Raises: ConflictError if the folder holds another run; UsageError if it is a file.
    """
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output: expected a folder, but {output} is a file")
    known = output / RUN_FILE
    if not known.is_file():
        if any(output.glob(holding)):
            kind = holding.split(".", maxsplit=1)[0].rstrip("-*")
            raise ConflictError(
                f"{output} holds {kind} of a run that is not known; give another --output, or remove that folder"
            )
        return False
    try:
        theirs = json.loads(known.read_text())
        changed = [
            f"{name} was {theirs.get(name)!r} and is {run[name]!r}" for name in run if theirs.get(name) != run[name]
        ]
    except (ValueError, AttributeError) as error:
        raise ConflictError(f"{known} cannot be read; give another --output, or remove that folder") from error
    if changed:
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        raise ConflictError(
            f"{output} holds another run: {', '.join(changed[:_NAMED])}{more}; give another --output, or remove that folder"
        )
    return bool(theirs.get("finished"))


def record(output: Path, run: dict[str, Any], finished: bool = False) -> None:
    """Makes the folder, and records the run in it, with the command that was called and the versions of libraries.

    Raises: UsageError if the folder cannot be made.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--output: expected a folder that can be made, got {output}: {error}") from error
    command = called()
    made = {"versions": _versions(), **({"command": command} if command else {})}
    write_json(output / RUN_FILE, {**run, **made, "finished": finished})


def _versions() -> dict[str, str]:
    found = {"synthctx": __version__}
    for library in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[library] = version(library)
    return found


def read(output: Path) -> dict[str, Any]:
    """The record of the run in a folder."""
    known: dict[str, Any] = json.loads((output / RUN_FILE).read_text())
    return known


def default_folder(kind: str, options: ReadingOptions, *more: str) -> Path:
    """The default folder of a run, named after its kind, model, data and split, and after `more`, which tells runs apart.

    The rows of a benchmark have no split.
    """
    name = "_".join(Path(str(options.adapter or options.model)).parts[-2:])  # as a model and an adapter may end alike
    split = [] if names_benchmark(options.data) else [options.split]
    return Path(kind) / name / re.sub(r"\W+", "_", " ".join([options.data, *split, *more]).strip("./"))
