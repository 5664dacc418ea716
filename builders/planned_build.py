"""Planned builds, made from options. `synthctx build` and `synthctx push --from-variant` begin with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import Field, field_validator

from builders import TASKS, find_task
from builders.build import is_built
from builders.examples import Examples
from builders.parts import parse_part
from builders.shards import Build, examples_of
from builders.writing.options import WritingOptions
from builders.writing.run import expression_of
from synthctx_data.command import processes
from synthctx_data.errors import CorpusError, UsageError
from synthctx_data.files import Place
from synthctx_data.option_model import OptionModel, flag, panel
from synthctx_data.options import COMMON, Options
from synthctx_data.places import at, is_remote
from synthctx_data.task import Task

ALL = "all"  # in place of names: every variant that the options suffice for
_PANEL = panel("Where and how", 6)


class RunOptions(OptionModel):
    """The options that say where and how a data set is built. None of them decides a row."""

    output: Annotated[str, Field(min_length=1), _PANEL] = "synthctx"
    """The folder that the data set goes into, as OUTPUT/TASK: a local one, or one of a store such as s3://bucket/folder."""
    workers: Annotated[int | None, Field(ge=1), _PANEL] = None
    """Processes. Any number gives the same rows. Default: one for each core."""
    shards: Annotated[int | None, Field(ge=1), _PANEL] = None
    """Parquet files of each split. Any number gives the same rows. Default: one for every 16.8 million tokens."""
    ray: Annotated[str | None, _PANEL] = None
    """Build on the Ray cluster of this address, e.g. auto, instead of in processes."""
    part: Annotated[str | None, _PANEL] = None
    """Build one part of the shards, such as 3/16: each job of an array builds another part into the same --output. The job that ends last
    finishes the variant; so does synthctx finish."""
    strict: Annotated[bool, _PANEL] = False
    """Refuse a corpus of which anything has to be passed over, such as an empty text or a question too long for the budget."""
    estimate: Annotated[bool, panel("Requests to the language model", 5)] = False
    """Say how many requests to the language model are missing, with their tokens and cost, and stop."""

    @field_validator("part")
    @classmethod
    def _part_is_read(cls, value: str | None) -> str | None:
        if value is not None:
            parse_part(value)
        return value

    @property
    def processes(self) -> int:
        """The number of processes to build with."""
        return processes(self.workers)


@dataclass(frozen=True)
class PlannedBuild:
    """A variant that is about to be built, with its examples. Its options were checked when the examples were made."""

    task: Task
    build: Build
    examples: Examples

    @property
    def name(self) -> str:
        """The names of task and variant, for messages."""
        return f"{self.task.name} {self.build.variant}"

    @property
    def rows(self) -> int:
        """The number of rows of all splits."""
        return sum(self.examples.sizes.values())

    @cached_property
    def is_written(self) -> bool:
        """True if a language model writes its documents."""
        return expression_of(self.examples) is not None

    @property
    def is_to_be_written(self) -> bool:
        """True if a language model writes its documents, and they are not built yet."""
        return self.is_written and not is_built(self.build)

    @property
    def is_from_sample(self) -> bool:
        """True if its documents come from the built-in sample of answers."""
        return "model" in self.examples.reads and self.examples.options.model is None


def plan_builds(task: Task, variants: Sequence[str], options: Options, where: RunOptions) -> list[PlannedBuild]:
    """The planned builds of some variants of a task, in order.

    Raises: SynthctxError for a variant, an option or a corpus that cannot be used.
    """
    planned = []
    folder = _output(where.output)
    for variant in variants:
        mine = options
        if "store" in task.variant(variant).expression.reads:
            mine = options.model_copy(update={"store": _store(options, where.output)})
        elif options.store:
            mine = options.model_copy(update={"store": None})
        build = Build(task.name, variant, mine, folder / task.name, where.shards)
        planned.append(PlannedBuild(task, build, Examples(task, variant, mine)))
    return planned


def plan_named(words: Sequence[str], options: Options, where: RunOptions) -> list[PlannedBuild]:
    """The planned builds that words name: tasks, and then variants of each of them, or "all", the variants that the options suffice for.

    Raises: SynthctxError for a word that names neither, and for an option or a corpus that cannot be used.
    """
    count = next((i for i, word in enumerate(words) if word not in TASKS), len(words))
    tasks, variants = [find_task(word) for word in words[: max(count, 1)]], words[max(count, 1) :]
    if not variants:
        raise UsageError(
            f"VARIANTS: expected variants of {tasks[-1].name} behind it, such as symbolic_haystack, or all; got none"
        )
    planned: list[PlannedBuild] = []
    for task in dict.fromkeys(tasks):
        planned += plan_builds(task, _named(task, variants, options), options, where)
    return planned


def _named(task: Task, variants: Sequence[str], options: Options) -> Sequence[str]:
    if ALL not in variants:
        return list(dict.fromkeys(variants))
    if len(variants) > 1:
        raise UsageError(f"VARIANTS: expected {ALL} or names of variants, got both")
    possible = task.possible(options)
    if not possible:
        flags = " and ".join(map(flag, sorted(options.changed().keys() - COMMON)))
        raise UsageError(
            f"VARIANTS: expected a variant of {task.name} that reads {flags} and needs no other option, and there is none; name the "
            "variants, or see synthctx list for what they need"
        )
    return possible


def _output(text: str) -> Place:
    if text.startswith("hf://") and not text.startswith("hf://buckets/"):
        raise UsageError(
            f"--output: expected a folder, or one of a store such as s3://bucket/folder, got {text!r}; synthctx push --from-variant sends "
            "a variant to the Hub while it is built"
        )
    return at(text)


def _store(options: Options, output: str) -> str:
    if options.store is not None and is_remote(options.store):
        raise UsageError(
            f"--store: expected a file of this machine, got {options.store}; answers export writes into a store such as S3"
        )
    if options.store is None and is_remote(output):
        raise UsageError(f"--store: expected a file of this machine for the answers, as --output is {output}; name one")
    return options.store or str(at(output) / "answers.sqlite")


def require_whole_corpus(planned: Sequence[PlannedBuild]) -> None:
    """Raises: CorpusError if a build has to pass over anything in its corpus that is broken or too long."""
    notes = [f"{one.name}: {note}" for one in planned for note in examples_of(one.build).notes()]
    if notes:
        raise CorpusError(
            f"--strict: expected to use all of --corpus, but {'; '.join(notes)}; mend these, or leave out --strict"
        )


def require_use(planned: Sequence[PlannedBuild], writing: WritingOptions, asked: bool) -> None:
    """Raises: UsageError if options of a language model's writing are given, and no build has one write."""
    if not any(one.is_written for one in planned) and (asked or writing != WritingOptions()):
        raise UsageError(
            "--estimate, --store, --endpoint, --budget-usd and so on are read where a language model writes: name an llm or grounded "
            "variant and a --model"
        )
