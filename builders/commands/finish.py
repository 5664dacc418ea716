"""synthctx finish: the end of a build whose parts were written by several calls."""

from typing import Annotated

from cyclopts import Parameter

from builders.build import finish as finish_variant
from builders.commands.build import TaskName, VariantNames, describe
from builders.planned_build import RunOptions, plan_named
from synthctx_data.command import OptionsFile
from synthctx_data.errors import BuildError, UsageError
from synthctx_data.option_model import flag
from synthctx_data.options import Options
from synthctx_data.places import reached

_NAMED = 3  # missing shards that are named
_NOT_READ = ("part", "estimate", "ray")


def finish(
    task: TaskName,
    variants: VariantNames,
    /,
    *,
    options: Annotated[Options, Parameter(name="*")] = Options(),
    where: Annotated[RunOptions, Parameter(name="*")] = RunOptions(),
    config: OptionsFile = None,
) -> None:
    """Moves variants whose shards are all there to their places, and writes their card."""
    for name in where.changed():
        if name in _NOT_READ:
            raise UsageError(f"{flag(name)}: finish writes no shard, and does not read it; leave it out")
    unfinished: list[str] = []
    for planned in plan_named([task, *variants], options, where):
        with reached(where.output):
            missing = finish_variant(planned.build)
        if missing:
            named = ", ".join(shard.name for shard in missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
            unfinished.append(
                f"expected all shards of {planned.name} in {planned.build.staging}, and {len(missing)} of {len(planned.build.planned)} are "
                f"missing ({named}); build the parts that they belong to again, or call synthctx build with the same options without --part"
            )
            continue
        with reached(where.output):
            describe(planned, True, where.processes)
    if unfinished:
        raise BuildError("; ".join(unfinished))
