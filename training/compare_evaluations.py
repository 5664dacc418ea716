"""Puts evaluations side by side: python training/compare_evaluations.py evaluations/before evaluations/after ..."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from synthctx_data.command import command_line, err, out, run, table
from synthctx_data.errors import DatasetError, UsageError, first_line
from synthctx_data.files import whole
from training import run_folder
from training.answer_scores import LOSSES, Mean, mean
from training.evaluate import ROWS
from training.options import names_benchmark
from training.plots import saved, side_by_side, side_by_side_size

_HELP = """\
Puts evaluations of several models side by side, with what changed.

For example, before and after tuning:
  python training/compare_evaluations.py \\
      evaluations/models_smollm2/synthctx_mdqa_synth_real_haystack_validation \\
      evaluations/runs_smollm2_mdqa_real/synthctx_mdqa_synth_real_haystack_validation

All evaluations below a folder are found: python training/compare_evaluations.py evaluations
"""
_NOTES = """\
Each folder is one that training/evaluate.py has finished. Models are columns,
in the order in which they are first named; data sets are rows, and so are
their tasks and lengths in tokens. The first score of each data set is shown,
and the losses if they were taken (evaluate.py --losses).

Only rows that all models answered count. "change" is a model's mean less that
of the first model, with its 95 % bootstrap interval: rows on one context are
drawn together. An interval that holds 0 tells no difference. Data are the
same if their content is, wherever they lie.

The folder --output gets comparison.csv and the figure comparison.
"""
_GROUPS = ("task", "tokens")


@dataclass(frozen=True)
class Evaluation:
    """The scores of a model on each row of a data set, from the folder of an evaluation.

    data: a name for it. identity: what tells it from other data, and from other prompts.
    contexts, groups, rows: the context of each row, the groups that it is in, and its scores, by row id.
    scores: the names of the scores that are compared: the first one, and losses.
    """

    folder: Path
    model: str
    data: str
    identity: str
    contexts: Mapping[str, str]
    groups: Mapping[str, Mapping[str, str]]
    rows: Mapping[str, Mapping[str, float]]
    scores: tuple[str, ...]


@dataclass(frozen=True)
class Compared:
    """One line of the table: a score on a group of a data set's rows, by model, and the change against the first model."""

    data: str
    group: str
    score: str
    means: Mapping[str, Mean]
    changes: Mapping[str, Mean]


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation in a folder.

    Raises: UsageError if there is none that is finished; DatasetError if its files cannot be read.
    """
    try:
        about = run_folder.read(folder)
        with (folder / ROWS).open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            rows = {row["id"]: row for row in reader}
            names = list(reader.fieldnames or [])
        measured = [name for name in names if name not in ("id", "context", "depth", "hops", *_GROUPS)]
        found = Evaluation(
            folder,
            str(about["adapter"] or about["model"]),
            _name_of(about),
            _identity_of(about),
            {key: row["context"] for key, row in rows.items()},
            {key: {name: row[name] for name in _GROUPS if name in row} for key, row in rows.items()},
            {key: {name: float(row[name]) for name in measured} for key, row in rows.items()},
            (*measured[:1], *(name for name in measured if name in LOSSES)),
        )
    except OSError as error:
        raise UsageError(
            f"expected a folder that training/evaluate.py has finished, got {folder}: {first_line(error)}; evaluate again"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(f"{folder}: expected what training/evaluate.py wrote: {first_line(error)}") from error
    if not rows or not measured:
        raise DatasetError(f"{folder / ROWS}: expected the scores of rows, found none; evaluate again")
    return found


def _name_of(about: Mapping[str, Any]) -> str:
    """The name of an evaluation's data: the address, with the split if it is that for training, and the tokens of NoLiMa's books."""
    more = [f" ({about['split']})"] if about.get("split") == "train" else []
    more += [f" of {about['haystack_tokens']} tokens"] if about.get("haystack_tokens") else []
    return "".join([str(about["data"]["address"]), *more])


def _identity_of(about: Mapping[str, Any]) -> str:
    """A text that is the same for two evaluations of the same data with the same prompts, wherever the data lay."""
    data = about["data"]
    version = data.get("fingerprint") or data.get("revision") or data["address"]
    kind = str(data["address"]).partition(":")[0] if names_benchmark(str(data["address"])) else ""
    return repr((kind, version, *(about.get(name) for name in ("split", "haystack_tokens", "prompts"))))


def compare_evaluations(folders: Sequence[Path], resamples: int = 1000) -> list[Compared]:
    """The scores of several models on the same data, and how they change against the first model's.

    Of two evaluations of a model on the same data, the one with more rows is taken, and a line on standard error names the other.

    Raises: UsageError, DatasetError as `read_evaluation` does.
    """
    by_data: dict[str, dict[str, Evaluation]] = {}
    models: dict[str, None] = {}
    for one in map(read_evaluation, folders):
        models[one.model] = None
        known = by_data.setdefault(one.identity, {}).setdefault(one.model, one)
        if known is not one:
            more, fewer = (one, known) if len(one.rows) > len(known.rows) else (known, one)
            by_data[one.identity][one.model] = more
            err.print(
                f"left out: {fewer.folder}, as {more.folder} is of the same model on the same data", soft_wrap=True
            )
    ordered = ({model: there[model] for model in models if model in there} for there in by_data.values())
    return [line for there in ordered for line in _lines(there, resamples)]


def _lines(there: Mapping[str, Evaluation], resamples: int) -> list[Compared]:
    """The lines of a data set: all rows that every model answered, and each task and length of theirs if there are several."""
    first = next(iter(there.values()))
    shared = [key for key in first.rows if all(key in other.rows for other in there.values())]
    groups = {"all": shared}
    for name in _GROUPS:
        found: dict[str, list[str]] = {}
        for key in shared:
            if name in first.groups[key]:
                found.setdefault(f"{name} {first.groups[key][name]}", []).append(key)
        if len(found) > 1:
            groups |= dict(sorted(found.items(), key=lambda one: (len(one[0]), one[0])))
    scores = [score for score in first.scores if all(score in other.scores for other in there.values())]
    return [_line(group, score, there, keys, resamples) for group, keys in groups.items() if keys for score in scores]


def _line(group: str, score: str, there: Mapping[str, Evaluation], keys: Sequence[str], resamples: int) -> Compared:
    first = next(iter(there.values()))
    contexts, before = [first.contexts[key] for key in keys], [first.rows[key][score] for key in keys]
    means, changes = {}, {}
    for model, one in there.items():
        mine, name = [one.rows[key][score] for key in keys], (first.data, group, score, model)
        means[model] = mean(mine, resamples, name, contexts)
        if one is not first:
            less = [new - old for new, old in zip(mine, before, strict=True)]
            changes[model] = mean(less, resamples, ("change", *name), contexts)
    return Compared(first.data, group, score, means, changes)


def show_comparison(lines: Sequence[Compared]) -> None:
    """Prints a table for each data set: a column for each model, and for each but the first its change."""
    for data in dict.fromkeys(line.data for line in lines):
        mine = [line for line in lines if line.data == data]
        models = list(dict.fromkeys(model for line in mine for model in line.means))
        shown = table(dict.fromkeys(("", "rows", "score"), "left"), [])
        for i, model in enumerate(models):
            for column in [Path(model).name] if i == 0 else [Path(model).name, "change"]:
                shown.add_column(column, justify="right", no_wrap=True)
        for line in mine:
            cells = [_cell(line, model, i > 0) for i, model in enumerate(models)]
            count = next(iter(line.means.values())).rows
            shown.add_row(line.group, str(count), line.score, *(cell for each in cells for cell in each))
        out.print(f"{data}: {', '.join(models)}", soft_wrap=True)
        out.print(shown)


def _cell(line: Compared, model: str, later: bool) -> list[str]:
    found, change = line.means.get(model), line.changes.get(model)
    said = [f"{found.mean:.3f}" if found else "-"]
    return said + ([f"{change.mean:+.3f} [{change.low:+.2f}, {change.high:+.2f}]" if change else "-"] if later else [])


def write_comparison(lines: Sequence[Compared], folder: Path) -> None:
    """Writes the lines as comparison.csv, and a figure of the scores over all rows."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / "comparison.csv") as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("data", "group", "score", "model", "rows", "mean", "low", "high", "change", "change_low", "change_high")
        )
        for line in lines:
            for model, found in line.means.items():
                change = line.changes.get(model)
                moved = (change.mean, change.low, change.high) if change else ("", "", "")
                writer.writerow(
                    (line.data, line.group, line.score, model, found.rows, found.mean, found.low, found.high, *moved)
                )
    whole_sets = {line.data: line.means for line in lines if line.group == "all" and line.score not in LOSSES}
    with saved(folder / "comparison", side_by_side_size(whole_sets)) as axes:
        side_by_side(whole_sets, "score", axes)


