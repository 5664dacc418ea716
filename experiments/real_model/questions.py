"""The real questions of the experiment, divided: those that are held out for the tests, and those that may be trained on."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.real_model.plan import HERE
from synthctx_data.files import whole

QUESTIONS = HERE / "questions"
NATURAL = QUESTIONS / "nq-open-oracle.jsonl.gz"


def divide(folder: Path, held_out: int) -> dict[str, Path]:
    """The files of questions, "train" and "test", after they are written into a folder.

    The first `held_out` questions are for tests. No question is trained on whose passage has the title of a test passage: so no test
    passage, nor another part of its article, is in a training row.
    """
    rows = [json.loads(line) for line in gzip.decompress(NATURAL.read_bytes()).splitlines()]
    test, rest = rows[:held_out], rows[held_out:]
    titles = {title for row in test for title in _titles(row)}
    parts = {"test": test, "train": [row for row in rest if titles.isdisjoint(_titles(row))]}
    return {name: _write(folder / f"{name}.jsonl", part) for name, part in parts.items()}


def _titles(row: Mapping[str, Any]) -> set[str]:
    return {context["title"] for context in row["ctxs"]}


def _write(file: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    with whole(file) as aside:
        aside.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file
