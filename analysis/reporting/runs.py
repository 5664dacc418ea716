"""The section of the report that says what each result was made from, and by which command."""

import json
from collections.abc import Iterator
from typing import Any

from analysis.reporting.collect import Found
from analysis.reporting.parts import Part, Section, Table
from training.run_folder import NOT_DECISIVE


def runs(found: Found) -> Section:
    """A part for each folder of results."""
    parts = [
        Part(str(folder), tables=[Table(["option", "value"], [*_made(run), *_options(run)])])
        for folder, run in sorted(found.runs.items())
    ]
    says = (
        "What made each result: the command, as it was called last, and versions (results of earlier versions of synthctx lack "
        "both); then what decided it: options, fingerprints of data, and hashes of weights."
    )
    return Section("runs", "Runs", says, parts)


def _made(run: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if run.get("command"):
        yield "command", run["command"]
    if run.get("versions"):
        yield "versions", ", ".join(f"{name} {version}" for name, version in run["versions"].items())


def _options(run: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in run.items():
        if value is not None and name not in NOT_DECISIVE:
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
