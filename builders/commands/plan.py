"""synthctx plan: what a build will take, and what it took."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from builders.commands import writing_tables
from builders.commands.build import TaskName, VariantNames, say_notes
from builders.forecast import Forecast, Took, forecast, taken
from builders.planned_build import PlannedBuild, RunOptions, plan_named, require_use
from builders.writing.options import WritingOptions
from builders.writing.run import estimate_writing
from synthctx_data.command import AsJson, OptionsFile, err, out, print_json, table
from synthctx_data.errors import WriterError
from synthctx_data.options import Options
from synthctx_data.places import reached

_WORKERS = (1, 16, 128)  # beside those that are asked for
_FIRST_COLUMN, _COLUMN = 26, 22  # characters
Measured = Sequence[tuple[PlannedBuild, Forecast | None]]


def plan(
    task: TaskName,
    variants: VariantNames,
    /,
    *,
    options: Annotated[Options, Parameter(name="*")] = Options(),
    writing: Annotated[WritingOptions, Parameter(name="*")] = WritingOptions(),
    where: Annotated[RunOptions, Parameter(name="*")] = RunOptions(),
    config: OptionsFile = None,
    json: AsJson = False,
) -> None:
    """Prints what the builds of variants will take. Nothing is written, and nobody is asked."""
    planned = plan_named([task, *variants], options, where)
    require_use(planned, writing, where.estimate or options.store is not None)
    measured = [(one, _forecast(one)) for one in planned]
    written = [one.examples for one in planned if one.is_written and not one.is_from_sample]
    cost, spending = estimate_writing(written) if written else None, writing.spending(str(options.model))
    with reached(where.output):
        if json:
            missing = writing_tables.cost_as_json(cost, spending) if cost else []
            print_json({"variants": _as_json(measured, where.processes), "requests": missing})
            return
        for shown in _tables(measured, where.processes):
            out.print(shown)
    if cost:
        out.print(writing_tables.cost(cost, spending, str(options.model)))


def _forecast(planned: PlannedBuild) -> Forecast | None:
    """What a build will take; None as long as a language model has not written its documents."""
    try:
        if err.is_terminal:
            err.print(f"{planned.name}: making some rows, which takes some seconds", soft_wrap=True)
        found = forecast(planned)
    except WriterError:
        if planned.is_from_sample:
            raise
        return None
    say_notes(planned)
    return found


def _as_json(measured: Measured, processes: int) -> list[dict[str, Any]]:
    """The forecast of each variant; null where a language model has to write its documents first. Times are in seconds."""
    return [
        {
            "task": one.task.name,
            "variant": one.build.variant,
            "rows": one.examples.sizes,
            "files": len(one.build.planned),
            "forecast": asdict(found) if found else None,
            "seconds": {str(n): found.seconds(n) for n in _workers(processes)} if found else None,
            "took": [asdict(call) for call in taken(one)] if found else [],
        }
        for one, found in measured
    ]


def _tables(measured: Measured, processes: int) -> Iterator[Table]:
    """The tables of forecasts: a column for each variant, as many as the terminal has room for."""
    most = max(1, (out.width - _FIRST_COLUMN) // _COLUMN)
    for start in range(0, len(measured), most):
        yield _table(measured[start : start + most], processes, is_last=start + most >= len(measured))


def _table(measured: Measured, processes: int, is_last: bool) -> Table:
    several = len({one.task.name for one, _ in measured}) > 1
    names = [f"{one.task.name}\n{one.build.variant}" if several else one.build.variant for one, _ in measured]
    shown = table({"": "left", **dict.fromkeys(names, "right")}, [])
    lines: dict[str, list[str]] = {}
    for one, found in measured:
        for name, said in _lines(one, found, processes).items():
            lines.setdefault(name, []).append(said)
    for name, values in lines.items():
        if {*values} != {"-"}:
            shown.add_row(name, *values)
    if not is_last:
        return shown
    unmeasured = any(found is None for _, found in measured)
    shown.caption = (
        "? is measured when the language model has written the documents."
        if unmeasured
        else (
            "Measured on some rows, on this machine. rows: train + validation. CPU: of all workers together. on N workers: each with a "
            "core of its own; more workers than files do not help."
        )
    )
    shown.caption_justify = "left"
    return shown


def _lines(planned: PlannedBuild, found: Forecast | None, processes: int) -> dict[str, str]:
    tokens = planned.rows * planned.build.options.max_tokens
    return {
        "rows": " + ".join(f"{size:,}" for size in planned.examples.sizes.values()),
        "tokens": f"{found.tokens if found else tokens:,}",
        "files": f"{len(planned.build.planned):,}",
        "disk": _bytes(found.disk) if found else "?",
        "memory of a worker": _bytes(found.memory) if found else "?",
        "CPU: start of a worker": duration(found.start) if found else "?",
        "CPU: making the rows": duration(found.build) if found else "?",
        "CPU: describing them": duration(found.describe) if found else "?",
        **{f"on {_count(n)}": duration(found.seconds(n)) if found else "?" for n in _workers(processes)},
        **_took(taken(planned) if found else []),
    }


def _workers(processes: int) -> list[int]:
    return sorted({*_WORKERS, processes})


def _took(calls: Sequence[Took]) -> dict[str, str]:
    """What calls took that built the variant, if any did."""
    rows, cpu, seconds = (sum(getattr(one, name) for one in calls) for name in ("rows", "cpu", "seconds"))
    return {
        "earlier calls: rows": f"{rows:,}" if calls else "-",
        "earlier calls: CPU": duration(cpu) if calls else "-",
        "earlier calls: time": duration(seconds) if calls else "-",
    }


def _count(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


def _bytes(size: int) -> str:
    for unit, scale in (("TB", 1e12), ("GB", 1e9)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} KB"


def duration(seconds: float) -> str:
    """A time in the two largest units that it has: 3 h 20 min, 5 min 3 s, 0.4 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours < 48 else f"{hours // 24:,} d {hours % 24} h"
