"""BEYOND_WINDOW.md: F1 by length, in a table and a picture, and what helps."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.figures import curves
from experiments.claims import judge, row, section, with_interval
from experiments.window.plan import KINDS, MODELS, SKIPPED, WHOLE
from experiments.window.tasks import Study
from synthctx_data.dataset import load_rows, parse_variant_address
from synthctx_data.files import write_text
from synthctx_data.row_checks import documents_of
from training.answer_scores import Mean, mean, score
from training.plots import saved_grid
from training.predictions import PREDICTIONS, read_predictions

Values = NDArray[np.float64]
_HEAD = """# Beyond the window of a real model

Written by `python experiments/window/run.py` from the plan `{name}`. SmolLM2-135M-Instruct reads {window:,} tokens. It was asked two
kinds of questions: Natural Questions among real passages, and keys among random keys. Theta and YaRN extend its
positions to {target:,} tokens. Both tuned models have that theta and saw {examples} rows of each kind, of {tokens:,} tokens: one at
their own positions, and one at skipped positions up to {target:,}. Intervals are for other contexts, of which there are few beyond the
window: {questions} questions are on each."""
_QUESTIONS = (
    ("A raised theta helps beyond the window, without tuning.", "theta", "as it was"),
    ("YaRN helps beyond the window, without tuning.", "yarn", "as it was"),
    ("Tuning on short rows helps beyond the window.", WHOLE, "theta"),
    ("Skipped positions help beyond the window.", SKIPPED, WHOLE),
)


def write_report(study: Study, file: Path, plan: Path) -> Path:
    """The file of the report. Its picture, the F1 by length, is written beside it as SVG and PNG."""
    with saved_grid(file.with_suffix(""), (1, len(KINDS)), (3.6, 3.2)) as grid:
        for kind, axes in zip(KINDS, grid[0], strict=True):
            lines = {model: {n: _mean(_f1(study, model, kind, n)) for n in study.plan.rows} for model in MODELS}
            curves(lines, ("tokens", f"F1, {kind}"), axes)
            axes.axvline(study.plan.window, color="grey", linewidth=0.8, linestyle="--")
    write_text(file, "\n".join(_lines(study, file.with_suffix(".svg").name, plan.name)) + "\n")
    return file


def _lines(study: Study, picture: str, name: str) -> Iterable[str]:
    plan = study.plan
    yield _HEAD.format(**{**plan.tuning.model_dump(), **plan.model_dump(), "name": name})
    yield from section("What helps", ("question", "difference in F1", "n", "verdict"))
    beyond = [tokens for tokens in plan.rows if tokens > plan.window]
    for says, one, other in _QUESTIONS:
        parts = [_f1(study, one, kind, n) - _f1(study, other, kind, n) for n in beyond for kind in KINDS]
        found = _mean(np.concatenate(parts))
        verdict = judge(found.low, found.high, plan.bound)
        yield row(says, with_interval(found.mean, found.low, found.high), f"{found.rows} contexts", verdict)
    for kind in KINDS:
        yield from section(
            f"F1 on {kind} rows", ("model", *(f"{tokens:,} tokens, {rows} rows" for tokens, rows in plan.rows.items()))
        )
        for model in MODELS:
            yield row(model, *(_said(_mean(_f1(study, model, kind, tokens))) for tokens in plan.rows))
    yield from ("", f"![F1 by length]({picture})")


@cache
def _rows(address: str, count: int) -> list[dict[str, object]]:
    return list(load_rows(parse_variant_address(address), "train", count))


def _f1(study: Study, model: str, kind: str, tokens: int) -> Values:
    """The mean F1 (context) of the questions on each context."""
    answers = read_predictions(study.at(model, f"{kind}_{tokens}") / PREDICTIONS)
    contexts: dict[str, list[float]] = {}
    for one in _rows(study.data(kind, tokens), study.plan.rows[tokens]):
        contexts.setdefault(documents_of(one), []).append(score(one, answers[str(one["id"])])["f1"])
    return np.array([np.mean(each) for each in contexts.values()])


def _mean(values: Values) -> Mean:
    return mean(values.tolist(), 1000, ("window",))


def _said(found: Mean) -> str:
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"
