"""The part of the concept expression `grounded` that all tasks share: a language model asks about a user's own documents."""

import re
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property
from itertools import chain, islice
from typing import Any, ClassVar, Generic, TypeVar

from builders.writing.checks import Form, Line, accepted
from builders.writing.divided import COMMON, Divided
from builders.writing.grounded_checks import bears, is_right
from builders.writing.requests import Asking, Editor, RejectedError, Stage, Unit
from builders.writing.sample import SAMPLE_CORPUS
from builders.writing.written import WrittenExpression
from synthctx_data.corpora import read_corpus
from synthctx_data.distractors import Bm25, Pool, make_ranker, read_safely
from synthctx_data.errors import UsageError
from synthctx_data.example import Concept, Document, Page, Span
from synthctx_data.matching import comparable, comparables, holds
from synthctx_data.options import CORPUS_OPTIONS, parse_shares
from synthctx_data.prompts import render
from synthctx_data.seeding import rng
from synthctx_data.task import Setting

T = TypeVar("T")

SHARED = "grounded"  # the template with what all tasks share
_COUNTED = 1000  # of very many passages, those whose tokens are counted, or that are searched for an answer
_NEAR = 5  # passages that a question is asked with, to see whether they answer it too
_MARK = re.compile(r"(?:^|(?<=[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]))(<<<|>>>)")


class Reply(Form):
    """A reply to a question."""

    answer: Line


KNOWN = Stage(SHARED, "known", Reply, 15, 200, SHARED, 200)
WITHOUT = Stage(SHARED, "without", Reply, 15, 200, SHARED, 800)
NEAR = Stage(SHARED, "near", Reply, 15, 200, SHARED, 1300)