app = command_line("compare_evaluations", _HELP, _NOTES)
app.usage = "Usage: python training/compare_evaluations.py FOLDERS... [OPTIONS]"
app["--help"].show = False


@app.default
def main(
    *folders: Annotated[Path, Parameter(help="Folders of evaluations, or folders that hold some.")],
    output: Annotated[Path, Parameter(help="The folder of the table and the figure.")] = Path("evaluations/comparison"),
    resamples: Annotated[int, Parameter(help="Resamples of the bootstrap.")] = 1000,
) -> None:
    """Puts evaluations side by side."""
    if not folders:
        raise UsageError("FOLDERS: expected folders of evaluations, got none")
    if resamples < 1:
        raise UsageError(f"--resamples: expected 1 or more, got {resamples}")
    lines = compare_evaluations([found for folder in folders for found in evaluations_below(folder)], resamples)
    show_comparison(lines)
    write_comparison(lines, output)
    out.print(f"{output}: comparison.csv, comparison", soft_wrap=True)


def evaluations_below(folder: Path) -> list[Path]:
    """The folder itself if it is one of an evaluation, or else those below it, by name.

    Raises: UsageError if there are none.
    """
    if (folder / run_folder.RUN_FILE).is_file():
        return [folder]
    found = sorted(file.parent for file in folder.rglob(ROWS) if (file.parent / run_folder.RUN_FILE).is_file())
    if not found:
        raise UsageError(f"expected folders that training/evaluate.py has finished in {folder}, found none")
    return found


if __name__ == "__main__":
    run(app)
