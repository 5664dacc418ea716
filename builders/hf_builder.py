"""`datasets` builders, such as MdqaSynth(config_name="symbolic_haystack", max_tokens=4096).download_and_prepare()."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import datasets
import pyarrow as pa
from datasets.builder import Key

from builders.examples import Examples
from builders.hub.card_section import citation, license_of
from builders.shards import ranges
from synthctx_data import CONTENT_VERSION
from synthctx_data.options import Options
from synthctx_data.schema import SCHEMA, to_table
from synthctx_data.task import Task

_ROWS = 64  # rows in a table: they are large
_PARTS = 64  # parts of a split, which up to as many processes (`num_proc`) can share


@dataclass
class SynthConfig(datasets.BuilderConfig):  # type: ignore[misc]  # datasets has no types
    """A variant's name and its options."""

    options: Options = field(default_factory=Options)


class SynthBuilder(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """A `datasets` builder of the variants of one task. Its cache tells builds apart by everything that decides their rows.

    Raises: SynthctxError, when it is made, for a variant, an option or a corpus that cannot be used.
    """

    TASK: ClassVar[Task]
    BUILDER_CONFIG_CLASS = SynthConfig
    DEFAULT_WRITER_BATCH_SIZE = _ROWS

    def __init__(self, cache_dir: str | None = None, config_name: str | None = None, **options: Any) -> None:
        self.TASK.variant(str(config_name))
        chosen = Options(**{name: options.pop(name) for name in Options.model_fields if name in options})
        self.examples = Examples(self.TASK, str(config_name), chosen)
        options.setdefault("hash", self.examples.description()["fingerprint"])
        if chosen != Options():  # datasets would take explicit defaults for another configuration
            options["options"] = Options(**chosen.changed())  # the same bytes, whether or not defaults are given
        super().__init__(cache_dir, config_name=config_name, **options)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description=f"{self.TASK.name}: {self.TASK.asks}.",
            citation=citation(f"synthctx/{self.TASK.name}", self.TASK.name),
            license=license_of(self.TASK, self.examples.description()),
            features=datasets.Features.from_arrow_schema(SCHEMA),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"split": split, "parts": ranges(size, _PARTS)})
            for split, size in self.examples.sizes.items()
        ]

    def _generate_tables(self, split: str, parts: list[range]) -> Iterator[tuple[Key, pa.Table]]:
        for number, part in enumerate(parts):
            for start in range(0, len(part), _ROWS):
                rows = [self.examples.make(split, index) for index in part[start : start + _ROWS]]
                yield Key(number, start // _ROWS), to_table(rows)


@cache
def builder_class(name: str, task: Task, module: str) -> type[SynthBuilder]:
    """The builder class of a task. `module` is the module that it can be imported from; datasets names it after that."""
    made: type[SynthBuilder] = type(
        name,
        (SynthBuilder,),
        {
            "__module__": module,
            "__doc__": f"Builds {task.name}: {task.asks}.",
            "TASK": task,
            "BUILDER_CONFIGS": [SynthConfig(name=variant, version=CONTENT_VERSION) for variant in task.variants],
        },
    )
    return made
