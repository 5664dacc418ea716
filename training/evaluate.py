"""Evaluates a model or an adapter on a data set: python training/evaluate.py --adapter runs/tiny_mdqa_symbolic_padding --data ..."""

import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs as a script from a checkout

try:
    from synthctx_data.errors import DatasetError, UsageError
    from training import runs
    from training.cli import errors_in_one_line, parse
    from training.config import Evaluation
    from training.generate import Answers, from_endpoint, from_model
    from training.scores import Mean, summarise
except ModuleNotFoundError as error:
    sys.exit(f"evaluate: expected {error.name}, which is not installed; pip install -c constraints.txt -e '.[train]'")

EPILOG = """\
examples:
  python training/evaluate.py --adapter runs/tiny_mdqa_symbolic_padding --data synthctx/mdqa_synth:symbolic_padding
  python training/evaluate.py --model models/tiny --max-tokens 1024 --data synthctx/mdqa_synth:symbolic_padding
  python training/evaluate.py --endpoint http://localhost:8000/v1 --model NAME --batch-size 16 --data ...

The folder --output gets predictions.jsonl, scores.json and depth.png. Called again, the same command answers only rows that have no
prediction yet, and scores all anew: F1, exact match and sub-span exact match of short answers, or precision, recall and F1 of
citations, each with a 95 % bootstrap interval.
"""
PREDICTIONS = "predictions.jsonl"


def main() -> None:
    """Runs the command line; an error is one line on standard error, and exit code 2 (usage) or 1."""
    warnings.simplefilter("ignore", FutureWarning)  # of the libraries to each other
    with errors_in_one_line("evaluate"):
        options, _ = parse(Evaluation, sys.argv[1:], "Evaluates a model or an adapter on a data set.", EPILOG)
        show(evaluate(options), folder(options))


def evaluate(options: Evaluation) -> dict[str, dict[str, dict[str, Mean]]]:
    """The scores of a model on a data set; predictions, scores and a plot are in the folder `output` then.

    Raises: UsageError if model or data cannot be had, ConflictError if the folder holds predictions of something else.
    """
    if not options.model and not options.adapter:
        raise UsageError("expected --model or --adapter, got neither")
    from training.data import load_rows, parse_address
    from training.figures import depth_plot
    from training.identity import identify

    output = folder(options)
    rows = load_rows(parse_address(options.data), options.split, options.limit)
    run = {**options.decisive(), **identify(options)}
    runs.check(output, run, holding=PREDICTIONS)
    predictions = read_predictions(output / PREDICTIONS)
    missing = [row for row in rows if row["id"] not in predictions]
    if missing:
        answer = from_endpoint(options) if options.endpoint else from_model(options)
        runs.record(output, run)  # the folder is this evaluation's once the model is there
        predictions |= predict(answer, missing, output / PREDICTIONS)
    summary = summarise(list(rows), predictions, options.resamples)
    runs.write(output / "scores.json", json.dumps(_plain(summary), indent=2) + "\n")
    depth_plot(summary["depth"], output / "depth.png", f"{options.adapter or options.model}\n{options.data}")
    return summary


def folder(options: Evaluation) -> Path:
    """Where the evaluation lies: as asked for, or by the names of model, data and split."""
    return Path(options.output) if options.output else runs.default_folder("evaluations", options)


def predict(
    answer: Callable[[Sequence[dict[str, Any]]], Answers], rows: Sequence[dict[str, Any]], file: Path
) -> dict[str, str]:
    """Predictions for the rows, each in the file as soon as it is made."""
    from rich.progress import Progress

    made: dict[str, str] = {}
    with (
        file.open("a", encoding="utf-8") as lines,
        Progress(transient=True, disable=not sys.stderr.isatty()) as bar,
    ):
        task = bar.add_task("answering", total=len(rows))
        for batch in answer(rows):
            for name, prediction in batch:
                lines.write(json.dumps({"id": name, "prediction": prediction}) + "\n")
                made[name] = prediction
            lines.flush()
            bar.advance(task, len(batch))
    return made


def read_predictions(file: Path) -> dict[str, str]:
    """Predictions by row id; a line that was cut off by a kill is taken out of the file.

    Raises: DatasetError if another line cannot be read.
    """
    if not file.exists():
        return {}
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        runs.write(file, whole.decode())
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


def show(summary: Mapping[str, Mapping[str, Mapping[str, Mean]]], output: Path) -> None:
    """Prints a table of the scores: a row for each group."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    metrics = list(summary["all"]["all"])
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("", "rows", *metrics):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    for name, groups in summary.items():
        for group, means in groups.items():
            first, *others = means.values()
            cells = [f"{first.mean:.3f} [{first.low:.2f}, {first.high:.2f}]", *(f"{m.mean:.3f}" for m in others)]
            table.add_row("all" if name == "all" else f"{name} {group}", str(means[metrics[0]].rows), *cells)
        table.add_section()
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"{output}: {PREDICTIONS}, scores.json, depth.png", soft_wrap=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mean):
        return asdict(value)
    return {name: _plain(entry) for name, entry in value.items()} if isinstance(value, Mapping) else value


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
