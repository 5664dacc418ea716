"""F1 without the highest heads, and without as many others."""

import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from analysis.config import KnockoutOptions
from analysis.experiment import Answers, Generate, draw, name_of, positions, spans, write
from analysis.figures import curves
from analysis.heads import Head, HeadScores
from analysis.interventions import Knockout, MeanOutputs, intervene
from synthctx_data.errors import UsageError
from training import runs
from training.data import load_rows, parse_address, prompt_ids
from training.generate import Batch
from training.scores import Mean

_ROWS_OF_MEANS = 16
CONTROLS = ("same layers", "other layers", "all layers")
Curves = dict[str, dict[int, Mean]]


def folder(options: KnockoutOptions) -> Path:
    """Where the experiment lies: as asked for, or by the names of model, data and mode."""
    return (
        Path(options.output)
        if options.output
        else runs.default_folder("knockout", options, options.mode, options.phase)
    )


def knock_out(options: KnockoutOptions) -> Curves:
    """F1 by the number of heads that are knocked out (0: none): of the highest, and of each control.

    Raises: UsageError if model, data or scores cannot be had, ConflictError if the folder holds another experiment.
    """
    heads, output = HeadScores.load(options.heads), folder(options)
    ranked = heads.ranked()
    if max(options.top) >= len(ranked):
        raise UsageError(f"--top: expected fewer than the {len(ranked)} heads that have scores, got {max(options.top)}")
    answers = Answers(options, output, {})
    answers.require_shape(heads, "--heads")
    untouched = answers.mean([answers.f1("none")], "none")
    found: Curves = {name: {0: untouched} for name in ("highest heads", *CONTROLS)}
    drawn: dict[str, dict[int, list[float]]] = {control: {} for control in CONTROLS}
    for number in sorted(options.top):
        top = ranked[:number]
        found["highest heads"][number], _ = _measure(answers, [top], options, f"{number} highest heads")
        for control in CONTROLS:
            sets = [
                one
                for seed in range(options.seeds)
                if (one := controls(ranked, number, max(options.top), control, options.exclude_layers, seed))
            ]
            if sets:
                name = f"{number} random heads of {control}"
                found[control][number], drawn[control][number] = _measure(answers, sets, options, name)
    about = {**options.model_dump(), "of": heads.about}
    write(output, "knockout.json", {"about": about, "f1": found, "f1_of_each_draw": drawn})
    curves(
        found, output / "knockout", ("heads knocked out", "F1"), f"{options.adapter or options.model}\n{options.data}"
    )
    return found


def controls(
    ranked: Sequence[Head], number: int, most: int, control: str, excluded: Sequence[int], seed: int
) -> list[Head]:
    """As many random heads as the `number` highest of `ranked`, none of them among the `most` highest; empty if there are not enough."""
    top = ranked[:number]
    layers = Counter(layer for layer, _ in top)
    others = sorted(head for head in ranked[most:] if head[0] not in excluded)
    if control == "same layers":
        drawn = [
            head
            for layer, count in sorted(layers.items())
            for head in draw([head for head in others if head[0] == layer], count, control, number, seed, layer)
        ]
    else:
        pool = [head for head in others if control == "all layers" or head[0] not in layers]
        drawn = draw(pool, number, control, number, seed)
    return drawn if len(drawn) == number else []


def _measure(
    answers: Answers, sets: Sequence[Sequence[Head]], options: KnockoutOptions, name: str
) -> tuple[Mean, list[float]]:
    """F1 without the sets of heads: over all of them, and without each."""
    scores = [answers.f1(name_of(heads), without(heads, options, answers)) for heads in sets]
    found = answers.mean(scores, name)
    print(f"knockout: {name}: F1 {found.mean:.3f}", file=sys.stderr)
    return found, [fmean(each) for each in scores]


def without(heads: Sequence[Head], options: KnockoutOptions, answers: Answers) -> Generate:
    """What generates without some heads, as the options say."""

    def generate(batch: Batch, **arguments: Any) -> torch.Tensor:
        model, tokenizer = answers.loaded
        means = mean_outputs(answers) if options.mode == "mean" else None
        hidden = spans(tokenizer, batch, lambda tokens: tokens.needles) if options.mode == "edge" else None
        where = positions(tokenizer, batch, options.phase)
        with intervene(model, Knockout(heads, options.mode, where, means, hidden)):
            written: torch.Tensor = model.generate(**arguments)
        return written

    return generate


@cache
def mean_outputs(answers: Answers) -> torch.Tensor:
    """The mean output (layer, head, dimension) of each head over the prompts of the first rows of the split."""
    model, tokenizer = answers.loaded
    means = MeanOutputs()
    with torch.no_grad(), intervene(model, means):
        for row in load_rows(parse_address(answers.options.data), answers.options.split, _ROWS_OF_MEANS):
            model(input_ids=torch.tensor([prompt_ids(tokenizer, row)], device=model.device), use_cache=False)
    return means.means()


def show(found: Curves, output: Path) -> None:
    """Prints a table: a row for each number of heads."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("heads", *found):
        table.add_column(column, justify="right", no_wrap=True)
    for number in sorted({number for line in found.values() for number in line}):
        top, *others = (line.get(number) for line in found.values())
        interval = f"{top.mean:.3f} [{top.low:.2f}, {top.high:.2f}]" if top else "-"
        table.add_row(str(number), interval, *(f"{m.mean:.3f}" if m else "-" for m in others))
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"{output}: knockout.json, knockout.svg, knockout.png", soft_wrap=True)
