"""Evaluates a model or an adapter on a data set: python training/evaluate.py --adapter runs/smollm2_mdqa_real --data ..."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from synthctx_data.command import out, progress_bar, run, script, table
from synthctx_data.dataset import load_rows, parse_variant_address
from synthctx_data.errors import DatasetError
from synthctx_data.files import write_json, write_text
from training import run_folder
from training.answer_scores import Mean, summarise
from training.endpoint import from_endpoint
from training.generate import AnswerBatches, from_model
from training.options import EvaluateOptions
from training.plots import depths, saved

_HELP = """\
Evaluates a model or an adapter on a data set.

For example:
  python training/evaluate.py --model models/smollm2 \\
      --data synthctx/mdqa_synth:real_haystack
  python training/evaluate.py --adapter runs/smollm2_mdqa_real \\
      --data synthctx/mdqa_synth:real_haystack
"""
_NOTES = """\
The groups of the table are depths in tenths, numbers of hops (or cited
documents), and tokens up to a power of two.

An endpoint such as vLLM's can answer instead:
  python training/evaluate.py --endpoint http://localhost:8000/v1 --model NAME \\
      --data ...

The folder --output gets predictions.jsonl, scores.json and the figure depth: F1,
exact match and sub-span exact match of short answers, or precision, recall
and F1 of citations, each with a 95 % bootstrap interval. Called again, the
same command answers only rows that have no prediction yet, and scores all
anew.
"""
PREDICTIONS = "predictions.jsonl"


def main(options: EvaluateOptions, _: str) -> None:
    """Evaluates a model, and prints its scores."""
    show_scores(evaluate(options), evaluation_folder(options))


def evaluate(options: EvaluateOptions) -> dict[str, dict[str, dict[str, Mean]]]:
    """The scores of a model on a data set. Predictions, scores and a plot are also written into the folder `output`.

    Raises: UsageError if model or data cannot be loaded; ConflictError if the folder holds the predictions of another run.
    """
    from training.identity import identify

    output = evaluation_folder(options)
    rows = load_rows(parse_variant_address(options.data), options.split, options.limit)
    run = {**options.decisive(), **identify(options)}
    run_folder.is_finished(output, run, holding=PREDICTIONS)
    predictions = read_predictions(output / PREDICTIONS)
    missing = [row for row in rows if row["id"] not in predictions]
    if missing:
        answer = from_endpoint(options) if options.endpoint else from_model(options)
        run_folder.record(output, run)  # only after the model is loaded
        predictions |= predict(answer, missing, output / PREDICTIONS)
    summary = summarise(list(rows), predictions, options.resamples)
    write_json(output / "scores.json", summary)
    f1 = {depth: means["f1"] for depth, means in summary["depth"].items()}
    with saved(output / "depth", (6, 3.4), f"{options.adapter or options.model}\n{options.data}") as axes:
        depths(f1, "F1", axes)
        axes.set_ylim(0, 1.02)
    run_folder.record(output, run, finished=True)
    return summary


def evaluation_folder(options: EvaluateOptions) -> Path:
    """The folder of the evaluation: `output`, or else one named after model, data and split."""
    return Path(options.output) if options.output else run_folder.default_folder("evaluations", options)


def predict(
    answer: Callable[[Sequence[dict[str, Any]]], AnswerBatches], rows: Sequence[dict[str, Any]], file: Path
) -> dict[str, str]:
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


def show_scores(summary: Mapping[str, Mapping[str, Mapping[str, Mean]]], output: Path) -> None:
    """Prints a table of the scores with a row for each group."""
    shown = table({"": "left", **dict.fromkeys(("rows", *summary["all"]["all"]), "right")}, [])
    for name, groups in summary.items():
        for group, means in groups.items():
            first, *others = means.values()
            cells = [f"{first.mean:.3f} [{first.low:.2f}, {first.high:.2f}]", *(f"{m.mean:.3f}" for m in others)]
            shown.add_row("all" if name == "all" else f"{name} {group}", str(first.rows), *cells)
        shown.add_section()
    out.print(shown)
    out.print(f"{output}: {PREDICTIONS}, scores.json, depth", soft_wrap=True)


app = script("evaluate", EvaluateOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
