"""Real needles: the questions and gold passages of a corpus in the format of Lost in the Middle (Liu et al. 2024)."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from synthctx_data.corpora import Corpus, Question, read_corpus
from synthctx_data.distractors import Pool, make_ranker
from synthctx_data.entities import RELATIONS
from synthctx_data.errors import CorpusError, UsageError
from synthctx_data.example import Concept, Needle, Page, Span
from synthctx_data.metrics import normalize_answer
from synthctx_data.seeding import rng
from synthctx_data.task import ConceptExpression, Setting

_FIELDS = "question, answers and ctxs with one gold document, as in nq-open-oracle.jsonl.gz of Lost in the Middle"


class Usable(NamedTuple):
    """A question whose answer stands in its gold document, and where: characters of the document's text."""

    question: Question
    answer: Span


class Real(ConceptExpression):
    """Real questions; the needle is the whole gold passage, the haystack the rest of the corpus.

    A question is left out if its gold passage does not hold an answer as whole words, or is another question's too. Train
    takes questions from one end of their random order and validation from the other, so that neither moves when the
    other grows; gold passages of validation are never distractors in train.
    """

    name = "real"
    reads = frozenset({"corpus", "distractors", "dense_model"})
    needs = "--corpus: questions with gold passages"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        if not setting.options.corpus:
            raise UsageError(f"{self.name} variants of {setting.task} need --corpus: a file with {_FIELDS}")
        self._corpus = read_corpus(setting.options.corpus)
        self._questions = self._shuffled()
        self._pool = Pool(setting.layout, self._corpus.documents)
        self._ranker = make_ranker(setting.options.distractors, self._corpus.documents, setting.options.dense_model)
        asked = sum(setting.sizes.values())
        if len(self._questions) < asked:
            raise CorpusError(
                f"{self.name} has {len(self._questions)} usable questions in this corpus "
                f"(of {len(self._corpus.questions)}), and --train and --validation ask for {asked}; "
                "lower them or give a larger --corpus"
            )

    def sources(self) -> dict[str, Any]:
        return {"corpus": self._corpus.identity}

    def concept(self, split: str, index: int) -> Concept:
        question, found = self._at(split, index)
        page = self._pool.page(question.gold)
        answer = found.shift(page.text.start)
        text = page.body[answer.start : answer.end]
        return Concept(question.text, text, question.answers, (Needle(page, Span(0, page.text.end), answer),))

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        question, _ = self._at(split, index)
        order = self._ranker.order(question.text, self.rng(split, index, "haystack"))
        without = self._validation_gold | {question.gold} if split == "train" else {question.gold}
        return self._pool.pages(order, concept.answers, without)

    def wants(self, question: Question) -> bool:
        """Whether a usable question belongs to this expression."""
        return True

    def _at(self, split: str, index: int) -> Usable:
        return self._questions[index if split == "train" else -1 - index]

    @cached_property
    def _validation_gold(self) -> frozenset[int]:
        return frozenset(
            self._at("validation", i).question.gold for i in range(self.setting.sizes.get("validation", 0))
        )

    def _shuffled(self) -> list[Usable]:
        usable = [entry for entry in usable_questions(self._corpus) if self.wants(entry.question)]
        order = rng(self.setting.options.seed, self.setting.task, self.name, "questions").order(len(usable))
        return [usable[i] for i in order]


class RealLimited(Real):
    """The real questions that ask for a relation that templates cover."""

    name = "real_limited"
    _asks = tuple(re.compile(relation.asks) for relation in RELATIONS)

    def wants(self, question: Question) -> bool:
        text = question.text.lower()
        return any(asks.search(text) for asks in self._asks)


def usable_questions(corpus: Corpus) -> Iterator[Usable]:
    """The questions whose gold document holds an answer and is no earlier question's."""
    taken: set[int] = set()
    for question in corpus.questions:
        found = find_answer(question.answers, corpus.documents[question.gold].text)
        if found is not None and question.gold not in taken:
            taken.add(question.gold)
            yield Usable(question, found)


def find_answer(answers: Sequence[str], text: str) -> Span | None:
    """The first answer that stands in the text as whole words, as it is written if possible, else in any case."""
    for flags in (re.NOFLAG, re.IGNORECASE):
        for answer in answers:
            if normalize_answer(answer) and (match := re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text, flags)):
                return Span(*match.span())
    return None
