"""The `synthctx` command."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from builders import TASKS, find_task
from synthctx_data import __version__
from synthctx_data.errors import BuildError, SynthctxError, UsageError
from synthctx_data.options import UNIFORM, Options, parse_depth

app = typer.Typer(
    help="Synthetic long-context data sets: list what there is, build it, look at it, check it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)

TaskName = Annotated[str, typer.Argument(help="A task, e.g. mdqa_synth.", show_default=False)]
Folder = Annotated[
    str, typer.Argument(help="A built folder, e.g. synthctx/mdqa_synth, or a Hub id.", show_default=False)
]


def main() -> None:
    """Runs the command line; an error is one line on standard error, and exit code 2 (usage) or 1."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # workers are processes
    try:
        code = app(standalone_mode=False)
    except SynthctxError as error:
        code = _complain(str(error), error.exit_code)
    except typer.TyperException as error:
        given = shlex.join(sys.argv[1:])
        code = _complain(f"{error.format_message().rstrip('.')}; got: {given} (try --help)", error.exit_code)
    except (OSError, MemoryError) as error:
        code = _complain(f"{type(error).__name__}: {error}", 1)
    sys.exit(code or 0)


def _complain(message: str, code: int) -> int:
    print("synthctx: " + " ".join(message.split()), file=sys.stderr)
    return code


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Synthetic long-context data sets: list what there is, build it, look at it, check it."""
    if version:
        print(f"synthctx {__version__}")
        raise typer.Exit


@app.command("list")
def list_() -> None:
    """List tasks and variants, and what each needs."""
    from builders.views import grid

    out.print(grid(TASKS.values()))
    out.print("Build:  synthctx build mdqa_synth templated_haystack symbolic_haystack --max-tokens 4096", soft_wrap=True)


@app.command()
def build(
    task: TaskName,
    variants: Annotated[list[str], typer.Argument(metavar="VARIANT...", help="Variants, e.g. symbolic_haystack.", show_default=False)],
    max_tokens: Annotated[int, typer.Option(help="Tokens of the whole training sequence, chat template and answer included; 512 to 1048576.")] = Options.max_tokens,
    tokenizer: Annotated[str | None, typer.Option(help="What counts them: a tokenizer.json, a folder that holds one, or a Hub id. [default: the bundled one]", show_default=False)] = None,
    train: Annotated[int | None, typer.Option(help="Examples to train on. [default: the paper's, e.g. 1260 for MDQA]", show_default=False)] = None,
    validation: Annotated[int | None, typer.Option(help="Examples to validate on. [default: the paper's, e.g. 140 for MDQA]", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives other examples.")] = Options.seed,
    depth: Annotated[str, typer.Option(help="Where needles stand: uniform, or depths from 0 (first) to 1 (last), taken in turn, e.g. 0.0,0.5,1.0.")] = UNIFORM,
    corpus: Annotated[list[str] | None, typer.Option(help="Real questions and documents, for real variants: .jsonl, .jsonl.gz, .parquet, .txt or .md, a folder of them, or a Hub id. May be given again.", show_default=False)] = None,
    distractors: Annotated[str, typer.Option(help="How real distractors are ranked: bm25, dense or random.")] = Options.distractors,
    dense_model: Annotated[str, typer.Option(help="The encoder for --distractors dense: a folder or a Hub id.")] = Options.dense_model,
    key_style: Annotated[str, typer.Option(help="What symbolic keys and values are: uuid, integer or word.")] = Options.key_style,
    output: Annotated[Path, typer.Option(help="Folder that the data set goes into, as OUTPUT/TASK.")] = Path("synthctx"),
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Any number gives the same rows. [default: one a core]", show_default=False)] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="Parquet files of each split. Any number gives the same rows. [default: one for 2**24 tokens]", show_default=False)] = None,
    ray: Annotated[str | None, typer.Option(help="Build on the Ray cluster of this address, e.g. auto, instead of in processes.", show_default=False)] = None,
) -> None:  # fmt: skip
    """Build variants of a task as Parquet files that load_dataset opens.

    Called again after an interruption, it goes on where it stopped.
    """
    from builders.card import update_card
    from builders.shards import Build
    from builders.shards import build as build_variant

    options = Options(max_tokens, tokenizer, train, validation, seed, depth, tuple(corpus or ()), distractors, dense_model, key_style)
    found = find_task(task)
    for variant in variants:
        found.variant(variant)
    for variant in variants:
        job = Build(task, variant, options, output / task, shards)
        rows = sum(found.sizes(options).values())
        try:
            with _progress(f"{task} {variant}", rows) as progress:
                fresh = build_variant(job, workers or _cores(), ray, progress)
        except KeyboardInterrupt:
            raise BuildError(
                f"interrupted; what is done lies in {job.staging}, and the same command goes on from there"
            ) from None
        update_card(found, job)
        out.print(f"{job.target}: {rows} examples{'' if fresh else ' were there already, from the same configuration'}")
    out.print(f'Load one:  load_dataset("{output / task}", "{variants[0]}")', highlight=False, soft_wrap=True)


@app.command()
def show(
    folder: Folder,
    variant: Annotated[str, typer.Argument(help="A variant, e.g. symbolic_haystack.", show_default=False)],
    split: Annotated[str, typer.Option(help="train or validation.")] = "train",
    index: Annotated[int, typer.Option(min=0, help="Which example of the split.")] = 0,
) -> None:
    """Show one example: its needles coloured, the haystack folded."""
    from builders.folder import find_variants
    from builders.views import example

    (found,) = find_variants(folder, [variant])
    seen = 0
    for row_split, row in found.rows():
        if row_split == split and seen == index:
            out.print(example(row), soft_wrap=True)
            return
        seen += row_split == split
    raise UsageError(f"expected --split and --index of an example that is there; {variant} has {seen} in {split!r}")


@app.command()
def check(
    folder: Folder,
    variants: Annotated[list[str] | None, typer.Argument(metavar="[VARIANT]...", help="Variants; all of the folder if none is given.", show_default=False)] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The budget. [default: what build.json says, else the largest row's tokens]", show_default=False)] = None,
    depth: Annotated[str | None, typer.Option(help="The depths asked for. [default: what build.json says, else uniform]", show_default=False)] = None,
    tokenizer: Annotated[str | None, typer.Option(help="The tokenizer, to count num_tokens again. [default: the bundled one where it was used]", show_default=False)] = None,
) -> None:  # fmt: skip
    """Check a data set for faults: leaks, repetitions, skewed depths, underfull contexts, wrong spans.

    The exit code is 1 if there is a fault.
    """
    from builders.folder import find_variants
    from builders.views import report
    from synthctx_data.checks import Checker, Expected
    from synthctx_data.tokens import load_counter

    ok = True
    for variant in find_variants(folder, variants or []):
        known = variant.manifest
        counter = load_counter(tokenizer)
        asked = depth if depth is not None else known.get("depth", UNIFORM)
        recount = tokenizer is not None or known.get("tokenizer") == counter.identity
        expected = Expected(max_tokens or known.get("max_tokens"), parse_depth(asked), counter if recount else None)
        checker = Checker(expected)
        with _progress(f"checking {variant.name}", variant.count()) as progress:
            for split, row in variant.rows():
                checker.add(split, row)
                progress(1)
        found = checker.report()
        out.print(report(variant.name, found, recounted=recount))
        ok = ok and found.ok
    if not ok:
        raise typer.Exit(1)


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, which is gone when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda rows: bar.advance(task, rows)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
