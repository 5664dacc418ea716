"""Real needles of any number of hops: the questions and gold passages of a corpus."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from math import ceil
from typing import Any, ClassVar

from synthctx_data.corpora import Corpus, Question
from synthctx_data.corpus_files import PassedOver
from synthctx_data.distractors import Pool, make_ranker, read_safely
from synthctx_data.errors import CorpusError, UsageError
from synthctx_data.example import Concept, Needle, Page, Span, Step
from synthctx_data.matching import comparable, comparables, find_text, holds
from synthctx_data.options import CORPUS_OPTIONS
from synthctx_data.seeding import Stream, rng
from synthctx_data.task import ConceptExpression, Setting
from synthctx_data.world.entities import RELATIONS

_TENTH = 10  # one question in ten is for validation, as in the paper
# The relations that real questions ask for. The others have no expression to find questions with.
COVERED = {relation.name: re.compile(relation.asks) for relation in RELATIONS if relation.asks}


class UnusableError(Exception):
    """A question cannot be used. The message says why, after the word "questions"."""


class RealQuestions(ConceptExpression):
    """Real questions. A needle is a whole gold passage, and the haystack is the rest of the corpus.

    Each question is asked once. Of questions with the same words or the same gold passages, only the first is asked. A tenth
    of the questions, drawn at random, is set apart for validation, whatever the sizes are and whatever `wants` says. So a
    question that one real variant trains on is in the validation of no other. No gold passage of that tenth stands in a
    context of train.

    source: the name of a file with such questions, for messages.
    """

    source: ClassVar[str]
    name = "real"
    reads = CORPUS_OPTIONS
    needs = "--corpus: questions with gold passages"
    needed = frozenset({"corpus"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        options = setting.options
        if not options.corpus:
            raise UsageError(
                f"{self.name} variants of {setting.task} need --corpus with questions, such as {self.source}"
            )
        self._corpus = read_safely(setting.layout, options)
        self._unused = PassedOver()
        self._usable = self._find_usable()
        self._parts = self._divide()
        self._chosen = {split: self._take(split, self._parts[split]) for split in setting.sizes}
        self._pool = Pool(setting.layout, self._corpus.documents)
        self._ranker = make_ranker(options.distractors, self._corpus.documents, options.dense_model)
        self._validation_gold = _gold(self._parts["validation"])

    def hops(self, split: str, index: int) -> int:
        """The number of hops of an example."""
        return 1

    def wants(self, question: Question) -> bool:
        """True if a usable question belongs to this expression."""
        return True

    def find(self, question: Question) -> tuple[Span, ...]:
        """The span of every hop's answer, in characters of its gold passage.

        Raises: UnusableError if the question cannot be used.
        """
        return find_chain(self._corpus, question)

    def sources(self) -> dict[str, Any]:
        return {"corpus": self._corpus.identity}

    def notes(self) -> list[str]:
        return self._corpus.passed.notes()

    def remarks(self) -> list[str]:
        return self._unused.notes()

    def concept(self, split: str, index: int) -> Concept:
        question = self._chosen[split][index]
        needles = []
        for hop, found in zip(question.hops, self._usable[question], strict=True):
            page = self._pool.page(hop.gold)
            needles.append(Needle(page, Span(0, page.text.end), found.shift(page.text.start)))
        steps = [Step(hop.question, hop.answers[0]) for hop in question.hops if len(needles) > 1]
        return Concept(question.text, needles[-1].text, question.hops[-1].answers, tuple(needles), tuple(steps))

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        question = self._chosen[split][index]
        own = (question.own[i] for i in self.rng(split, index, "own").order(len(question.own)))
        ranked = self._ranker.order(question.text, self.rng(split, index, "haystack"))
        without = self._validation_gold.union(question.gold) if split == "train" else question.gold
        answers = [answer for hop in question.hops for answer in hop.answers]
        return self._pool.pages(chain(own, ranked), answers, without)

    def _find_usable(self) -> dict[Question, tuple[Span, ...]]:
        """The usable questions and their answers' spans. Of those with the same words or gold passages, the first is kept."""
        found = {}
        for question in self._corpus.questions:
            try:
                found[question] = self.find(question)
            except UnusableError as error:
                self._unused.add(f"questions {error}, left out", repr(question.text[:60]))
        kept = dict.fromkeys(distinct(found, lambda q: {q.gold, comparable(q.text)}))
        for question in found:
            if question not in kept:
                self._unused.add(
                    "questions with the words or the gold passages of an earlier one, left out",
                    repr(question.text[:60]),
                )
        return {question: found[question] for question in kept}

    def _divide(self) -> dict[str, list[Question]]:
        """The questions that each split may ask, in order. Validation has a tenth of the questions of each number of hops."""
        by_hops = defaultdict(list)
        for question in self._usable:
            by_hops[len(question.hops)].append(question)
        order = rng(self.setting.options.seed, self.setting.task, "real", "questions")
        divided = [set_apart(by_hops[hops], order) for hops in sorted(by_hops)]
        validation = [question for _, held_out in divided for question in held_out]
        apart = _gold(validation)
        train = [question for kept, _ in divided for question in kept if apart.isdisjoint(question.gold)]
        return {"train": train, "validation": validation}

    def _take(self, split: str, questions: Sequence[Question]) -> list[Question]:
        """The questions of a split, in the order of its examples."""
        by_hops = defaultdict(list)
        for question in reversed(questions):
            if self.wants(question) and self._fits(question):
                by_hops[len(question.hops)].append(question)
        there = {hops: len(found) for hops, found in sorted(by_hops.items())}
        asked = self.setting.sizes[split]
        taken: list[Question] = []
        for hops in map(self.hops, repeat(split), range(asked)):
            if not by_hops[hops]:
                have = ", ".join(f"{count} of {_hops(hops)}" for hops, count in there.items()) or "none"
                if not self._corpus.questions:
                    raise CorpusError(
                        f"--corpus: expected questions with gold passages for {self.name} variants, such as {self.source}, and found "
                        f"{len(self._corpus.documents):,} documents without any; templated and symbolic variants take documents"
                    )
                raise CorpusError(
                    f"--corpus: expected {asked} usable questions for the {split} split of {self.name}, and there are {have} "
                    f"(of {len(self._corpus.questions)} in the corpus; a tenth is set apart for validation); "
                    f"{self.advice(split, len(taken), there)}, or give a larger --corpus{self._reasons()}"
                )
            taken.append(by_hops[hops].pop())
        return taken

    def _fits(self, question: Question) -> bool:
        """True if the budget has room for a question and its gold passages; else it is passed over."""
        passages = [self._corpus.documents[number] for number in question.gold]
        fits = self.setting.layout.fits(question.text, passages, self.setting.options.max_tokens)
        if not fits:
            self._corpus.passed.add("questions too long for --max-tokens, passed over", repr(question.text[:60]))
        return fits

    def _reasons(self) -> str:
        notes = [*self.notes(), *self.remarks()]
        return f". Of the corpus, {'; '.join(notes)}" if notes else ""

    def advice(self, split: str, enough: int, there: Mapping[int, int]) -> str:
        """Advice in words, if questions are enough for only the first `enough` examples. `there` counts them by hops."""
        return f"they are enough for --{split} {enough}"


