"""Runs the paper in miniature: python experiments/miniature/run.py"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from filelock import FileLock, Timeout
from pydantic import Field
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.miniature.plan import HERE, REAL, REFERENCE, load_plan
from synthctx_data.command import err, run, script
from synthctx_data.errors import ConflictError
from synthctx_data.option_model import OptionModel
from training import run_folder

_HELP = """\
Runs the paper in miniature, on two cores in an hour.

For example:
  python experiments/miniature/run.py
  python experiments/miniature/run.py --plan experiments/miniature/smoke.yaml \\
      --output mini/smoke --report mini/smoke.md
"""
_NOTES = """\
It trains base models from scratch and tunes them on every variant at four
times their context. It evaluates them, finds, compares, knocks out and
patches their heads, and writes REPRODUCTION.md: which of the paper's claims
hold here. Sizes, phases, learning rates, thresholds and gates are in
plan.yaml. Called again after an interruption, it goes on where it stopped.
"""
# Seconds that a job takes on one core, by its kind, for an estimate of the time left.
_SECONDS = {"data": 50, "base": 600, "copy": 1, "examine": 25, "tune": 44, "knock": 330, "patch": 33, "compare": 10}
_TOLD: list[Any] = []  # in a worker, the queue for its progress


class MiniatureOptions(OptionModel):
    """The options of a run."""

    output: Path = Path("mini")
    """The folder of all that is made."""
    report: Path = Path("REPRODUCTION.md")
    """The report."""
    plan: Annotated[Path, Parameter(show_default=False)] = HERE / "plan.yaml"
    """The plan. Default: plan.yaml beside this script."""
    workers: Annotated[int | None, Field(ge=1)] = None
    """Processes. Default: one for each core."""


@dataclass(frozen=True)
class Job:
    """A job of a stage: its name, its kind, and its call."""

    name: str
    kind: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]


def main(options: MiniatureOptions, _: str) -> None:
    """Runs what is not done yet, stage by stage, and writes the report."""
    os.environ["OMP_NUM_THREADS"] = "1"  # in the workers: more threads do not pay for a model this small

    from experiments.miniature.report import write_report
    from experiments.miniature.stages import Study

    output = options.output
    study = Study(output, load_plan(options.plan))
    if not run_folder.is_finished(output, study.plan.flat(), "base-*"):
        run_folder.record(output, study.plan.flat())
    stages = list(_stages(study))
    context = multiprocessing.get_context("spawn")
    told = context.SimpleQueue()
    total = sum(_SECONDS[job.kind] for stage in stages for job in stage)
    with (
        _alone(output),
        ProcessPoolExecutor(options.workers or os.cpu_count() or 1, context, _follow, (told,)) as pool,
        _progress(total) as advance,
        _no_worker_left(),
    ):
        for stage in stages:
            _finish([pool.submit(_work, job, output / "logs") for job in stage], stage, told, advance)
    print(write_report(study, options.report, options.plan))


@contextlib.contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Keeps a second run out of the folder.

    Raises: ConflictError if another run is at work there.
    """
    try:
        with FileLock(output / ".lock", timeout=0):
            yield
    except Timeout:
        raise ConflictError(
            f"--output {output}: another run is at work there; wait for it, or give another --output"
        ) from None


@contextlib.contextmanager
def _no_worker_left() -> Iterator[None]:
    """Ends the workers at once if the run is interrupted or a job fails. The next run resumes their jobs."""
    try:
        yield
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise


def _follow(told: Any) -> None:
    """Makes a process a worker. It leaves Ctrl-C to the run, ends when the run ends, and puts its progress into `told`."""
    _TOLD.append(told)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run = multiprocessing.parent_process()
    assert run is not None

    def watch() -> None:
        connection.wait([run.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _stages(study: Any) -> Iterator[Sequence[Job]]:
    """The stages in order. The jobs of a stage can run at the same time."""
    from experiments.miniature import stages
    from experiments.miniature.base import make_base, take_base

    plan = study.plan
    yield [Job("data", "data", stages.build_data, (study,))]
    if plan.checkpoint:
        (b,) = plan.bases
        yield [Job(f"base {b}", "copy", take_base, (Path(plan.checkpoint), study.base(b), plan.base))]
    else:
        yield [Job(f"base {b}", "base", make_base, (study.base(b), plan.base, b)) for b in plan.bases]
    tuned = [(variant, seed) for seed in plan.seeds for variant in plan.variants]
    yield [
        *(Job(f"examine base {b}", "examine", stages.examine_base, (study, b)) for b in plan.bases),
        *(
            Job(f"tune base {b} on {variant}, seed {seed}", "tune", stages.tune, (study, b, variant, seed))
            for variant, seed in [(REAL, REFERENCE), *tuned]
            for b in plan.bases
        ),
    ]
    yield [
        *(Job(f"knock out base {b}", "knock", stages.knock_out_base, (study, b)) for b in plan.bases),
        *(
            Job(f"patch base {b} on {variant}", "patch", stages.patch_from_real, (study, b, variant))
            for b in plan.bases
            for variant in plan.variants
            if variant != REAL
        ),
        *(Job(f"compare base {b}", "compare", stages.compare_heads, (study, b)) for b in plan.bases),
    ]


def _work(job: Job, logs: Path) -> None:
    """Does a job in a worker. Its output goes into a log file. The progress of a base goes to the run."""
    logs.mkdir(parents=True, exist_ok=True)
    extra = (lambda share: _TOLD[0].put((job.name, share)),) if job.kind == "base" else ()
    file = logs / f"{job.name.replace(' ', '_')}.log"
    with file.open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())  # the output of libraries that hold a stream goes there too
    job.call(*job.arguments, *extra)


def _finish(futures: Sequence[Future[None]], stage: Sequence[Job], told: Any, advance: Callable[..., None]) -> None:
    """Waits for the jobs of a stage, and reports their progress to `advance`."""
    names = dict(zip(futures, stage, strict=True))
    shares = dict.fromkeys((job.name for job in stage), 0.0)
    waiting = set(futures)
    while waiting:
        with contextlib.suppress(TimeoutError):
            for future in as_completed(waiting, timeout=2):
                waiting.discard(future)
                future.result()
                shares[names[future].name] = 1.0
                advance(_done(stage, shares), names[future].name)
        while not told.empty():
            name, share = told.get()
            shares[name] = max(shares[name], share)
        advance(_done(stage, shares), "")
    advance(None, "")


def _done(stage: Sequence[Job], shares: dict[str, float]) -> float:
    return sum(_SECONDS[job.kind] * shares[job.name] for job in stage)


@contextlib.contextmanager
def _progress(total: float) -> Iterator[Callable[[float | None, str], None]]:
    """A function that shows progress, from the seconds done in the present stage (None at its end) and a finished job's name."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
    )
    before = present = 0.0
    with Progress(*columns, console=err) as progress:
        shown = progress.add_task("data", total=total)

        def advance(done: float | None, finished: str) -> None:
            nonlocal before, present
            before, present = (before + present, 0.0) if done is None else (before, done)
            progress.update(shown, completed=before + present)
            if finished:
                progress.update(shown, description=finished)
                if not err.is_terminal:
                    err.print(finished)

        yield advance


app = script("mini", MiniatureOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
