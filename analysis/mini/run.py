"""The paper in miniature: python analysis/mini/run.py

Trains base models from scratch, tunes them on every variant at four times their context, evaluates, finds, compares, knocks out and patches
their heads, and writes REPRODUCTION.md: what of the paper's claims holds here.
Sizes, phases, learning rates, thresholds and gates are in plan.yaml. Called again after an interruption, it goes on where it stopped.
"""

import argparse
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
from typing import Any

from filelock import FileLock, Timeout

sys.path[0] = str(Path(__file__).resolve().parents[2])  # so that it runs as a script from a checkout

from analysis.mini.plan import HERE, REAL, REFERENCE, load_plan  # noqa: E402
from synthctx_data.errors import ConflictError, UsageError  # noqa: E402
from training import runs  # noqa: E402
from training.cli import errors_in_one_line  # noqa: E402

# What a task takes, in seconds of a core: for the time left.
_SECONDS = {"data": 50, "base": 600, "copy": 1, "examine": 25, "tune": 44, "knock": 60, "patch": 10, "compare": 10}
_TOLD: list[Any] = []  # in a worker, the queue where it says how far it is


@dataclass(frozen=True)
class Task:
    """A task's name, its kind, and its call."""

    name: str
    kind: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output", type=Path, default=Path("mini"), help="the folder of all that is made (default: mini)"
    )
    parser.add_argument(
        "--report", type=Path, default=Path("REPRODUCTION.md"), help="the report (default: REPRODUCTION.md)"
    )
    parser.add_argument("--plan", type=Path, default=HERE / "plan.yaml", help="another plan")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers: a model this small is not worth more
    with errors_in_one_line("mini"):
        run(options.output, options.report, options.plan, options.workers)


def run(output: Path, report: Path, plan: Path, workers: int) -> None:
    """Makes all that is not there yet, stage by stage, and the report."""
    from analysis.mini.report import write_report
    from analysis.mini.tasks import Study

    if workers < 1:
        raise UsageError(f"--workers: expected 1 process or more, got {workers}")
    study = Study(output, load_plan(plan))
    if not runs.check(output, study.plan.flat(), "base-*"):
        runs.record(output, study.plan.flat())
    stages = list(_stages(study))
    context = multiprocessing.get_context("spawn")
    told = context.SimpleQueue()
    total = sum(_SECONDS[task.kind] for stage in stages for task in stage)
    with (
        _alone(output),
        ProcessPoolExecutor(workers, context, _follow, (told,)) as pool,
        _progress(total) as advance,
        _no_worker_left(),
    ):
        for stage in stages:
            _finish([pool.submit(_work, task, output / "logs") for task in stage], stage, told, advance)
    print(write_report(study, report, plan))


@contextlib.contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Keeps a second run out of the folder.

    Raises: ConflictError if one is at work there.
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
    """Ends the workers at once if the run is interrupted, or a task fails: what they were doing is resumed, not finished."""
    try:
        yield
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise


def _follow(told: Any) -> None:
    """Makes a process a worker: it leaves Ctrl-C to the run, dies when that does, and says there how far it is."""
    _TOLD.append(told)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run = multiprocessing.parent_process()
    assert run is not None

    def watch() -> None:
        connection.wait([run.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _stages(study: Any) -> Iterator[Sequence[Task]]:
    """Tasks that can be done at once, stage after stage."""
    from analysis.mini import tasks
    from analysis.mini.base import make_base, take_base

    plan = study.plan
    yield [Task("data", "data", tasks.build_data, (study,))]
    if plan.checkpoint:
        (b,) = plan.bases
        yield [Task(f"base {b}", "copy", take_base, (Path(plan.checkpoint), study.base(b), plan.base))]
    else:
        yield [Task(f"base {b}", "base", make_base, (study.base(b), plan.base, b)) for b in plan.bases]
    tuned = [(variant, seed) for seed in plan.seeds for variant in plan.variants]
    yield [
        *(Task(f"examine base {b}", "examine", tasks.examine_base, (study, b)) for b in plan.bases),
        *(
            Task(f"tune base {b} on {variant}, seed {seed}", "tune", tasks.tune, (study, b, variant, seed))
            for variant, seed in [(REAL, REFERENCE), *tuned]
            for b in plan.bases
        ),
    ]
    yield [
        *(Task(f"knock out base {b}", "knock", tasks.knock_out, (study, b)) for b in plan.bases),
        *(
            Task(f"patch base {b} on {variant}", "patch", tasks.patch_from_real, (study, b, variant))
            for b in plan.bases
            for variant in plan.variants
            if variant != REAL
        ),
        *(Task(f"compare base {b}", "compare", tasks.compare_heads, (study, b)) for b in plan.bases),
    ]


def _work(task: Task, logs: Path) -> None:
    """Does a task in a worker, whose words go into a file; those that say how far they are are heard."""
    logs.mkdir(parents=True, exist_ok=True)
    extra = (lambda share: _TOLD[0].put((task.name, share)),) if task.kind == "base" else ()
    file = logs / f"{task.name.replace(' ', '_')}.log"
    with file.open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())  # what libraries hold on to goes there too
    task.call(*task.arguments, *extra)


def _finish(futures: Sequence[Future[None]], stage: Sequence[Task], told: Any, advance: Callable[..., None]) -> None:
    """Waits for a stage, and tells how far it is."""
    names = dict(zip(futures, stage, strict=True))
    shares = dict.fromkeys((task.name for task in stage), 0.0)
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


def _done(stage: Sequence[Task], shares: dict[str, float]) -> float:
    return sum(_SECONDS[task.kind] * shares[task.name] for task in stage)


@contextlib.contextmanager
def _progress(total: float) -> Iterator[Callable[[float | None, str], None]]:
    """What shows how much of the stages is done: the seconds of the present one, or None at its end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
    )
    console = Console(stderr=True)
    before = present = 0.0
    with Progress(*columns, console=console) as progress:
        shown = progress.add_task("data", total=total)

        def advance(done: float | None, finished: str) -> None:
            nonlocal before, present
            before, present = (before + present, 0.0) if done is None else (before, done)
            progress.update(shown, completed=before + present)
            if finished:
                progress.update(shown, description=finished)
                if not console.is_terminal:
                    console.print(finished)

        yield advance


if __name__ == "__main__":
    main()