class GroundedExpression(WrittenExpression, Generic[T]):
    """The concept expression `grounded`: questions that a language model asks about a user's documents, and their haystack, the others.

    A tenth of the documents (files, or rows of a table) is set apart for validation. Train asks about none of them, and none of their
    passages stands in a context of train. A unit that finds no usable question about its passage goes on to another one.

    stages: the requests that write an example, if nothing is rejected.
    least_documents: the documents that a question needs, in each split.
    draws: the passages that a unit begins with, one after the other, until a question can be used.
    document_of: the document of each passage.
    """

    stages: ClassVar[tuple[Stage, ...]]
    least_documents: ClassVar[int] = 1
    draws: ClassVar[int] = 30
    name = "grounded"
    reads = WrittenExpression.reads | CORPUS_OPTIONS | {"question_kinds", "question_wording"}
    needs = "nothing for a few (documents and a sample are built in); for your own, --corpus, --model and an endpoint"
    needed = frozenset({"corpus", "model"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        options = setting.options
        if not options.corpus and options.model is not None:
            raise UsageError(
                f"grounded variants of {setting.task} need --corpus with your documents: files or a folder"
            )
        corpus = options.corpus or (str(SAMPLE_CORPUS),)
        if options.corpus and options.model is None:
            require_sample(options.corpus)
        self._corpus = read_safely(setting.layout, options.model_copy(update={"corpus": corpus}), in_sections=True)
        self.documents = [_with_origin(document) for document in self._corpus.documents]
        self.divided = Divided(setting, self.documents, rng(options.seed, setting.task, self.name, "documents"))
        self.document_of = self.divided.document_of
        self.askable = cache(self._askable)
        self._pool = Pool(setting.layout, self.documents)
        if options.model is not None:  # else the sample says how many there are
            for split in setting.sizes:
                self.divided.require(split, self.least_documents, self._tokens(split))
        self._ranker = make_ranker(options.distractors, self.documents, options.dense_model)
        self._words = Bm25(self.documents)
        self._order = cache(self._make_order)

    @abstractmethod
    def write(self, editor: Editor, unit: str, split: str, index: int, number: int) -> Asking[T]:
        """The asking of draw `number` of an example."""

    @abstractmethod
    def passages(self, result: T) -> Sequence[int]:
        """The passages that hold the needles of a result."""

    def kept_out(self, result: T) -> Sequence[int]:
        """Passages that stand in no context of a result, since they answer too."""
        return ()

    def own_marks(self, result: T) -> Sequence[Hashable]:
        """What no other result may have, besides the sentences that it asks for."""
        return ()

    @abstractmethod
    def asked(self, result: T) -> Sequence[tuple[int, Span]]:
        """What a result asks for: passages, with spans in characters of their text. No two results ask for one sentence."""

    def units(self) -> Iterator[Unit[T]]:
        for split in sorted(self.setting.sizes, reverse=True):
            for index in range(self.setting.sizes[split]):
                yield self._unit(split, index)

    def stages_of(self, split: str, index: int) -> tuple[Stage, ...]:
        """The requests of an example, if nothing is rejected."""
        return self.stages

    def written_example(self, split: str, index: int) -> T:
        """The result of an example."""
        found: T = self.results.of[self._unit_name(split, index)]
        return found

    def sources(self) -> dict[str, Any]:
        return {**super().sources(), **self.sources_read()}

    def sources_read(self) -> dict[str, Any]:
        return {"corpus": self._corpus.identity}

    def notes(self) -> list[str]:
        return self._corpus.passed.notes()

    def outlook(self) -> list[str]:
        """For each split its passages, and how often they come again."""
        share = min(self.setting.options.max_tokens / self._tokens("validation"), 1)
        shown = f"each row shows about {share:.1%} of all {len(self.documents):,} passages, so a passage is in as many of the rows"
        return [*map(self.divided.outlook, self.setting.sizes), shown]

    def _tokens(self, split: str) -> float:
        """The tokens of all passages that contexts of a split may hold, about."""
        there = [number for number in range(len(self.documents)) if number not in self.divided.left_out(split)]
        counted = there[:_COUNTED]
        return sum(self.page(number).tokens for number in counted) / max(len(counted), 1) * len(there)

    def page(self, number: int) -> Page:
        """The page of a passage."""
        return self._pool.page(number)

    def passage(self, split: str, index: int, number: int) -> int:
        """The passage that draw `number` of an example is about. The first draws go through all passages before one comes again."""
        there = self.divided.of_split[split]
        if number:
            return there[self.rng(split, index, f"passage {number}").below(len(there))]
        turn, at = divmod(index, len(there))
        return self._order(split, turn)[at]

    def kind(self, split: str, index: int, number: int, text: str) -> tuple[str, str]:
        """The kind of question that draw `number` asks about a text, of those that the text can bear, and its wording, near or far."""
        options = self.setting.options
        stream = rng(options.seed, self.setting.task, self.name, split, index, "kind", number)
        kinds = parse_shares(options.question_kinds, "--question-kinds")
        borne = {kind: share for kind, share in kinds.items() if bears(kind, text)} or {"fact": 1.0}
        wordings = parse_shares(options.question_wording or "near,far", "--question-wording")
        return _drawn(borne, stream.uniform()), _drawn(wordings, stream.uniform())

    def part(self, split: str, index: int, number: int) -> str:
        """The part of its passage that draw `number` asks about; empty for the first question about a passage, which may ask about any.

        Without it a later question would be asked for in the same words as the first, and have the same answer.
        """
        if not number and index < len(self.divided.of_split[split]):
            return ""
        return self.rng(split, index, f"part {number}").choice(("beginning", "middle", "end"))

    def shown(self, number: int) -> str:
        """A passage as a request shows it. Its lines cannot end it before its end."""
        document = self.documents[number]
        text = _MARK.sub(r" \1", document.text)
        return render(SHARED, "passage", title=document.title, text=text).strip()

    def require_unknown(self, editor: Editor, unit: str, question: str, answers: Sequence[str]) -> Asking[None]:
        """Asks the question alone.

        Raises: RejectedError if the reply is right.
        """
        yield from self._require_wrong(editor, unit, KNOWN, question, answers, (), "answered without the passage")

    def require_alone(
        self, editor: Editor, unit: str, question: str, answers: Sequence[str], without: Sequence[int]
    ) -> Asking[None]:
        """Asks the question with the passages nearest to it, but for some.

        Raises: RejectedError if the reply is right.
        """
        near = islice((number for number in self.nearest(question) if number not in without), _NEAR)
        yield from self._require_wrong(editor, unit, NEAR, question, answers, near, "answered by other passages")

    def require_all(
        self, editor: Editor, unit: str, question: str, answers: Sequence[str], passages: Sequence[int]
    ) -> Asking[None]:
        """Asks the question with all of its passages but one, for each of them in turn, but for the last, which alone has the answer.

        Raises: RejectedError if a reply is right.
        """
        for left_out in passages[:-1]:
            others = [number for number in passages if number != left_out]
            yield from self._require_wrong(editor, unit, WITHOUT, question, answers, others, "answered without a hop")

    def _require_wrong(
        self,
        editor: Editor,
        unit: str,
        stage: Stage,
        question: str,
        answers: Sequence[str],
        passages: Iterable[int],
        fault: str,
    ) -> Asking[None]:
        """Asks the question with some passages. Raises: RejectedError of the kind `fault` if the reply is right."""
        prompt = render(SHARED, stage.block, question=question, passages=list(map(self.shown, passages)))
        reply, _ = yield from editor.ask(unit, stage, prompt, _as_it_is)
        if is_right(reply.answer, answers):
            editor.reject(fault, f"{question!r} is {fault}")

    def right(self, question: str, answer: str) -> tuple[str, ...]:
        """The right answers. The number alone is none if so many passages hold it that hardly any could stand in its contexts."""
        return tuple(one for one in accepted(question, answer) if one == answer or not self._is_common(one))

    def _is_common(self, answer: str) -> bool:
        """True if more than a fifth of the passages hold an answer, and more than one. Of many passages, a thousand are looked at."""
        wanted = comparables([answer])
        looked_at = self.normals[:: len(self.normals) // _COUNTED + 1]
        holding = sum(holds(normal, wanted) for normal in looked_at if wanted[0] in normal) if wanted else 0
        return holding > max(COMMON * len(looked_at), 1)

    @cached_property
    def normals(self) -> list[str]:
        """The title and text of every passage, normalised as answers are."""
        return [comparable(f"{document.title} {document.text}") for document in self.documents]

    def check_rare(self, answer: str) -> None:
        """Raises: RejectedError for an answer that so many passages hold that hardly any could stand in its contexts."""
        if self._is_common(answer):
            raise RejectedError(
                "common answer", f"the answer {answer!r} stands in very many passages; ask for a rarer one"
            )

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        return self.around(split, index, concept)

    def around(self, split: str, index: int, concept: Concept, links: Iterable[tuple[str, str]] = ()) -> Iterator[Page]:
        """The other passages: those of the needles' documents, then of the nearest. None holds an answer, or both texts of a link.

        All passages of a document come together, and the needles' documents too have theirs: so no needle is known by standing alone, or
        in company.
        """
        ranked = self._ranker.order(concept.question, self.rng(split, index, "haystack"))
        result = self.written_example(split, index)
        own = dict.fromkeys(self.passages(result))
        documents = dict.fromkeys(self.document_of[number] for number in chain(own, ranked))
        passages = (number for name in documents for number in self.divided.passages_of[name])
        without = {*own, *self.kept_out(result), *self.divided.left_out(split)}
        cited = [needle.text for needle in concept.needles] if concept.cites else []
        return self._pool.pages(passages, [*concept.answers, *cited], without, links)

    def nearest(self, text: str) -> Iterator[int]:
        """The passages nearest to a text by BM25, the nearest first."""
        return iter(self._words.order(text, self.rng("", 0, f"nearest {text}")))

    def _askable(self, split: str) -> frozenset[int]:
        """The passages that a split may ask about."""
        return frozenset(self.divided.of_split[split])

    def _make_order(self, split: str, turn: int) -> list[int]:
        """The passages of a split in the order in which they are asked about for the first time, the second time, and so on."""
        there = self.divided.of_split[split]
        stream = rng(self.setting.options.seed, self.setting.task, self.name, split, "passages", turn)
        return [there[i] for i in stream.order(len(there))]

    def _unit(self, split: str, index: int) -> Unit[T]:
        name = self._unit_name(split, index)

        def asking(editor: Editor) -> Asking[T]:
            return editor.draw(lambda number: self.write(editor, name, split, index, number), self.draws)

        return Unit(name, self.stages_of(split, index), asking, lambda result: {}, self._marks)

    def _unit_name(self, split: str, index: int) -> str:
        return f"{self.setting.task}/{split}/{index:06d}"

    def _marks(self, result: T) -> list[Hashable]:
        """What no other result may have: the sentences that it asks for, as passages with the starts of their sentences, and more."""
        return [
            *(mark for number, span in self.asked(result) for mark in self.marks(number, span)),
            *self.own_marks(result),
        ]

    def marks(self, number: int, span: Span) -> list[tuple[int, int]]:
        """The sentences of a passage that a span lies in, by their starts."""
        starts = [0, *(found.end() for found in _SENTENCE_END.finditer(self.documents[number].text))]
        ends = [*starts[1:], len(self.documents[number].text)]
        return [
            (number, start) for start, end in zip(starts, ends, strict=True) if start < span.end and span.start < end
        ]


_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+")


def require_sample(corpus: Sequence[str]) -> None:
    """Raises: UsageError if a corpus is not the built-in one, which the built-in answers are about."""
    if read_corpus(corpus, in_sections=True).identity != read_corpus([str(SAMPLE_CORPUS)], in_sections=True).identity:
        raise UsageError(
            f"--model: expected a model to ask about {', '.join(corpus)}, and got none: the built-in answers are about the built-in "
            "documents; name a --model, and its endpoint by OPENAI_BASE_URL (or --endpoint)"
        )


def _with_origin(document: Document) -> Document:
    """The document with its place in the corpus as its source, behind the source that it has."""
    return replace(document, source=" ".join(filter(None, [document.source, document.origin])))


def one_line(text: str) -> str:
    """The text without breaks of lines, as an answer is given."""
    return " ".join(text.split())


def _as_it_is(form: Reply) -> Reply:
    return form


def _drawn(shares: dict[str, float], point: float) -> str:
    """The name that a point in [0, 1) falls on, if each name has its share."""
    point *= sum(shares.values())
    for name, share in shares.items():
        point -= share
        if point < 0:
            return name
    return name
