"""Evaluates a model or an adapter on a data set: python training/evaluate.py --adapter runs/smollm2_mdqa_real --data ..."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from synthctx_data.command import out, run, script, table
from synthctx_data.dataset import load_rows, parse_variant_address
from synthctx_data.files import write_json
from training import run_folder
from training.answer_scores import BENCHMARK_GROUPS, GROUPS, LOSSES, Mean, score, summarise, write_rows
from training.benchmarks.asked import benchmark_rows
from training.benchmarks.catalog import Benchmark, benchmark_in, read_prompts
from training.endpoint import from_endpoint
from training.generate import answering
from training.options import EvaluateOptions
from training.plots import bars, depths, saved
from training.predictions import PREDICTIONS, Answer, completed

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
documents), and tokens up to a power of two; of a benchmark, tasks and tokens.

An endpoint such as vLLM's can answer instead:
  python training/evaluate.py --endpoint http://localhost:8000/v1 --model NAME \\
      --data ...

Benchmarks of others are scored as they do it (docs/benchmarks.md):
  python training/evaluate.py --model models/smollm2 --data ruler:FOLDER
Afterwards training/compare_evaluations.py puts models side by side.

The folder --output gets predictions.jsonl, rows.csv (the scores of each row),
scores.json and the figure depth (or tokens): F1, exact match and sub-span
exact match of short answers, or precision, recall and F1 of citations, each
with a 95 % bootstrap interval. Called again, the same command answers only
rows that have no prediction yet, and scores all anew.
"""
_LOSSES_FILE, ROWS = "losses.jsonl", "rows.csv"


def main(options: EvaluateOptions, _: str) -> None:
    """Evaluates a model, and prints its scores."""
    show_scores(evaluate(options), evaluation_folder(options))


def evaluate(options: EvaluateOptions) -> dict[str, dict[str, dict[str, Mean]]]:
    """The scores of a model on a data set. Predictions, scores and a plot are also written into the folder `output`.

    Raises: UsageError if model or data cannot be loaded; ConflictError if the folder holds the predictions of another run.
    """
    from training.identity import identify

    output = evaluation_folder(options)
    benchmark = benchmark_in(options.data)
    rows = (
        benchmark_rows(benchmark, options)
        if benchmark
        else load_rows(parse_variant_address(options.data), options.split, options.limit)
    )
    run = {**options.decisive(), **identify(options)}
    if options.prompts:
        run["prompts"] = read_prompts(options.prompts)  # rather than where they lie
    run_folder.is_finished(output, run, holding=PREDICTIONS)
    loaded = cache(partial(_loaded, options))
    predictions = completed(output / PREDICTIONS, rows, partial(_answering, options, loaded), run)
    losses = completed(output / _LOSSES_FILE, rows, partial(_losing, loaded), run) if options.losses else {}
    scored = [_scored(row, predictions[row["id"]], losses, benchmark) for row in rows]
    groups = BENCHMARK_GROUPS if benchmark else GROUPS
    write_rows(output / ROWS, rows, scored, groups)
    summary = summarise(list(rows), scored, options.resamples, groups)
    write_json(output / "scores.json", summary)
    _draw(
        summary, benchmark.metric if benchmark else "f1", output, f"{options.adapter or options.model}\n{options.data}"
    )
    run_folder.record(output, run, finished=True)
    return summary


def _loaded(options: EvaluateOptions) -> tuple[Any, Any]:
    from training.model import load_for_reading

    return load_for_reading(options)


def _answering(options: EvaluateOptions, loaded: Callable[[], tuple[Any, Any]]) -> Answer:
    if options.endpoint:
        return from_endpoint(options)
    return answering(*loaded(), options.batch_size, options.max_new_tokens)


def _losing(loaded: Callable[[], tuple[Any, Any]]) -> Answer:
    from training.row_losses import losses_of

    return losses_of(*loaded())


def _scored(
    row: dict[str, Any], prediction: str, losses: dict[str, str], benchmark: Benchmark | None
) -> dict[str, float]:
    """The scores of a row, and its losses if they were taken."""
    scores = benchmark.score(row, prediction) if benchmark else score(row, prediction)
    return {**scores, **(dict(zip(LOSSES, map(float, losses[row["id"]].split()), strict=True)) if losses else {})}


def _draw(summary: dict[str, dict[str, dict[str, Mean]]], metric: str, output: Path, title: str) -> None:
    """Draws the first score by depth; of a benchmark, by tokens."""
    by, draw = ("depth", depths) if "depth" in summary else ("tokens", bars)
    means = {group: each[metric] for group, each in summary[by].items()}
    with saved(output / by, (6, 3.4), title) as axes:
        draw(means, metric.replace("_", " ").replace("f1", "F1"), axes)
        axes.set_ylim(0, 1.02)
        if by == "tokens":
            axes.set_xlabel("tokens of the row, at most")


def evaluation_folder(options: EvaluateOptions) -> Path:
    """The folder of the evaluation: `output`, or else one named after model, data and split."""
    return Path(options.output) if options.output else run_folder.default_folder("evaluations", options)


def show_scores(summary: Mapping[str, Mapping[str, Mapping[str, Mean]]], output: Path) -> None:
    """Prints a table of the scores with a row for each group."""
    scores = [name for name in summary["all"]["all"] if name not in LOSSES]
    shown = table({"": "left", **dict.fromkeys(("rows", *scores), "right")}, [])
    for name, groups in summary.items():
        for group, means in groups.items():
            first, *others = (means[score] for score in scores)
            cells = [f"{first.mean:.3f} [{first.low:.2f}, {first.high:.2f}]", *(f"{m.mean:.3f}" for m in others)]
            shown.add_row("all" if name == "all" else f"{name} {group}", str(first.rows), *cells)
        shown.add_section()
    out.print(shown)
    for name in (name for name in LOSSES if name in summary["all"]["all"]):
        loss = summary["all"]["all"][name]
        out.print(f"{name}: {loss.mean:.3f} [{loss.low:.2f}, {loss.high:.2f}] nats per token")
    out.print(f"{output}: {PREDICTIONS}, scores.json, {'depth' if 'depth' in summary else 'tokens'}", soft_wrap=True)


app = script("evaluate", EvaluateOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
