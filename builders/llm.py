"""Needles and haystacks that a language model wrote: what all tasks share."""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from builders.sample import MODEL, load_sample, refusal
from synthctx_data.answers import ANSWERS, Answer, AnswerStore, export
from synthctx_data.briefs import Brief, Briefs
from synthctx_data.distractors import Pool
from synthctx_data.errors import WriterError
from synthctx_data.example import Concept, Document, Page
from synthctx_data.options import CORPUS_OPTIONS, Options, pool_documents
from synthctx_data.passages import Form, Written, WrittenDocuments, check_documents
from synthctx_data.prompts import render
from synthctx_data.task import ConceptExpression, Setting
from synthctx_data.writing import Answers, Asking, Editor, Pass, Stage, Unit

T = TypeVar("T")
F = TypeVar("F", bound=Form)

_POOL = "llm"  # the template of haystack documents, which all tasks share
_TOGETHER = 4  # haystack documents in one request
_POOL_STAGE = Stage(_POOL, "pool", WrittenDocuments, 900, 3072)


@dataclass(frozen=True)
class Place:
    """An example, and the name under which requests are made for it."""

    split: str
    index: int
    unit: str


@dataclass(frozen=True)
class Order(Generic[T]):
    """What is asked for, and what raises a RejectedError for a form that cannot be used."""

    prompt: str
    check: Callable[[T], None]


@dataclass(frozen=True)
class Told(Generic[F]):
    """What was written for one example: what its task asked for, the distractors written for it, and the model that wrote it."""

    form: F
    brief: Brief
    distractors: tuple[Written, ...]
    writer: str


@dataclass(frozen=True)
class Book(Generic[F]):
    """Everything that was written for a variant: haystack documents, examples by split, what the answers were like, and their keys."""

    pool: Sequence[Document]
    examples: Mapping[str, Sequence[Told[F]]]
    identity: str
    rejected: dict[str, int]
    used: Sequence[str]