def distinct(questions: Iterable[Question], known: Callable[[Question], set[Any]]) -> list[Question]:
    """The questions, without those that share a mark with an earlier one. `known` gives the marks of a question."""
    taken: set[Any] = set()
    found = []
    for question in questions:
        if taken.isdisjoint(marks := known(question)):
            found.append(question)
            taken |= marks
    return found


def set_apart(questions: Sequence[Question], order: Stream) -> tuple[list[Question], list[Question]]:
    """The questions in random order: nine tenths for train, and a tenth for validation."""
    shuffled = [questions[i] for i in order.order(len(questions))]
    cut = ceil(len(shuffled) / _TENTH)
    return shuffled[cut:], shuffled[:cut]


def covered(text: str) -> bool:
    """True if a question asks for a relation that templates cover."""
    return any(asks.search(text.lower()) for asks in COVERED.values())


def find_chain(corpus: Corpus, question: Question) -> tuple[Span, ...]:
    """The span of every hop's answer, in characters of its gold passage.

    Raises: UnusableError if an answer is not in its passage, or if the question can be answered without reading it all: if the
        question holds an answer, if two hops have the same passage, or if an answer stands in a passage but its own and the next.
    """
    texts = [corpus.documents[number] for number in question.gold]
    if len(set(question.gold)) < len(texts):
        raise UnusableError("that have one passage for two hops")
    found = []
    known = [comparable(f"{document.title} {document.text}") for document in texts]
    for i, hop in enumerate(question.hops):
        answers = comparables(hop.answers)
        span = find_answer_span(hop.answers, texts[i].text)
        if span is None or not holds(known[i], answers):
            raise UnusableError("whose gold passage does not hold the answer as words of its own")
        if holds(comparable(question.text), answers):
            raise UnusableError("that hold their own answer")
        if any(holds(text, answers) for j, text in enumerate(known) if j not in (i, i + 1)):
            raise UnusableError("of which a passage holds the answer of another hop")
        found.append(span)
    return tuple(found)


def find_answer_span(answers: Sequence[str], text: str) -> Span | None:
    """The span of the first answer that the text holds as whole words, in the same case if possible, else in any case."""
    for flags in (re.NOFLAG, re.IGNORECASE):
        for answer in answers:
            span = find_text(answer, text, flags)
            normal = comparable(answer)
            # Some letters that match in any case differ in lower case, such as the Turkish i.
            if normal and span and comparable(text[span.start : span.end]) == normal:
                return span
    return None


def _hops(number: int) -> str:
    return "1 hop" if number == 1 else f"{number} hops"


def _gold(questions: Sequence[Question]) -> frozenset[int]:
    return frozenset(number for question in questions for number in question.gold)
