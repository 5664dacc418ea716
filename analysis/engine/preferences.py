"""Pairs of a model's answers with and without its retrieval heads, as a preference set."""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from analysis.engine.conditions import ConditionAnswers, highest_heads, name_of
from analysis.engine.knockout import without
from analysis.heads import HeadScores
from analysis.options import PreferencesOptions
from synthctx_data.command import out
from synthctx_data.errors import UsageError
from synthctx_data.files import write_text
from training import run_folder

PAIRS = "preferences.jsonl"


@dataclass(frozen=True)
class Preferences:
    """What a preference set was made of.

    rows: those that were answered. pairs: those whose two answers differ. f1, f1_without: the mean F1 with and without the heads.
    """

    file: Path
    rows: int
    pairs: int
    f1: float
    f1_without: float


def preferences_folder(options: PreferencesOptions) -> Path:
    """The folder of the answers and pairs: `output`, or else one named after model, data, split and number of heads."""
    if options.output:
        return Path(options.output)
    return run_folder.default_folder("preferences", options, options.mode, options.phase, str(options.top))


def make_preferences(options: PreferencesOptions) -> Preferences:
    """The preference set, after it is written into the folder. Rows whose two answers are the same are left out.

    Raises: UsageError if model, data or scores cannot be loaded, or if no two answers differ; ConflictError if the folder holds other
    answers.
    """
    heads, output = HeadScores.load(options.heads), preferences_folder(options)
    top = highest_heads(heads, options.top)
    answers = ConditionAnswers(options, output, {})
    answers.require_shape(heads, "--heads")
    whole, ablated = "none", name_of(top)
    chosen, rejected = answers.answers(whole), answers.answers(ablated, without(top, options, answers))
    lines = [
        json.dumps(
            {
                "id": row["id"],
                "prompt": row["prompt"],
                "chosen": [{"role": "assistant", "content": chosen[row["id"]]}],
                "rejected": [{"role": "assistant", "content": rejected[row["id"]]}],
            },
            ensure_ascii=False,
        )
        for row in answers.rows
        if chosen[row["id"]].strip() != rejected[row["id"]].strip()
    ]
    if not lines:
        raise UsageError(
            f"--top {options.top}: expected answers that differ without these heads, and all are the same; take more heads"
        )
    write_text(output / PAIRS, "\n".join(lines) + "\n")
    f1, f1_without = (fmean(answers.f1(name)) for name in (whole, ablated))
    made = Preferences(output / PAIRS, len(answers.rows), len(lines), f1, f1_without)
    about = {**options.model_dump(), "of": heads.about, "knocked_out": top}
    counted = {"rows": made.rows, "pairs": made.pairs, "f1": f1, "f1_without": f1_without}
    answers.finish("preferences.json", {"about": about, **counted})
    return made


def show_preferences(made: Preferences) -> None:
    """Prints how many pairs there are, and what the heads were worth."""
    out.print(
        f"{made.pairs} of {made.rows} rows are answered otherwise without the heads: F1 {made.f1:.3f} with, {made.f1_without:.3f} without"
    )
    out.print(f"{made.file}: prompt, chosen, rejected", soft_wrap=True)