class LlmConcept(ConceptExpression, Generic[F]):
    """Needles that a language model wrote about made-up subjects, with distractors that it wrote for each.

    The haystack of an example is its own distractors, then haystack documents and the needles of earlier examples of its split,
    mixed: so a needle is not known by being seen only once. Units are written in the order: haystack documents, validation, train.
    So rows do not change when `train` grows, and a passage for train does not repeat one for validation.

    Both contexts have the same needles. Only where no distractors could be written for a needle, its row is drawn anew, for the
    haystack alone.

    stages: the requests that write an example.
    """

    stages: ClassVar[tuple[Stage, ...]]
    name = "llm"
    reads = frozenset({"model", "store"})
    haystack_reads = CORPUS_OPTIONS | {"pool_size"}
    needs = "nothing for a few (a sample is built in); for more, --model and an endpoint"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.briefs = Briefs(setting.options.seed, setting.task, self.name)
        self._pool_briefs = Briefs(setting.options.seed, self.name, "pool")
        self._shared = lru_cache(maxsize=2)(self._make_shared)

    @abstractmethod
    def order(self, place: Place, brief: Brief, number: int) -> Order[F]:
        """What draw `number` of an example asks for: its needles and its question."""

    @abstractmethod
    def distractor_order(self, place: Place, told: Told[F], number: int) -> Order[WrittenDocuments]:
        """What draw `number` of the distractors of an example asks for."""

    @abstractmethod
    def needles(self, form: F) -> Sequence[Written]:
        """The documents that the answer needs."""

    def units(self) -> Iterator[Unit[Any]]:
        """All that has to be written, in order."""
        if self.setting.context == "haystack":
            wanted = pool_documents(self.setting.options)
            for first in range(0, wanted, _TOGETHER):
                yield self._pool_unit(first, min(_TOGETHER, wanted - first))
        for split in sorted(self.setting.sizes, reverse=True):
            for index in range(self.setting.sizes[split]):
                yield self._example_unit(split, index)

    @cached_property
    def book(self) -> Book[F]:
        """What was written, read from the store or the sample.

        Raises: WriterError if something is missing.
        """
        editor = Editor(model_name(self.setting.options))
        pool: list[Document] = []
        examples: dict[str, list[Told[F]]] = {split: [] for split in self.setting.sizes}
        digest = hashlib.sha256()
        with stored_answers(self.setting.options) as answers:
            used = _Used(answers)
            for draft in Pass(editor, used).drafts(self.units()):
                if draft.result is None:
                    raise WriterError(self._missing(draft.unit.name, given_up=draft.request is None))
                digest.update(repr(draft.result).encode())
                if isinstance(draft.result, Told):
                    examples[draft.unit.name.split("/")[1]].append(draft.result)
                else:
                    pool += [written.document for written in draft.result]
        return Book(pool, examples, digest.hexdigest(), dict(sorted(editor.rejected.items())), used.keys)

    def sources(self) -> dict[str, Any]:
        return {
            "model": model_name(self.setting.options),
            "answers": self.book.identity,
            "rejected_answers": self.book.rejected,
        }

    def keep(self, folder: Path) -> None:
        """The answers that were used, unless they come with this package."""
        if self.setting.options.model is not None:
            with stored_answers(self.setting.options) as answers:
                export(filter(None, map(answers.get, self.book.used)), folder / ANSWERS)

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        told = self.told(split, index)
        own = self.setting.layout.pages([written.document for written in told.distractors])
        earlier = self._before[split][index]
        order = self.rng(split, index, "haystack").order(len(self.book.pool) + earlier)
        return chain(own, self._shared(split).pages(order, self.kept_out(concept), links=self.links(told)))

    def kept_out(self, concept: Concept) -> Sequence[str]:
        """What no haystack document may hold."""
        return concept.answers

    def links(self, told: Told[F]) -> Iterable[tuple[str, str]]:
        """Pairs of which no haystack document may hold both."""
        return ()

    def told(self, split: str, index: int) -> Told[F]:
        """What was written for an example."""
        return self.book.examples[split][index]

    def _make_shared(self, split: str) -> Pool:
        """Haystack documents, then the needles of the split in their order."""
        needles = [written.document for told in self.book.examples[split] for written in self.needles(told.form)]
        return Pool(self.setting.layout, [*self.book.pool, *needles])

    @cached_property
    def _before(self) -> dict[str, list[int]]:
        """By split and index, how many needles there are of earlier examples."""
        counts = {split: [len(self.needles(told.form)) for told in all_] for split, all_ in self.book.examples.items()}
        return {split: list(accumulate(each, initial=0)) for split, each in counts.items()}

    def _example_unit(self, split: str, index: int) -> Unit[Told[F]]:
        place = Place(split, index, f"{self.setting.task}/{split}/{index:06d}")
        among = self.setting.context == "haystack"

        def write(editor: Editor, number: int) -> Asking[Told[F]]:
            told = yield from self._write(editor, place, number)
            if not among:
                return told
            distractors = yield from editor.draw(lambda again: self._distract(editor, place, told, again))
            return replace(told, distractors=distractors)

        def asking(editor: Editor) -> Asking[Told[F]]:
            return editor.draw(lambda number: write(editor, number))

        def written(told: Told[F]) -> dict[str, list[str]]:
            return {"needles": passages(self.needles(told.form)), "distractors": passages(told.distractors)}

        return Unit(place.unit, self.stages if among else self.stages[:1], asking, written)

    def _write(self, editor: Editor, place: Place, number: int) -> Asking[Told[F]]:
        brief = self.briefs.draw(place.split, place.index, number)
        order = self.order(place, brief, number)

        def check(form: F) -> F:
            order.check(form)
            editor.refuse_copies("needles", passages(self.needles(form)))
            return form

        form, writer = yield from editor.ask(place.unit, self.stages[0], order.prompt, check)
        return Told(form, brief, (), writer)

    def _distract(self, editor: Editor, place: Place, told: Told[F], number: int) -> Asking[tuple[Written, ...]]:
        order = self.distractor_order(place, told, number)

        def check(form: WrittenDocuments) -> tuple[Written, ...]:
            order.check(form)
            editor.refuse_copies("distractors", passages([*self.needles(told.form), *form.documents]))
            return form.documents

        documents, _ = yield from editor.ask(place.unit, self.stages[1], order.prompt, check)
        return documents

    def _pool_unit(self, first: int, count: int) -> Unit[tuple[Written, ...]]:
        name = f"pool/{first:06d}"

        def write(editor: Editor, number: int) -> Asking[tuple[Written, ...]]:
            briefs = [self._pool_briefs.draw("train", first + i, number) for i in range(count)]

            def check(form: WrittenDocuments) -> tuple[Written, ...]:
                check_documents(form.documents, [brief.subject for brief in briefs])
                editor.refuse_copies("pool", passages(form.documents))
                return form.documents

            documents, _ = yield from editor.ask(name, _POOL_STAGE, render(_POOL, "pool", briefs=briefs), check)
            return documents

        def asking(editor: Editor) -> Asking[tuple[Written, ...]]:
            return editor.draw(lambda number: write(editor, number))

        return Unit(name, (_POOL_STAGE,), asking, lambda documents: {"pool": passages(documents)})

    def _missing(self, unit: str, given_up: bool) -> str:
        options = self.setting.options
        if given_up:
            return f"{unit}: none of the stored answers of {options.model} to its requests can be used; take another --seed or --model"
        if options.model is None:
            return refusal(self.setting.task, unit)
        return (
            f"{unit}: {options.store} has no answer of {options.model} to one of its requests; import the answers that the variant was "
            "built from, or have them written by synthctx build, with an --output that does not hold the variant yet"
        )


class _Used:
    """Answers, and the keys of those that were taken, in the order of their first use."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._keys: dict[str, None] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def get(self, key: str) -> Answer | None:
        answer = self._answers.get(key)
        if answer is not None:
            self._keys[key] = None
        return answer


def passages(documents: Iterable[Written]) -> list[str]:
    """The passages of documents."""
    return [written.passage for written in documents]


def model_name(options: Options) -> str:
    """The model that requests are addressed to."""
    return options.model or MODEL


@contextmanager
def stored_answers(options: Options) -> Iterator[Answers]:
    """The answers that there are: the sample's, or those in the user's store."""
    file = Path(options.store).expanduser()
    if options.model is None:
        yield load_sample()
    elif not file.exists():
        yield {}
    else:
        with closing(AnswerStore(file)) as store:
            yield store
