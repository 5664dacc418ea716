"""The examples of a variant, by split and index. Shards and `datasets` builders are made of them."""

from collections.abc import Iterator
from functools import cached_property
from itertools import chain, islice
from typing import Any

from synthctx_data.assemble import Context, counts_add_up, fit, require_known
from synthctx_data.distractors import OwnDocuments, model_identity
from synthctx_data.errors import UsageError
from synthctx_data.example import Concept, Example, Page
from synthctx_data.layout import Layout
from synthctx_data.option_model import flag
from synthctx_data.options import COMMON, Options, as_dict, fingerprint, parse_depth
from synthctx_data.seeding import Stream, rng
from synthctx_data.task import CONTEXTS, ConceptExpression, Setting, Task
from synthctx_data.tokens import load_counter

_NEAREST = 8  # pages of the expression's own haystack that stand among a user's documents


class Examples:
    """The examples of one variant. `make(split, index)` is a pure function of task, variant and options."""

    def __init__(self, task: Task, variant: str, options: Options) -> None:
        self.task = task
        self.variant = variant
        self.options = options
        self._cell = task.variant(variant)
        check_read(task, variant, options)
        self.sizes = task.sizes(options)
        self.layout = Layout(task.name, load_counter(options.tokenizer))
        self._depths = parse_depth(options.depth)

    @property
    def reads(self) -> frozenset[str]:
        """The options that this variant reads, besides those that every variant reads."""
        return self._cell.reads

    def __reduce__(self) -> tuple[type["Examples"], tuple[Task, str, Options]]:
        """The arguments from which another process makes the same examples."""
        return Examples, (self.task, self.variant, self.options)

    @cached_property
    def expression(self) -> ConceptExpression:
        """The concept expression. It is made when it is first used, since it may read a corpus."""
        return self._cell.expression(Setting(self.task.name, self.layout, self.options, self.sizes, self._cell.context))

    def description(self) -> dict[str, Any]:
        """Everything that decides the rows, by name, with its fingerprint and without the paths of this machine."""
        described = {
            "task": self.task.name,
            "variant": self.variant,
            **as_dict(self.options),
            **self.sizes,
            "tokenizer": self.layout.counter.identity,
            "dense_model": model_identity(self.options.dense_model),
            **self.expression.sources(),
            **({"corpus": self._documents.identity} if self._documents else {}),
        }
        return {**described, "fingerprint": fingerprint(described)}

    def notes(self) -> list[str]:
        """A line for each kind of thing in the corpus that was passed over because it is broken or too long."""
        return self._documents.notes() if self._documents else self.expression.notes()

    def remarks(self) -> list[str]:
        """A line for each kind of thing in the corpus that was left out because it does not suit the task."""
        return self.expression.remarks()

    def make(self, split: str, index: int) -> Example:
        """Example `index` of the split."""
        concept = self.expression.concept(split, index)
        context = self._context(split, index, concept)
        return Example(
            id=f"{self.task.name}/{self.variant}/{split}/{index:06d}",
            prompt=context.prompt,
            completion=context.completion,
            question=concept.question,
            answers=(context.completion,) if concept.cites else concept.answers,
            steps=concept.steps,
            edges=context.edges,
            needles=context.needles,
            sources=context.sources,
            num_tokens=context.num_tokens,
            concept_expression=self.expression.name,
            context_diversity=self._cell.context,
            writer=concept.writer,
        )

    def _context(self, split: str, index: int, concept: Concept) -> Context:
        depths = [self._depth(split, index, hop) for hop in range(len(concept.needles))]
        budget = self.options.max_tokens

        def fillers() -> Iterator[Page]:
            return self._fillers(split, index, concept)

        def order() -> Stream:
            return self.expression.rng(split, index, "order")

        return fit(self.layout, concept, fillers, depths, budget, order, self._counts_add_up)

    def _fillers(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        own = CONTEXTS[self._cell.context](self.expression, split, index, concept)
        if self._documents is None:
            return chain(concept.companions, own)
        stream = self.expression.rng(split, index, "documents")
        return chain(concept.companions, islice(own, _NEAREST), self._documents.pages(concept, stream))

    def _depth(self, split: str, index: int, hop: int) -> float:
        """The depth of a needle, in [0, 1]. It is the same in every variant of the task."""
        if self._depths:
            return self._depths[(index + hop) % len(self._depths)]
        return rng(self.options.seed, self.task.name, split, index, "depth", hop).uniform()

    @cached_property
    def _documents(self) -> OwnDocuments | None:
        """The user's documents; None if there are none, or if the expression reads the corpus itself."""
        own = self.options.corpus and "corpus" not in self._cell.expression.reads
        return OwnDocuments(self.layout, self.options) if own else None

    @cached_property
    def _counts_add_up(self) -> bool:
        split = next(iter(self.sizes))
        concept = self.expression.concept(split, 0)
        require_known(self.layout, concept, self._fillers(split, 0, concept))
        return counts_add_up(self.layout, concept, self._fillers(split, 0, concept))


def check_read(task: Task, variant: str, options: Options) -> None:
    """Raises: UsageError for an option that is set and that this variant does not read, or if there is no such variant."""
    for name in options.changed():
        if name not in COMMON and name not in task.variant(variant).reads:
            who = [v for v, cell in task.variants.items() if name in cell.reads]
            others = f"only {', '.join(who)} do" if who else f"no variant of {task.name} does"
            raise UsageError(
                f"{flag(name)}: {variant} does not read it, {others}; leave it out, or build {variant} in a call of its own"
            )
