"""Data set builders: the tasks, by name, and the code that builds, shows, checks and publishes their data sets."""

from builders import mdqa_synth, musique_synth, summhay_synth
from synthctx_data.errors import UsageError
from synthctx_data.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (mdqa_synth.TASK, musique_synth.TASK, summhay_synth.TASK)}


def find_task(name: str) -> Task:
    """The task of this name.

    Raises: UsageError if there is none.
    """
    if name not in TASKS:
        raise UsageError(f"expected a task, one of {', '.join(TASKS)}; got {name!r}")
    return TASKS[name]
