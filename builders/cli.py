"""The `synthctx` command."""

import io
import os
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.progress import Progress

from builders import TASKS, find_task, flags, stored
from builders.push import Sink, push
from builders.terminal import COLUMNS, INTERRUPTED, err, out, progress_bar
from synthctx_data import __version__
from synthctx_data.errors import BuildError, SynthctxError, UsageError, WriterError
from synthctx_data.options import UNIFORM, Options

if TYPE_CHECKING:
    from builders.examples import Examples
    from builders.writing import WritingOptions
    from synthctx_data.prices import Purse
    from synthctx_data.writer import Status

app = typer.Typer(
    help="Synthetic long-context data sets: list what there is, build it, look at it, check it, publish it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(stored.app, name="answers")
app.command()(push)
_SILENCE = 60  # seconds between signs of life where there is no terminal


def main() -> None:
    """Runs the command line; an error is one line on standard error, and exit code 2 (usage) or 1."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # workers are processes
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows another
    try:
        code = app(standalone_mode=False)
    except SynthctxError as error:
        code = _complain(str(error), error.exit_code)
    except typer.TyperException as error:
        if not error.format_message():  # no arguments at all: the help was shown
            sys.exit(error.exit_code)
        given = shlex.join(sys.argv[1:])
        code = _complain(f"{error.format_message().rstrip('.')}; got: {given} (try --help)", error.exit_code)
    except (OSError, MemoryError) as error:
        code = _complain(f"{type(error).__name__}: {error}", 1)
    except Exception as error:
        if os.environ.get("SYNTHCTX_TRACEBACK"):
            raise
        code = _complain(
            f"this is a fault of synthctx or of a file that it read: {type(error).__name__}: {error}; "
            "please report it with what SYNTHCTX_TRACEBACK=1 prints",
            1,
        )
    if code == INTERRUPTED:
        code = _complain("interrupted", 1)
    sys.exit(code or 0)


def _complain(message: str, code: int) -> int:
    print("synthctx: " + " ".join(message.split()), file=sys.stderr)
    return code


@app.callback(invoke_without_command=True)
def top(version: flags.Version = False) -> None:
    """Synthetic long-context data sets: list what there is, build it, look at it, check it, publish it."""
    if version:
        print(f"synthctx {__version__}")
        raise typer.Exit


@app.command("list")
def list_() -> None:
    """List tasks and variants, and what each needs."""
    from builders.views import grid

    out.print(grid(TASKS.values()))
    out.print("Real variants take at most as many examples as the corpus has questions: see --train and --validation.")
    out.print(
        "Build:  synthctx build mdqa_synth templated_haystack symbolic_haystack --max-tokens 4096", soft_wrap=True
    )


@app.command()
def build(
    context: typer.Context,
    task: flags.Task,
    variants: flags.Variants,
    max_tokens: flags.MaxTokens = Options.max_tokens,
    tokenizer: flags.Tokenizer = None,
    train: flags.Train = None,
    validation: flags.Validation = None,
    seed: flags.Seed = Options.seed,
    depth: flags.Depth = UNIFORM,
    corpus: flags.Corpus = None,
    corpus_text_column: flags.CorpusTextColumn = Options.corpus_text_column,
    distractors: flags.Distractors = Options.distractors,
    dense_model: flags.DenseModel = Options.dense_model,
    key_style: flags.KeyStyle = Options.key_style,
    hops: flags.Hops = Options.hops,
    insight_wording: flags.InsightWording = Options.insight_wording,
    model: flags.Model = None,
    endpoint: flags.Endpoint = None,
    api_key_file: flags.ApiKeyFile = None,
    store: flags.Store = None,
    pool_size: flags.PoolSize = None,
    estimate: flags.Estimate = False,
    prices: flags.Prices = None,
    budget_usd: flags.BudgetUsd = None,
    concurrency: flags.Concurrency = 16,
    requests_per_minute: flags.RequestsPerMinute = None,
    tokens_per_minute: flags.TokensPerMinute = None,
    timeout: flags.Timeout = 600,
    batch: flags.Batch = False,
    output: flags.Output = Path("synthctx"),
    workers: flags.Workers = None,
    shards: flags.Shards = None,
    ray: flags.Ray = None,
) -> None:
    """Build variants of a task as Parquet files that load_dataset opens.

    Called again after an interruption, it goes on where it stopped.
    """
    from builders.card import update_card
    from builders.examples import Examples
    from builders.shards import Build, is_built
    from builders.shards import build as build_variant
    from builders.writing import WritingOptions, expression_of
    from synthctx_data.access import EndpointOptions

    options = Options(
        max_tokens=max_tokens,
        tokenizer=tokenizer,
        train=train,
        validation=validation,
        seed=seed,
        depth=depth,
        corpus=tuple(corpus or ()),
        corpus_text_column=corpus_text_column,
        distractors=distractors,
        dense_model=dense_model,
        key_style=key_style,
        hops=hops,
        insight_wording=insight_wording,
        model=model,
        pool_size=pool_size,
    )
    found = find_task(task)
    where = EndpointOptions(endpoint, api_key_file, concurrency, requests_per_minute, tokens_per_minute, timeout)
    how = WritingOptions(where, prices, budget_usd, batch)
    jobs = []
    for variant in variants:
        mine = options
        if "store" in found.variant(variant).expression.reads:
            mine = replace(options, store=str(store or output / "answers.sqlite"))
        jobs.append(Build(task, variant, mine, output.expanduser() / task, shards))
    examples = [Examples(found, job.variant, job.options) for job in jobs]  # which refuse what they cannot read
    written = [one for one in examples if "model" in one.options.changed() and expression_of(one)]
    _require_use(written, how, estimate or store is not None)
    if estimate:
        _say_estimate(written, how)
        return
    purse = how.purse(str(model))
    for job, one in zip(jobs, examples, strict=True):
        if one in written and not is_built(job):
            _write(one, how, purse)
        sink: Sink | None = context.obj  # of synthctx push --from-variant
        if sink is not None:
            sink(found, job, workers or _cores())
            continue
        rows = sum(one.sizes.values())
        try:
            with progress_bar(f"{task} {job.variant}", rows) as progress:
                fresh = build_variant(job, workers or _cores(), ray, progress)
        except KeyboardInterrupt:
            raise BuildError(
                f"interrupted; what is done lies in {job.staging}, and the same command goes on from there"
            ) from None
        with progress_bar(f"describing {job.variant}", rows) as progress:
            update_card(found, job, progress)
        was = "" if fresh else " were there already, from the same configuration"
        source = ", from the sample that is built in" if "model" in one.reads and model is None else ""
        out.print(f"{job.target}: {rows} examples{source}{was}", soft_wrap=True)
    if context.obj is None:
        out.print(f'Load one:  load_dataset("{output / task}", "{variants[0]}")', soft_wrap=True)


def _require_use(written: list["Examples"], how: "WritingOptions", asked: bool) -> None:
    """Raises: UsageError for options that only writing reads, where nothing is to be written."""
    if not written and (asked or how != type(how)()):
        raise UsageError(
            "--estimate, --store, --endpoint, --budget-usd and so on are read where a language model writes: name an llm variant and "
            "a --model"
        )


def _say_estimate(written: list["Examples"], how: "WritingOptions") -> None:
    from builders.bill import cost
    from builders.writing import estimate

    model = str(written[0].options.model)
    out.print(cost(estimate(written), how.purse(model), model))


def _write(examples: "Examples", how: "WritingOptions", purse: "Purse") -> None:
    """Has written what the variant misses, and says what came of it."""
    from builders.bill import rejections, writing
    from builders.writing import write

    what = f"{examples.task.name} {examples.variant}"
    with Progress(*COLUMNS, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what)
        said = time.monotonic() - _SILENCE

        def watch(status: "Status") -> None:
            nonlocal said
            bar.update(task, total=status.units, completed=status.done, description=f"{what}: {writing(status)}")
            if bar.disable and (status.answered or status.note) and time.monotonic() - said >= _SILENCE:
                said = time.monotonic()
                err.print(f"{what}: {status.done:,} of {status.units:,} units, {writing(status)}", soft_wrap=True)

        try:
            last, status = write(examples, how, purse, watch)
        except KeyboardInterrupt:
            batch = "; what was handed in goes on at the endpoint" if how.batch else ""
            raise WriterError(
                f"interrupted; every answer that came is kept in {examples.options.store}{batch}, and the same command goes on from there"
            ) from None
    out.print(f"{what}: {writing(status)}", soft_wrap=True)
    if last.editor.rejected:
        out.print(rejections(last.editor))


@app.command()
def show(
    folder: flags.Folder,
    variant: flags.Variant,
    split: flags.Split = "train",
    index: flags.Index = 0,
    revision: flags.Revision = None,
) -> None:
    """Show one example: its needles coloured, the haystack folded."""
    from builders.folder import find_variants
    from builders.views import example

    (found,) = find_variants(folder, [variant], revision)
    seen = 0
    for row_split, row in found.rows():
        if row_split == split and seen == index:
            out.print(example(row), soft_wrap=True)
            return
        seen += row_split == split
    raise UsageError(
        f"expected --split train or validation, and an --index below its examples; {variant} has {seen} in {split!r}"
    )


@app.command()
def check(
    folder: flags.Folder,
    variants: flags.SomeVariants = None,
    max_tokens: flags.Budget = None,
    depth: flags.AskedDepth = None,
    tokenizer: flags.UsedTokenizer = None,
    revision: flags.Revision = None,
) -> None:
    """Check a data set for faults: leaks, repetitions, skewed depths, underfull contexts, wrong spans.

    The exit code is 1 if there is a fault.
    """
    from builders.checking import examine, expected
    from builders.folder import find_variants
    from builders.views import report

    ok = True
    for variant in find_variants(folder, variants or [], revision):
        with progress_bar(f"checking {variant.name}", variant.count()) as progress:
            examined = examine(variant, expected(variant.manifest, max_tokens, depth, tokenizer), progress)
        out.print(report(variant.name, examined))
        ok = ok and examined.report.ok
    if not ok:
        raise typer.Exit(1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
