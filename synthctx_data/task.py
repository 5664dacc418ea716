"""What a task, a variant, a concept expression and a context diversity are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from synthctx_data.errors import UsageError
from synthctx_data.example import Concept, Page
from synthctx_data.layout import Layout
from synthctx_data.options import CORPUS_OPTIONS, Options
from synthctx_data.seeding import Stream, rng
from synthctx_data.world.padding import padding


@dataclass(frozen=True)
class Setting:
    """What a concept expression works with: the task's name, its layout, the options, the examples of each split, and the context."""

    task: str
    layout: Layout
    options: Options
    sizes: Mapping[str, int]
    context: str


class ConceptExpression(ABC):
    """How the needles of a task look. `concept` is a pure function of the setting, the split and the index.

    name: what the files are called, and the column `concept_expression`.
    reads: the options that only some expressions read, and this one does.
    haystack_reads: the options that its haystack reads besides.
    needs: what a user must give, in words; empty if nothing.
    license: of its needles, as Hubs name it.
    """

    name: ClassVar[str]
    reads: ClassVar[frozenset[str]] = frozenset()
    haystack_reads: ClassVar[frozenset[str]] = CORPUS_OPTIONS
    needs: ClassVar[str] = ""
    license: ClassVar[str] = "apache-2.0"

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def rng(self, split: str, index: int, purpose: str) -> Stream:
        """The stream for one purpose in one example; the same in every variant with this expression."""
        return rng(self.setting.options.seed, self.setting.task, split, index, self.name, purpose)

    def sources(self) -> dict[str, Any]:
        """What decides the rows besides the options: hashes of the files that were read."""
        return {}

    def keep(self, folder: Path) -> None:  # noqa: B027  # most have nothing
        """Writes into the variant's folder what its rows follow from, and nobody else could find again."""

    @abstractmethod
    def concept(self, split: str, index: int) -> Concept:
        """What example `index` of the split asks."""

    @abstractmethod
    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        """Pages that may stand around its needles, the most wanted first; none of them mentions an answer."""


ContextDiversity = Callable[[ConceptExpression, str, int, Concept], Iterator[Page]]


def _haystack(expression: ConceptExpression, split: str, index: int, concept: Concept) -> Iterator[Page]:
    return expression.haystack(split, index, concept)


def _padding(expression: ConceptExpression, split: str, index: int, concept: Concept) -> Iterator[Page]:
    return padding(expression.setting.layout)


CONTEXTS: Mapping[str, ContextDiversity] = {"haystack": _haystack, "padding": _padding}


@dataclass(frozen=True)
class Variant:
    """A cell of the grid: how the needles look, and what stands around them."""

    expression: type[ConceptExpression]
    context: str

    @property
    def reads(self) -> frozenset[str]:
        """The options that this variant reads, besides those that every variant does."""
        documents = self.expression.haystack_reads if self.context == "haystack" else frozenset()
        return self.expression.reads | documents


@dataclass(frozen=True, eq=False)
class Task:
    """A task: its name, what it asks (in words), its variants by name, and the paper's sizes."""

    name: str
    asks: str
    variants: Mapping[str, Variant]
    train: int
    validation: int

    def variant(self, name: str) -> Variant:
        """The variant of this name.

        Raises: UsageError if there is none.
        """
        if name not in self.variants:
            raise UsageError(f"{self.name} has no variant {name!r}; expected one of {', '.join(self.variants)}")
        return self.variants[name]

    def sizes(self, options: Options) -> dict[str, int]:
        """Examples by split, those of zero examples left out."""
        sizes = {
            "train": self.train if options.train is None else options.train,
            "validation": self.validation if options.validation is None else options.validation,
        }
        return {split: size for split, size in sizes.items() if size}
