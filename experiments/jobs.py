"""The jobs of an experiment, in stages, in a pool of processes that ends with the run and shows its progress."""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.plans import Whole
from synthctx_data.command import err
from synthctx_data.errors import ConflictError
from synthctx_data.files import write_json
from synthctx_data.processes import begin_work
from training import run_folder

_TOLD: list[Any] = []  # in a worker, the queue for its progress


@dataclass(frozen=True)
class Job:
    """A job of a stage: its name, the seconds that it takes on one core (an estimate), and its call.

    A job that `tells` gets one more argument: a function to call with the share of the job that is done.
    """

    name: str
    seconds: float
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    tells: bool = False


def run_stages(stages: Sequence[Sequence[Job]], output: Path, workers: int | None) -> None:
    """Does the jobs stage by stage; those of a stage at the same time, in as many processes as there are workers (None: cores).

    Each process computes with one thread. The output of a job goes into a file in `output`/logs.

    Raises: ConflictError if another run is at work in the folder.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # in the workers
    context = multiprocessing.get_context("spawn")
    told = context.SimpleQueue()
    total = sum(job.seconds for stage in stages for job in stage)
    with (
        _alone(output),
        ProcessPoolExecutor(workers or os.cpu_count() or 1, context, _follow, (told,)) as pool,
        _progress(total) as advance,
        _no_worker_left(),
    ):
        for stage in stages:
            _finish([pool.submit(_work, job, output / "logs") for job in stage], stage, told, advance)


def begin(root: Path, plan: Whole, holding: str) -> None:
    """Records the plan of a run in its folder, unless the run is finished there. `holding` is a pattern of what a run leaves there.

    Raises: ConflictError if the folder holds a run of another plan.
    """
    if not run_folder.is_finished(root, plan.flat(), holding):
        run_folder.record(root, plan.flat())


def once(root: Path, name: str, call: Callable[..., None], *arguments: Any) -> None:
    """Does a job, unless it is done. A file in `root`/done says so, with the seconds that the process computed, whatever ran beside it."""
    done = root / "done" / f"{name}.json"
    if done.exists():
        return
    started = time.process_time()
    call(*arguments)
    done.parent.mkdir(parents=True, exist_ok=True)
    write_json(done, {"seconds": round(time.process_time() - started, 1)})


def seconds(root: Path) -> float:
    """The seconds that all jobs of a run computed, each on one core. A job within another counts with it."""
    files = [file for file in (root / "done").glob("*.json") if not file.stem.startswith("tune-")]
    return float(sum(json.loads(file.read_text())["seconds"] for file in files))


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
    begin_work()


def _work(job: Job, logs: Path) -> None:
    """Does a job in a worker. Its output goes into a log file. The progress of a job that tells it goes to the run."""
    logs.mkdir(parents=True, exist_ok=True)
    extra = (lambda share: _TOLD[0].put((job.name, share)),) if job.tells else ()
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
    return sum(job.seconds * shares[job.name] for job in stage)


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
        shown = progress.add_task("", total=total)

        def advance(done: float | None, finished: str) -> None:
            nonlocal before, present
            before, present = (before + present, 0.0) if done is None else (before, done)
            progress.update(shown, completed=before + present)
            if finished:
                progress.update(shown, description=finished)
                if not err.is_terminal:
                    err.print(finished)

        yield advance
