"""Data sets in the terminal: the grid of variants, an example, a report of faults."""

from collections.abc import Iterable
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from synthctx_data.checks import FAULT_KINDS
from synthctx_data.command import table
from synthctx_data.depths import places
from synthctx_data.task import Task

if TYPE_CHECKING:
    from synthctx_data.examine import Examined

_BARS = " ▁▂▃▄▅▆▇█"
_MESSAGES = 3  # shown of each kind of fault


def variants_as_json(tasks: Iterable[Task]) -> list[dict[str, Any]]:
    """All variants: their task, their numbers of examples, and what each needs (empty: nothing)."""
    return [
        {
            "task": task.name,
            "variant": name,
            "train": task.train,
            "validation": task.validation,
            "needs": variant.expression.needs,
        }
        for task in tasks
        for name, variant in task.variants.items()
    ]


def grid(tasks: Iterable[Task]) -> Table:
    """The table of all variants: their numbers of examples (train + validation), and what each needs."""
    rows = [
        (one["task"], one["variant"], f"{one['train']} + {one['validation']}", one["needs"] or "nothing")
        for one in variants_as_json(tasks)
    ]
    shown = table(dict.fromkeys(("task", "variant", "examples", "needs"), "left"), rows)
    shown.columns[-1].no_wrap = False
    return shown


def example(row: dict[str, Any], around: int | None = 0) -> Text:
    """The text of an example, with its needles coloured, its answers inverse, and the documents between the needles folded.

    around: the number of documents before and behind each needle's that are not folded. None: no document is folded.
    """
    prompt = row["prompt"][0]["content"]
    documents, needles = row["documents"], row["needles"]
    text = Text(f"{row['id']}\n", style="bold")
    for needle, depth in zip(needles, places(row).needles, strict=True):
        text.append(f"needle in document {needle['document'] + 1} of {len(documents)} (depth {depth:.2f})\n", "dim")
    text.append(f"{row['num_tokens']:,} tokens\n\n", "dim")
    if not documents:  # a chat
        text.append(f"{prompt.strip()}\n\n")
        return text.append(row["completion"][0]["content"], "bold green")
    text.append(prompt[: documents[0]["start"]].rpartition("\n\n")[0] + "\n\n")
    shown = _unfolded({needle["document"] for needle in needles}, len(documents), around)
    before = 0
    for number in shown:
        _fold(text, number - before)
        body = Text(prompt[documents[number]["start"] : documents[number]["end"]])
        for needle in (n for n in needles if n["document"] == number):
            at = documents[number]["start"]
            body.stylize("green", needle["start"] - at, needle["end"] - at)
            body.stylize("reverse bold green", needle["answer_start"] - at, needle["answer_end"] - at)
        text.append(f"[{number + 1}] ", "dim")
        text.append_text(body)
        text.append("\n")
        before = number + 1
    _fold(text, len(documents) - before)
    text.append("\n" + prompt[documents[-1]["end"] :].strip() + "\n\n")
    text.append(row["completion"][0]["content"], "bold green")
    return text


def _unfolded(needles: set[int], documents: int, around: int | None) -> list[int]:
    """The numbers of the documents that are shown, in order."""
    if around is None:
        return list(range(documents))
    near = {number + by for number in needles for by in range(-around, around + 1)}
    return sorted(near & {*range(documents)})


def report(name: str, examined: "Examined") -> Table:
    """The table of all checks with the faults that were found, histograms of depth and fill, and hashes of the rows."""
    found = examined.report
    rows = ", ".join(f"{count} {split}" for split, count in found.rows.items())
    shown = table(
        dict.fromkeys(("check", "faults", "what is right, or what was found"), "left"), [], title=f"{name}: {rows}"
    )
    for column in shown.columns:
        column.no_wrap = False
    for kind, right in FAULT_KINDS.items():
        faults = found.faults.get(kind, [])
        if faults:
            said = "\n".join(faults[:_MESSAGES])
            more = f"\n... and {len(faults) - _MESSAGES} more" if len(faults) > _MESSAGES else ""
            shown.add_row(Text(kind, "bold red"), Text(str(len(faults)), "bold red"), Text(said + more))
        elif kind == "complete" and not examined.fingerprint:
            shown.add_row(kind, "-", "not compared: there is no build.json")
        elif kind == "complete":
            shown.add_row(kind, Text("0", "green"), f"{right} (fingerprint {examined.fingerprint})")
        elif kind == "blind" and found.padded:
            shown.add_row(kind, "-", "not asked of padding, where needles stand out by design")
        elif kind == "tokens" and not examined.recounted:
            shown.add_row(kind, "-", "not counted again: give the --tokenizer of the build")
        else:
            shown.add_row(kind, Text("0", "green"), right)
    shown.add_section()
    for floor in examined.survey.floors:
        kind = "reads it badly" if floor.reads else "never reads the question"
        shown.add_row(floor.rule, f"{floor.score:.2f}", f"floor: chance {floor.chance:.2f}, {kind}")
    shown.add_section()
    if wordings := examined.survey.wordings:
        shown.add_row(
            "wording", f"{fmean(wordings):.2f}", "of a question's words, names aside, stand in its needles' documents"
        )
    shown.add_row("depth 0 to 1", "", f"[{_bars(found.depth)}] needles by tenth of the context")
    shown.add_row("fill 99 to 100 %", "", f"[{_bars(found.fill)}] examples by tenth of a percent")
    for split, survey in examined.survey.splits.items():
        shown.add_row("SHA-256", "", f"{survey.hash} of the {split} rows")
    return shown


def _bars(counts: list[int]) -> str:
    most = max(counts) or 1
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in counts)


def _fold(text: Text, documents: int) -> None:
    if documents:
        text.append(f"··· {documents} document{'s' if documents > 1 else ''} ···\n", "dim")
