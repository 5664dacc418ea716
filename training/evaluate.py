"""Evaluates a model or an adapter on a data set: python training/evaluate.py --adapter runs/tiny_mdqa_symbolic --data ..."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs as a script from a checkout

from synthctx_data.errors import ConflictError, UsageError
from training.cli import errors_in_one_line, parse
from training.config import Evaluation
from training.scores import Mean, summarise

EPILOG = """\
examples:
  python training/evaluate.py --adapter runs/tiny_mdqa_symbolic --data synthctx/mdqa_synth:symbolic_haystack
  python training/evaluate.py --model models/tiny --max-tokens 1024 --data synthctx/mdqa_synth:symbolic_haystack
  python training/evaluate.py --endpoint http://localhost:8000/v1 --model NAME --batch-size 16 --data ...

The folder --output gets predictions.jsonl, scores.json and depth.png. Called again, the same command answers only rows that have no
prediction yet, and scores all anew: F1, exact match and sub-span exact match of short answers, or precision, recall and F1 of
citations, each with a 95 % bootstrap interval.
"""
PREDICTIONS = "predictions.jsonl"
_RUN = "run.json"


def main() -> None:
    """Runs the command line; an error is one line on standard error, and exit code 2 (usage) or 1."""
    with errors_in_one_line("evaluate"):
        options, _ = parse(Evaluation, sys.argv[1:], "Evaluates a model or an adapter on a data set.", EPILOG)
        show(evaluate(options), Path(options.output))


def evaluate(options: Evaluation) -> dict[str, dict[str, dict[str, Mean]]]:
    """The scores of a model on a data set; predictions, scores and a plot are in the folder `output` then.

    Raises: UsageError if model or data cannot be had, ConflictError if the folder holds predictions of something else.
    """
    if not options.model and not options.adapter:
        raise UsageError("expected --model or --adapter, got neither")
    from training.data import identify, load_rows, parse_address
    from training.figures import depth_plot

    output = Path(options.output)
    address = parse_address(options.data)
    rows = load_rows(address, options.split)
    rows = rows.select(range(min(options.limit or len(rows), len(rows))))
    _claim(output, {**options.decisive(), "data": identify(address)})
    predictions = read_predictions(output / PREDICTIONS)
    missing = [row for row in rows if row["id"] not in predictions]
    if missing:
        predictions |= _predict(options, missing, output / PREDICTIONS)
    summary = summarise(list(rows), predictions, options.resamples)
    _write(output / "scores.json", json.dumps(_plain(summary), indent=2) + "\n")
    depth_plot(summary["depth"], output / "depth.png", f"{options.adapter or options.model}\n{options.data}")
    return summary


def _predict(options: Evaluation, rows: Sequence[dict[str, Any]], file: Path) -> dict[str, str]:
    """Predictions for the rows, each in the file as soon as it is made."""
    from rich.progress import Progress

    from training.generate import from_endpoint, from_model

    answer = from_endpoint(options) if options.endpoint else from_model(options)
    made: dict[str, str] = {}
    with file.open("a", encoding="utf-8") as lines, Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("answering", total=len(rows))
        for batch in answer(rows):
            for name, prediction in batch:
                lines.write(json.dumps({"id": name, "prediction": prediction}) + "\n")
                made[name] = prediction
            lines.flush()
            bar.advance(task, len(batch))
    return made


def read_predictions(file: Path) -> dict[str, str]:
    """Predictions by row id; a line that was cut off by a kill is taken out of the file."""
    if not file.exists():
        return {}
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        _write(file, whole)
    entries = [json.loads(line) for line in whole.splitlines()]
    return {entry["id"]: entry["prediction"] for entry in entries}


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
            cells = [f"{m.mean:.3f} [{m.low:.2f}, {m.high:.2f}]" for m in means.values()]
            table.add_row("all" if name == "all" else f"{name} {group}", str(means[metrics[0]].rows), *cells)
        table.add_section()
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"{output}: {PREDICTIONS}, scores.json, depth.png", soft_wrap=True)


def _claim(output: Path, run: dict[str, Any]) -> None:
    """Makes the folder this evaluation's. Raises: ConflictError if it is another's."""
    output.mkdir(parents=True, exist_ok=True)
    known = output / _RUN
    if known.is_file():
        theirs = json.loads(known.read_text())
        changed = [
            f"{name} was {theirs.get(name)!r} and is {run[name]!r}" for name in run if theirs.get(name) != run[name]
        ]
        if changed:
            raise ConflictError(
                f"{output} holds another evaluation: {', '.join(changed)}; give another --output, or remove that folder"
            )
        return
    _write(known, json.dumps(run, indent=2) + "\n")


def _write(file: Path, text: str) -> None:
    aside = file.with_name(f".{file.name}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(file)


def _plain(value: Any) -> Any:
    if isinstance(value, Mean):
        return asdict(value)
    return {name: _plain(entry) for name, entry in value.items()} if isinstance(value, Mapping) else value


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
