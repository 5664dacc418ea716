"""Makes a task's `datasets` builder when it is asked for: importing datasets takes longer than listing the tasks."""

from collections.abc import Callable
from typing import Any

from synthctx_data.task import Task


def lazy_builder(name: str, task: Task, module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a task's module: gives the builder under its name, and nothing else."""

    def get(wanted: str) -> Any:
        if wanted == name:
            from builders.hf_builder import builder_class

            return builder_class(name, task, module)
        raise AttributeError(f"module {module!r} has no attribute {wanted!r}")

    return get
