"""synthctx build"""

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from builders.build import alone, is_built
from builders.commands import writing_tables
from builders.parts import parse_part
from builders.planned_build import ALL, PlannedBuild, RunOptions, plan_named, require_use, require_whole_corpus
from builders.shards import Build, examples_of
from builders.writing.options import WritingOptions
from builders.writing.prices import Spending
from synthctx_data.command import OptionsFile, err, out, progress_bar
from synthctx_data.options import Options
from synthctx_data.places import reached

TaskName = Annotated[str, Parameter(help="A task, e.g. mdqa_synth. Further tasks may follow.")]
VariantNames = Annotated[
    tuple[str, ...],
    Parameter(help="Variants, e.g. symbolic_haystack; or all: those that the options suffice for."),
]


def build(
    task: TaskName,
    variants: VariantNames,
    /,
    *,
    options: Annotated[Options, Parameter(name="*")] = Options(),
    writing: Annotated[WritingOptions, Parameter(name="*")] = WritingOptions(),
    where: Annotated[RunOptions, Parameter(name="*")] = RunOptions(),
    config: OptionsFile = None,
) -> None:
    """Builds variants of tasks, one after the other."""
    planned = plan_named([task, *variants], options, where)
    require_use(planned, writing, where.estimate or options.store is not None)
    spending = writing.spending(str(options.model))
    _say_left_out(planned, variants)
    if where.estimate:
        _say_estimate(planned, spending)
        return
    from builders.hub.card import require_card

    firsts = list({one.build.folder: one.build for one in reversed(planned)}.values())[::-1]  # of each task
    with reached(where.output):
        for first in firsts:
            require_card(first.folder)  # or a build would end without one
    if where.strict:
        require_whole_corpus(planned)
    for one in planned:
        build_planned(one, where, writing, spending)
    for first in firsts:
        if is_built(first):
            out.print(_loading(first), soft_wrap=True)


def _say_left_out(planned: Sequence[PlannedBuild], variants: Sequence[str]) -> None:
    """Prints the variants that "all" does not stand for, as the options do not suffice for them."""
    if ALL not in variants:
        return
    for task in dict.fromkeys(one.task for one in planned):
        built = {one.build.variant for one in planned if one.task is task}
        others = [name for name in task.variants if name not in built]
        if others:
            err.print(
                f"{task.name}: {ALL} leaves out {', '.join(others)}: these need other options; see synthctx list",
                soft_wrap=True,
            )


def _loading(build: Build) -> str:
    """A line that says how to load a variant."""
    if build.is_remote:  # which `load_dataset` does not know by such an address
        return f'Load one:  synthctx.load("{build.folder}:{build.variant}")'
    return f'Load one:  load_dataset("{build.folder}", "{build.variant}")'


def build_planned(
    planned: PlannedBuild, where: RunOptions, writing: WritingOptions, spending: Spending | None = None
) -> None:
    """Builds a variant. Before that, a language model writes its documents, if that is how they come."""
    with reached(where.output):
        _build_reached(planned, where, writing, spending)


def _build_reached(
    planned: PlannedBuild, where: RunOptions, writing: WritingOptions, spending: Spending | None
) -> None:
    if not planned.is_to_be_written:
        _build(planned, where)
        say_notes(planned)
        return
    with alone(planned.build):  # or another build would pay for the same
        if planned.is_to_be_written:
            say_notes(planned)  # before anything is paid for
            write_answers(planned, writing, spending or writing.spending(str(planned.examples.options.model)))
        _build(planned, where)


def _build(planned: PlannedBuild, where: RunOptions) -> None:
    from builders.build import build_part, build_variant
    from builders.forecast import noting

    job = planned.build
    part = parse_part(where.part) if where.part else None
    shards = part.of(job.planned) if part else job.planned
    missing, fresh = [], True
    with noting(planned) as built:
        try:
            with progress_bar(planned.name, sum(shard.rows for shard in shards)) as progress:
                if part:
                    missing = build_part(job, part, where.processes, where.ray, built.counted(progress))
                else:
                    fresh = build_variant(job, where.processes, where.ray, built.counted(progress))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; what is done lies in {job.staging}, and the same command goes on from there"
            ) from None
        if not missing:
            describe(planned, fresh, where.processes)
    if missing:
        out.print(
            f"{job.target}: part {part} is done; {len(missing)} of {len(job.planned)} shards are missing",
            soft_wrap=True,
        )


def describe(planned: PlannedBuild, fresh: bool, workers: int) -> None:
    """Brings the card up to date about a variant that is finished, and prints the outcome."""
    from builders.hub.card import update_card

    job, rows = planned.build, planned.rows
    with progress_bar(f"describing {job.variant}", rows) as progress:
        survey = update_card(planned.task, job, progress, workers=workers)
    if survey and job.options.corpus and survey.recurrence.is_high:
        rows_of = survey.recurrence
        err.print(
            f"{planned.name}: warning: a document of the corpus stands in {rows_of.most:,} of {rows_of.rows:,} rows, and each in "
            f"{rows_of.mean:,.1f} on average; a larger --corpus or a smaller --max-tokens gives more varied contexts",
            soft_wrap=True,
        )
    was = "" if fresh else " were there already, from the same configuration"
    source = ", from the sample that is built in" if planned.is_from_sample else ""
    out.print(f"{job.target}: {rows} examples{source}{was}", soft_wrap=True)


def say_notes(planned: PlannedBuild) -> None:
    """Prints what the variant did not take from its corpus."""
    examples = examples_of(planned.build)  # those of the build, which hold the corpus already
    for note in (*examples.notes(), *examples.remarks()):
        err.print(f"{planned.name}: {note}", soft_wrap=True)


def _say_estimate(planned: Sequence[PlannedBuild], spending: Spending) -> None:
    from builders.writing.run import estimate_writing

    written = [one.examples for one in planned if one.is_written]
    for one in planned:
        if one.is_written:
            say_notes(one)
        for line in one.examples.expression.outlook() if one.is_written else ():
            out.print(f"{one.name}: {line}", soft_wrap=True)
    out.print(writing_tables.cost(estimate_writing(written), spending, str(written[0].options.model)))


def write_answers(planned: PlannedBuild, writing: WritingOptions, spending: Spending) -> None:
    """Asks a language model for the answers that the variant lacks, and prints the outcome."""
    from builders.writing.run import write_missing

    try:
        with writing_tables.watching(planned.name) as watch:
            last, status = write_missing(planned.examples, writing, spending, watch)
    except KeyboardInterrupt:
        batch = "; what was handed in goes on at the endpoint" if writing.batch else ""
        raise KeyboardInterrupt(
            f"interrupted; every answer that came is kept in {planned.examples.options.answer_store}{batch}, and the same command "
            "goes on from there"
        ) from None
    out.print(f"{planned.name}: {writing_tables.progress_line(status)}", soft_wrap=True)
    if last.editor.rejected:
        out.print(writing_tables.rejections(last.editor))
