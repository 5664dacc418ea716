"""The part of the concept expression `llm` that all tasks share: needles and haystacks that a language model wrote."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate, chain
from typing import Any, ClassVar, Generic, TypeVar

from builders.writing.briefs import Brief, Briefs
from builders.writing.checks import Form, Written, WrittenDocuments, check_documents
from builders.writing.requests import Asking, Editor, Stage, Unit
from builders.writing.written import WrittenExpression
from synthctx_data.distractors import Pool
from synthctx_data.example import Concept, Document, Page
from synthctx_data.options import CORPUS_OPTIONS, pool_documents
from synthctx_data.prompts import render
from synthctx_data.task import Setting

T = TypeVar("T")
F = TypeVar("F", bound=Form)

_POOL = "llm"  # the template of haystack documents, which all tasks share
_TOGETHER = 4  # haystack documents in one request
_POOL_STAGE = Stage(_POOL, "pool", WrittenDocuments, 900, 3072)


@dataclass(frozen=True)
class ExampleUnit:
    """An example, by its split and index, and the name of the unit under which its texts are requested."""

    split: str
    index: int
    unit: str


@dataclass(frozen=True)
class CheckedPrompt(Generic[T]):
    """A prompt, and the check that raises a RejectedError for an answer that cannot be used."""

    prompt: str
    check: Callable[[T], None]


@dataclass(frozen=True)
class WrittenExample(Generic[F]):
    """The texts written for one example: its question and needles (`form`), its distractors, and the model that wrote them."""

    form: F
    brief: Brief
    distractors: tuple[Written, ...]
    writer: str


@dataclass(frozen=True)
class WrittenVariant(Generic[F]):
    """Everything that was written for a variant: haystack documents, and examples by split."""

    pool: Sequence[Document]
    examples: Mapping[str, Sequence[WrittenExample[F]]]


class LlmConcept(WrittenExpression, Generic[F]):
    """The concept expression `llm`: needles about made-up subjects, and distractors for each, which a language model wrote.

    The haystack of an example is its own distractors, and then haystack documents and the needles of earlier examples of its
    split, mixed. So a needle is not known by being seen only once. Units are written in this order: haystack documents,
    validation, train. So rows do not change when `train` grows, and a passage for train does not repeat one for validation.

    The variants with haystack and with padding have the same needles, but for one exception: if no distractors could be
    written for a needle, the haystack variant has another draw of its row.

    stages: the requests that write an example.
    """

    stages: ClassVar[tuple[Stage, ...]]
    name = "llm"
    haystack_reads = CORPUS_OPTIONS | {"pool_size"}
    needs = "nothing for a few (a sample is built in); for more, --model and an endpoint"
    needed = frozenset({"model"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.briefs = Briefs(setting.options.seed, setting.task, self.name)
        self._pool_briefs = Briefs(setting.options.seed, self.name, "pool")
        self._shared = lru_cache(maxsize=2)(self._make_shared)

    @abstractmethod
    def order(self, place: ExampleUnit, brief: Brief, number: int) -> CheckedPrompt[F]:
        """The prompt of draw `number` of an example, which asks for its needles and its question."""

    @abstractmethod
    def distractor_order(
        self, place: ExampleUnit, written: WrittenExample[F], number: int
    ) -> CheckedPrompt[WrittenDocuments]:
        """The prompt of draw `number` of the distractors of an example."""

    @abstractmethod
    def needles(self, form: F) -> Sequence[Written]:
        """The documents of a form that hold the needles."""

    def units(self) -> Iterator[Unit[Any]]:
        """The units of the variant: all that has to be written, in order."""
        if self.setting.context == "haystack":
            wanted = pool_documents(self.setting.options)
            for first in range(0, wanted, _TOGETHER):
                yield self._pool_unit(first, min(_TOGETHER, wanted - first))
        for split in sorted(self.setting.sizes, reverse=True):
            for index in range(self.setting.sizes[split]):
                yield self._example_unit(split, index)

    @cached_property
    def written(self) -> WrittenVariant[F]:
        """Everything that was written for the variant, read from the store or the sample.

        Raises: WriterError if something is missing.
        """
        pool: list[Document] = []
        examples: dict[str, list[WrittenExample[F]]] = {split: [] for split in self.setting.sizes}
        for unit, result in self.results.of.items():
            if isinstance(result, WrittenExample):
                examples[unit.split("/")[1]].append(result)
            else:
                pool += [document.document for document in result]
        return WrittenVariant(pool, examples)

    def hashed(self, result: Any) -> str:
        if not isinstance(result, WrittenExample):
            return repr(result)
        return f"Told(form={result.form!r}, brief={result.brief!r}, distractors={result.distractors!r}, writer={result.writer!r})"

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        written = self.written_example(split, index)
        own = Pool(self.setting.layout, [document.document for document in written.distractors])
        earlier = self._before[split][index]
        order = self.rng(split, index, "haystack").order(len(self.written.pool) + earlier)
        kept_out = self.kept_out(concept)
        near = own.pages(range(len(own.documents)), kept_out)
        return chain(near, self._shared(split).pages(order, kept_out, links=self.links(written)))

    def kept_out(self, concept: Concept) -> Sequence[str]:
        """The texts that no haystack document may hold."""
        return concept.answers

    def links(self, written: WrittenExample[F]) -> Iterable[tuple[str, str]]:
        """Pairs of texts of which no haystack document may hold both."""
        return ()

    def written_example(self, split: str, index: int) -> WrittenExample[F]:
        """The texts that were written for an example."""
        return self.written.examples[split][index]

    def _make_shared(self, split: str) -> Pool:
        """The pool of haystack documents, and after them the needles of the split in their order."""
        needles = [needle.document for one in self.written.examples[split] for needle in self.needles(one.form)]
        return Pool(self.setting.layout, [*self.written.pool, *needles])

    @cached_property
    def _before(self) -> dict[str, list[int]]:
        """The number of needles of earlier examples, by split and index."""
        counts = {split: [len(self.needles(one.form)) for one in ones] for split, ones in self.written.examples.items()}
        return {split: list(accumulate(each, initial=0)) for split, each in counts.items()}

    def _example_unit(self, split: str, index: int) -> Unit[WrittenExample[F]]:
        place = ExampleUnit(split, index, f"{self.setting.task}/{split}/{index:06d}")
        among = self.setting.context == "haystack"

        def write(editor: Editor, number: int) -> Asking[WrittenExample[F]]:
            written = yield from self._write(editor, place, number)
            if not among:
                return written
            distractors = yield from editor.draw(lambda again: self._distract(editor, place, written, again))
            return replace(written, distractors=distractors)

        def asking(editor: Editor) -> Asking[WrittenExample[F]]:
            return editor.draw(lambda number: write(editor, number))

        def passages_of(written: WrittenExample[F]) -> dict[str, list[str]]:
            return {
                "needles": passage_texts(self.needles(written.form)),
                "distractors": passage_texts(written.distractors),
            }

        return Unit(place.unit, self.stages if among else self.stages[:1], asking, passages_of)

    def _write(self, editor: Editor, place: ExampleUnit, number: int) -> Asking[WrittenExample[F]]:
        brief = self.briefs.draw(place.split, place.index, number)
        order = self.order(place, brief, number)

        def check(form: F) -> F:
            order.check(form)
            editor.refuse_copies("needles", passage_texts(self.needles(form)))
            return form

        form, writer = yield from editor.ask(place.unit, self.stages[0], order.prompt, check)
        return WrittenExample(form, brief, (), writer)

    def _distract(
        self, editor: Editor, place: ExampleUnit, written: WrittenExample[F], number: int
    ) -> Asking[tuple[Written, ...]]:
        order = self.distractor_order(place, written, number)

        def check(form: WrittenDocuments) -> tuple[Written, ...]:
            order.check(form)
            editor.refuse_copies("distractors", passage_texts([*self.needles(written.form), *form.documents]))
            return form.documents

        documents, _ = yield from editor.ask(place.unit, self.stages[1], order.prompt, check)
        return documents

    def _pool_unit(self, first: int, count: int) -> Unit[tuple[Written, ...]]:
        name = f"pool/{first:06d}"

        def write(editor: Editor, number: int) -> Asking[tuple[Written, ...]]:
            briefs = [self._pool_briefs.draw("train", first + i, number) for i in range(count)]

            def check(form: WrittenDocuments) -> tuple[Written, ...]:
                check_documents(form.documents, [brief.subject for brief in briefs])
                editor.refuse_copies("pool", passage_texts(form.documents))
                return form.documents

            documents, _ = yield from editor.ask(name, _POOL_STAGE, render(_POOL, "pool", briefs=briefs), check)
            return documents

        def asking(editor: Editor) -> Asking[tuple[Written, ...]]:
            return editor.draw(lambda number: write(editor, number))

        return Unit(name, (_POOL_STAGE,), asking, lambda documents: {"pool": passage_texts(documents)})


def passage_texts(documents: Iterable[Written]) -> list[str]:
    """The passages of documents."""
    return [document.passage for document in documents]
