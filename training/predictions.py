"""What a model made of each row, in a file that grows batch by batch, so that a killed run loses one batch at most."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from synthctx_data.command import progress_bar
from synthctx_data.errors import DatasetError
from synthctx_data.files import write_text
from training import run_folder
from training.generate import AnswerBatches

PREDICTIONS = "predictions.jsonl"
Rows = Sequence[dict[str, Any]]
Answer = Callable[[Rows], AnswerBatches]


def completed(
    file: Path,
    rows: Rows,
    load: Callable[[], Answer],
    run: dict[str, Any],
) -> dict[str, str]:
    """What a model makes of each row, by row id: what is in the file, and what it makes of the others, for which it is loaded."""
    known = read_predictions(file)
    missing = [row for row in rows if row["id"] not in known]
    if missing:
        answer = load()
        run_folder.record(file.parent, run)  # only after the model is loaded
        known |= predict(answer, missing, file)
    return known


def predict(answer: Answer, rows: Rows, file: Path) -> dict[str, str]:
    """The predictions for the rows, by row id. Each batch is written to the file as soon as it is answered."""
    made: dict[str, str] = {}
    with file.open("a", encoding="utf-8") as lines, progress_bar("answering", len(rows)) as advance:
        for batch in answer(rows):
            for name, prediction in batch:
                lines.write(json.dumps({"id": name, "prediction": prediction}) + "\n")
                made[name] = prediction
            lines.flush()
            advance(len(batch))
    return made


def read_predictions(file: Path) -> dict[str, str]:
    """The predictions by row id. A last line that was cut off by a kill is removed from the file.

    Raises: DatasetError if another line cannot be read.
    """
    if not file.exists():
        return {}
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_text(file, whole.decode())
    found = {}
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            entry = json.loads(line)
            found[str(entry["id"])] = str(entry["prediction"])
        except (ValueError, TypeError, KeyError) as error:
            raise DatasetError(
                f"{file}, line {number}: expected an id and a prediction; remove it to ask again"
            ) from error
    return found
