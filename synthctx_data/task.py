"""Tasks and their variants. A variant is a concept expression (its needles) and a context diversity (what is around them)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from synthctx_data.errors import UsageError
from synthctx_data.example import Concept, Page
from synthctx_data.files import Place
from synthctx_data.layout import Layout
from synthctx_data.options import COMMON, CORPUS_OPTIONS, PADDING_OPTIONS, Options
from synthctx_data.seeding import Stream, rng
from synthctx_data.world.padding import padding


@dataclass(frozen=True)
class Setting:
    """The setting that a concept expression works in: the task's name, its layout, and the options.

    sizes: the number of examples of each split.
    context: "haystack" or "padding".
    """

    task: str
    layout: Layout
    options: Options
    sizes: Mapping[str, int]
    context: str


def require_enough(setting: Setting, split: str, rows: int, most: int) -> None:
    """Raises: UsageError if more examples of a split are asked for than the made-up worlds have different needles for."""
    if rows > most:
        raise UsageError(
            f"--{split}: expected at most {most:,} examples, for which the made-up worlds of {setting.task}'s templated variants have "
            f"needles, got {rows:,}; build further ones with another --seed, into another --output"
        )


class ConceptExpression(ABC):
    """A concept expression: one way to express what a task asks, such as real, templated or symbolic text.

    A subclass makes the question and the needles of every example (`concept`), and documents to hide the needles among
    (`haystack`). `concept` is a pure function of the setting, the split and the index.

    name: the value in the column `concept_expression`, and the name of the template, if it has one.
    reads: the options that this expression reads, besides those that every variant reads.
    haystack_reads: the options that its haystack reads besides.
    needs: the things that a user must give, in words; empty if there are none.
    needed: the options by which they are given, for as many rows as are asked for.
    license: the licence of its needles, as Hubs name it.
    """

    name: ClassVar[str]
    reads: ClassVar[frozenset[str]] = frozenset()
    haystack_reads: ClassVar[frozenset[str]] = CORPUS_OPTIONS
    needs: ClassVar[str] = ""
    needed: ClassVar[frozenset[str]] = frozenset()
    license: ClassVar[str] = "apache-2.0"

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def rng(self, split: str, index: int, purpose: str) -> Stream:
        """The stream of random numbers for one purpose in one example, the same in every variant with this expression."""
        return rng(self.setting.options.seed, self.setting.task, split, index, self.name, purpose)

    def sources(self) -> dict[str, Any]:
        """The things that decide the rows besides the options, by name, such as hashes of the files that were read."""
        return {}

    def sources_read(self) -> dict[str, Any]:
        """Those of the sources that are known before a language model writes."""
        return {}

    def other_answers(self, split: str, index: int, count: int) -> list[str]:
        """Further answers that the needle of an example could state, of the same kind as its own.

        Expressions that read `needle_format` have them.
        """
        raise NotImplementedError(self.name)

    def notes(self) -> list[str]:
        """A line for each kind of thing in the corpus that is passed over because it is broken or too long. `--strict` refuses it."""
        return []

    def remarks(self) -> list[str]:
        """A line for each kind of thing in the corpus that is left out because it does not suit the task."""
        return []

    def outlook(self) -> list[str]:
        """Lines about what the corpus can bear, for whoever asks what a build would cost."""
        return []

    def keep(self, folder: Place) -> None:  # noqa: B027  # most expressions write nothing
        """Writes files that the rows follow from, and that nobody could make again, into the variant's folder."""

    def apart(self, split: str, one: int, other: int) -> bool:
        """True if two examples cannot share a context, because they are about different worlds."""
        return False

    @abstractmethod
    def concept(self, split: str, index: int) -> Concept:
        """The concept of example `index` of the split: its question, its answers and its needles."""

    @abstractmethod
    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        """The pages that may stand around the needles of `concept`, the most wanted first. None of them mentions an answer."""


ContextDiversity = Callable[[ConceptExpression, str, int, Concept], Iterator[Page]]


def _haystack(expression: ConceptExpression, split: str, index: int, concept: Concept) -> Iterator[Page]:
    return expression.haystack(split, index, concept)


def _padding(expression: ConceptExpression, split: str, index: int, concept: Concept) -> Iterator[Page]:
    return padding(expression.setting.layout, expression.setting.options.padding_text)


CONTEXTS: Mapping[str, ContextDiversity] = {"haystack": _haystack, "padding": _padding}


@dataclass(frozen=True)
class Variant:
    """A variant of a task: a concept expression, which makes the needles, and the context around them."""

    expression: type[ConceptExpression]
    context: str

    @property
    def reads(self) -> frozenset[str]:
        """The options that this variant reads, besides those that every variant reads."""
        around = self.expression.haystack_reads if self.context == "haystack" else PADDING_OPTIONS
        return self.expression.reads | around


@dataclass(frozen=True, eq=False)
class Task:
    """A task: its name, what it asks (in words), its variants by name, and the number of examples in the paper."""

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

    def possible(self, options: Options) -> list[str]:
        """The variants that can be built with these options: what they need is given, and they read all that is given."""
        given = options.changed().keys()
        return [
            name
            for name, variant in self.variants.items()
            if variant.expression.needed <= given and given - COMMON <= variant.reads
        ]

    def sizes(self, options: Options) -> dict[str, int]:
        """The number of examples of each split. A split without examples is left out."""
        sizes = {
            "train": self.train if options.train is None else options.train,
            "validation": self.validation if options.validation is None else options.validation,
        }
        return {split: size for split, size in sizes.items() if size}
