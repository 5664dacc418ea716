"""A task's `datasets` builder, made when it is first used: importing datasets takes longer than listing the tasks."""

from collections.abc import Callable
from typing import Any

from synthctx_data.task import Task


def lazy_builder(name: str, task: Task, module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a task's module. It gives the builder under the builder's name, and no other attribute."""

    def get(wanted: str) -> Any:
        if wanted == name:
            from builders.hf_builder import builder_class

            return builder_class(name, task, module)
        raise AttributeError(f"module {module!r} has no attribute {wanted!r}")

    return get
