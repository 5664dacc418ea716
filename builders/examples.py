"""The examples of a variant, by split and index. Shards and `datasets` builders are made of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain, islice
from typing import Any

from builders.arrangement import arrange
from builders.needle_forms import near_duplicates, quoting, rehoused
from synthctx_data.assemble import Context, counts_add_up, fit, require_known
from synthctx_data.distractors import OwnDocuments, interleave, model_identity
from synthctx_data.errors import UsageError
from synthctx_data.evidence import NUMBERS
from synthctx_data.example import Concept, Document, Example, Page
from synthctx_data.layout import Layout
from synthctx_data.matching import comparable, comparables, holds
from synthctx_data.option_model import flag
from synthctx_data.options import COMMON, Options, as_dict, fingerprint, parse_depth
from synthctx_data.seeding import Stream, rng
from synthctx_data.task import CONTEXTS, ConceptExpression, Setting, Task
from synthctx_data.tokens import load_counter

_NEAREST = 8  # pages of the expression's own haystack that stand among a user's documents
_HOSTS, _HOST_TOKENS = 16, 128  # the most pages of which one may hold a needle, and the tokens of a context for each
_NEEDLES = 0.75  # the share of a context that the needles of several questions may take
_REST = 32  # tokens for other documents, at least
_NUMBER = 98  # the index of a document whose number has two digits
_OF_CORPORA = ("corpus_text_column", "distractors")  # options that say how --corpus is read
_ARRANGED = 32  # contexts, full ones, whose questions are arranged together


@dataclass(frozen=True)
class _Shared:
    """The concepts that share a context, by the index of the first row, the row that has the longest text, and the context."""

    first: int
    concepts: Sequence[Concept]
    longest: Concept
    context: Context


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
        self._shared = lru_cache(maxsize=1)(self._make_shared)
        self._arranged = lru_cache(maxsize=2)(self._arrange)
        self._host = lru_cache(maxsize=_ARRANGED * options.questions)(self._find_host)

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

    def settings(self) -> dict[str, Any]:
        """The part of the description that is known before anything is read or written."""
        return {
            "task": self.task.name,
            "variant": self.variant,
            **as_dict(self.options),
            **self.sizes,
            "tokenizer": self.layout.counter.identity,
            "dense_model": model_identity(self.options.dense_model),
        }

    def description(self) -> dict[str, Any]:
        """Everything that decides the rows, by name, with its fingerprint and without the paths of this machine."""
        described = {
            **self.settings(),
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
        shared = self._shared(split, *self._together(split, index))
        at = index - shared.first
        concept, context = shared.concepts[at], self._asked(shared, at)
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

    def _make_shared(self, split: str, first: int, numbers: tuple[int, ...]) -> _Shared:
        """The context of a group of rows, with the needles of all of them. It keeps the budget under the longest question and answer.

        `first` is the index of the first row, and `numbers` are those of the concepts.
        """
        concepts = [self._concept(split, number) for number in numbers]
        longest = max(concepts, key=lambda concept: self.layout.frame(concept).tokens)
        joint = longest if len(concepts) == 1 else _joined(concepts, longest)
        rows = [(first + at, hop) for at, concept in enumerate(concepts) for hop in range(len(concept.needles))]
        depths = [self._depth(split, row, hop) for row, hop in rows]
        if self.options.needle_format != "single":  # near-duplicates stand in their order
            depths.sort()

        def fillers() -> Iterator[Page]:
            return self._around(split, numbers, joint)

        def order() -> Stream:
            return self.expression.rng(split, first, "order")

        context = fit(self.layout, joint, fillers, depths, self.options.max_tokens, order, self._counts_add_up)
        return _Shared(first, concepts, longest, context)

    def _asked(self, shared: _Shared, at: int) -> Context:
        """The shared context, where the question of one row is asked, with the needles of this row alone."""
        concept, context = shared.concepts[at], shared.context
        if concept.asked is not None:
            return replace(context, needles=(replace(context.needles[concept.asked], hop=0),))
        if len(shared.concepts) == 1:
            return context
        before = sum(len(other.needles) for other in shared.concepts[:at])
        own = context.needles[before : before + len(concept.needles)]
        frame, longest = self.layout.frame(concept), self.layout.frame(shared.longest)
        prompt = context.prompt.removesuffix(longest.tail) + frame.tail
        tokens = context.num_tokens - longest.tokens + frame.tokens
        return replace(
            context,
            prompt=prompt,
            completion=concept.completion,
            needles=tuple(replace(needle, hop=needle.hop - before) for needle in own),
            num_tokens=tokens if self._counts_add_up else self.layout.counter.conversation(prompt, concept.completion),
        )

    def _together(self, split: str, index: int) -> tuple[int, tuple[int, ...]]:
        """The index of the first row that shares a row's context, and the numbers of the concepts of all of them."""
        if self.options.questions == 1:
            return index, (index,)
        part, at = divmod(index, _ARRANGED * self.options.questions)
        for group in self._arranged(split, part):
            if at < len(group):
                return index - at, group
            at -= len(group)
        raise IndexError(f"expected an example below {self.sizes[split]} of {split}, got {index}")

    def _arrange(self, split: str, part: int) -> list[tuple[int, ...]]:
        """The numbers of the concepts of each context in a part of a split."""
        size = _ARRANGED * self.options.questions
        numbers = range(part * size, min((part + 1) * size, self.sizes[split]))
        concepts = [self._concept(split, number) for number in numbers]

        def apart(one: int, other: int) -> bool:
            return self.expression.apart(split, numbers[one], numbers[other])

        groups = arrange(concepts, self.options.questions, self._room(concepts), apart)
        return [tuple(numbers[i] for i in group) for group in groups]

    def _room(self, concepts: Sequence[Concept]) -> int:
        """The tokens that the needles of one context may have: three quarters, or less where a small budget must hold the rest too."""
        frame = max(self.layout.frame(concept).tokens for concept in concepts)
        numbers = self.options.questions * self.layout.number_tokens(_NUMBER)
        return min(int(_NEEDLES * self.options.max_tokens), self.options.max_tokens - frame - numbers - _REST)

    def _concept(self, split: str, number: int) -> Concept:
        """The concept of an example, with its needles in the documents, and its answer in the form, that the options ask for."""
        concept, options = self.expression.concept(split, number), self.options
        if options.needle_in != "own":
            host = self._host(split, number) if options.needle_in == "passage" else None
            concept = replace(concept, needles=tuple(rehoused(self.layout, one, host) for one in concept.needles))
        if options.needle_format != "single":
            count = 1 + self.expression.rng(split, number, "near-duplicates").below(len(NUMBERS))
            others = self.expression.other_answers(split, number, count)
            depths = [self._depth(split, number, hop) for hop in range(1 + count)]
            concept = near_duplicates(self.layout, self.task.name, concept, others, depths, options.needle_format)
        return quoting(concept) if options.completion == "evidence" else concept

    def _find_host(self, split: str, number: int) -> Document:
        """The document of the haystack that holds the needle of an example: one that would stand in its context anyway."""
        fillers = self._fillers(split, [number], self.expression.concept(split, number))
        hosts = max(min(self.options.max_tokens // _HOST_TOKENS, _HOSTS) // self.options.questions, 1)
        at = 1 + self.expression.rng(split, number, "host").below(
            hosts
        )  # the first may be about the needle's own subject
        *_, page = islice(fillers, at + 1)
        return page.document

    def _around(self, split: str, numbers: Sequence[int], concept: Concept) -> Iterator[Page]:
        """The pages around the needles of a context. None is the passage that a needle stands in, and none states another answer."""
        if self.options.needle_format != "single":
            concept = replace(concept, answers=(*concept.answers, *(needle.text for needle in concept.needles)))
        pages = self._fillers(split, numbers, concept)
        if self.options.needle_in != "passage" or self._cell.context == "padding":
            return pages
        hosts = [self._host(split, number) for number in numbers]
        return (page for page in pages if page.document not in hosts)

    def _fillers(self, split: str, numbers: Sequence[int], concept: Concept) -> Iterator[Page]:
        around = CONTEXTS[self._cell.context]
        own = around(self.expression, split, numbers[0], concept)
        if len(numbers) > 1 and self._cell.context == "haystack":
            own = _unlike_needles(interleave(around(self.expression, split, n, concept) for n in numbers), concept)
        if self._documents is None:
            return chain(concept.companions, own)
        stream = self.expression.rng(split, numbers[0], "documents")
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
        concept = self._concept(split, 0)
        require_known(self.layout, concept, self._fillers(split, [0], concept))
        return counts_add_up(self.layout, concept, self._fillers(split, [0], concept))


def _joined(concepts: Sequence[Concept], longest: Concept) -> Concept:
    """A concept with the needles, the answers and the companions of several, and the question and completion of the longest."""
    return replace(
        longest,
        answers=tuple(dict.fromkeys(answer for concept in concepts for answer in concept.answers)),
        needles=tuple(needle for concept in concepts for needle in concept.needles),
        companions=tuple(interleave(concept.companions for concept in concepts)),
        apart=True,
    )


def _unlike_needles(pages: Iterator[Page], concept: Concept) -> Iterator[Page]:
    """The pages that are no needle's and hold no answer of a concept, each once."""
    seen = {needle.page.document.text for needle in concept.needles}
    answers = comparables(concept.answers)
    for page in pages:
        if page.document.text not in seen and not holds(page.normal or comparable(page.body), answers):
            seen.add(page.document.text)
            yield page


def check_read(task: Task, variant: str, options: Options) -> None:
    """Raises: UsageError for an option that is set and that this variant does not read, or if there is no such variant."""
    for name in options.changed():
        if name not in COMMON and name not in task.variant(variant).reads:
            who = [v for v, cell in task.variants.items() if name in cell.reads]
            verb = "do" if len(who) > 1 else "does"
            others = f"only {', '.join(who)} {verb}" if who else f"no variant of {task.name} {verb}"
            apart = f", or build {variant} in a call of its own" if who else ""
            raise UsageError(f"{flag(name)}: {variant} does not read it, {others}; leave it out{apart}")
        if name in _OF_CORPORA and not options.corpus and "corpus" not in task.variant(variant).expression.reads:
            raise UsageError(f"{flag(name)}: it is read with --corpus only; add that or leave it out")
