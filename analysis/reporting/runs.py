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
        Part(str(folder), tables=[Table(["option", "value"], list(_options(run)))], note=_made(run))
        for folder, run in sorted(found.runs.items())
    ]
    says = (
        "The command that made each result, as it was called last. Then what decided the result: options, fingerprints of data, and hashes "
        "of weights."
    )
    return Section("runs", "Runs", says, parts)


def _made(run: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run.get("versions", {}).items())
    return " ".join(
        filter(None, [f"Command: {run['command']}" if run.get("command") else "", versions and f"With {versions}."])
    )


def _options(run: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in run.items():
        if value is not None and name not in NOT_DECISIVE:
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
