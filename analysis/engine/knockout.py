"""The F1 of a model without its highest heads, and without the same number of random heads."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, get_args

import torch

from analysis.engine.conditions import (
    ConditionAnswers,
    Draws,
    Generate,
    draw_heads,
    name_of,
    positions,
    reads_alike,
    spans,
)
from analysis.figures import curves
from analysis.heads import Head, HeadScores
from analysis.interventions import Knockout, intervene
from analysis.options import KnockoutOptions, PreferencesOptions
from synthctx_data.command import err, out, table
from synthctx_data.errors import UsageError, require_choice
from training import run_folder
from training.answer_scores import Mean
from training.generate import Batch, generate_batch
from training.plots import saved

Control = Literal["same layers", "other layers", "all layers"]
CONTROLS = get_args(Control)
Curves = dict[str, dict[int, Mean]]


def knockout_folder(options: KnockoutOptions) -> Path:
    """The folder of the experiment: `output`, or else one named after model, data, split, mode and phase."""
    return (
        Path(options.output)
        if options.output
        else run_folder.default_folder("knockout", options, options.mode, options.phase)
    )


def knock_out(options: KnockoutOptions) -> Curves:
    """The F1 by the number of heads that are knocked out (0: none), for the highest heads and for each control.

    Raises: UsageError if model, data or scores cannot be loaded; ConflictError if the folder holds another experiment.
    """
    heads, output = HeadScores.load(options.heads), knockout_folder(options)
    ranked = heads.ranked()
    if max(options.top) >= len(ranked):
        raise UsageError(f"--top: expected fewer than the {len(ranked)} heads that have scores, got {max(options.top)}")
    layers = len(heads.values)
    if beyond := [layer for layer in options.exclude_layers if layer >= layers]:
        raise UsageError(
            f"--exclude-layers: expected layers below {layers}, which are those with scores, got {beyond[0]}"
        )
    answers = ConditionAnswers(options, output, {})
    answers.require_shape(heads, "--heads")
    whole = [answers.f1("none")]
    untouched = answers.mean(whole, "none", options.resamples)
    wanted = [control for control in CONTROLS if control.split()[0] in options.controls]
    found: Curves = {name: {0: untouched} for name in ("highest heads", *wanted)}
    drawn: dict[str, dict[int, list[float]]] = {control: {} for control in wanted}
    lost: dict[str, dict[int, Mean]] = {name: {} for name in ("no heads", *wanted)}
    knocked: dict[str, dict[int, list[list[Head]]]] = {name: {} for name in found}
    for number in sorted(options.top):
        top = ranked[:number]
        knocked["highest heads"][number] = [top]
        found["highest heads"][number], without_top = _measure(answers, [top], options, f"{number} highest heads")
        lost["no heads"][number] = answers.difference(whole, without_top, f"{number} lost", options.resamples)
        for control in wanted:
            sets = [
                one
                for seed in range(options.seeds)
                if (one := controls(ranked, number, max(options.top), control, options.exclude_layers, seed))
            ]
            if sets:
                name = f"{number} random heads of {control}"
                knocked[control][number] = sets
                found[control][number], scores = _measure(answers, sets, options, name)
                drawn[control][number] = [fmean(each) for each in scores]
                lost[control][number] = answers.difference(scores, without_top, name, options.resamples)
    about = {**options.model_dump(), "of": heads.about}
    answers.finish(
        "knockout.json", {"about": about, "heads": knocked, "f1": found, "f1_of_each_draw": drawn, "lost_more": lost}
    )
    title = f"{options.adapter or options.model}\n{options.data}"
    with saved(output / "knockout", (4.4, 3.2), title) as axes:
        curves(found, ("heads knocked out", "F1"), axes)
    return found


def controls(
    ranked: Sequence[Head], number: int, most: int, control: str, excluded: Sequence[int], seed: int
) -> list[Head]:
    """The random heads of a control: `number` heads, none among the `most` highest of `ranked`; empty if there are too few.

    Raises: UsageError if there is no such control.
    """
    require_choice("control", control, Control)
    top = ranked[:number]
    layers = Counter(layer for layer, _ in top)
    others = sorted(head for head in ranked[most:] if head[0] not in excluded)
    if control == "same layers":
        drawn = [
            head
            for layer, count in sorted(layers.items())
            for head in draw_heads([head for head in others if head[0] == layer], count, control, number, seed, layer)
        ]
    else:
        pool = [head for head in others if control == "all layers" or head[0] not in layers]
        drawn = draw_heads(pool, number, control, number, seed)
    return drawn if len(drawn) == number else []


def _measure(
    answers: ConditionAnswers, sets: Sequence[Sequence[Head]], options: KnockoutOptions, name: str
) -> tuple[Mean, Draws]:
    """The mean F1 without one of the sets of heads, and the F1 of each row without each set."""
    scores = [answers.f1(name_of(heads), without(heads, options, answers)) for heads in sets]
    found = answers.mean(scores, name, options.resamples)
    err.print(f"knockout: {name}: F1 {found.mean:.3f}", soft_wrap=True)
    return found, scores


def without(
    heads: Sequence[Head], options: KnockoutOptions | PreferencesOptions, answers: ConditionAnswers
) -> Generate:
    """A function that generates without some heads, as the options say."""

    def generate(batch: Batch, **arguments: Any) -> torch.Tensor:
        model, tokenizer = answers.loaded
        means = answers.mean_outputs if options.mode == "mean" else None
        hidden = spans(tokenizer, batch, lambda tokens: tokens.needles) if options.mode == "edge" else None
        where = positions(tokenizer, batch, options.phase)
        once = reads_alike(batch, where, hidden)
        with intervene(model, Knockout(heads, options.mode, where, means, hidden)):
            written: torch.Tensor = generate_batch(model, batch, once, **arguments)
        return written

    return generate


def show_knockout(found: Curves, output: Path) -> None:
    """Prints a table with a row for each number of heads."""
    rows = []
    for number in sorted({number for line in found.values() for number in line}):
        top, *others = (line.get(number) for line in found.values())
        interval = f"{top.mean:.3f} [{top.low:.2f}, {top.high:.2f}]" if top else "-"
        rows.append((number, interval, *(f"{m.mean:.3f}" if m else "-" for m in others)))
    out.print(table(dict.fromkeys(("heads", *found), "right"), rows))
    out.print(f"{output}: knockout.json, knockout.svg, knockout.png", soft_wrap=True)
