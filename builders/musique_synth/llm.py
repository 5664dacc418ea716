"""Needles that a language model wrote: a chain of passages about made-up subjects, each of which leads to the next."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from pydantic import Field

from builders.musique_synth.hops import draw_hops
from builders.writing.briefs import KIND_WORDS, Brief
from builders.writing.checks import (
    Form,
    Line,
    Written,
    WrittenDocuments,
    accepted,
    check_documents,
    check_question,
    check_without,
    find_answer,
)
from builders.writing.concept import CheckedPrompt, ExampleUnit, LlmConcept, WrittenExample
from builders.writing.requests import RejectedError, Stage
from synthctx_data.example import Concept, Needle, Span, Step
from synthctx_data.matching import comparable, comparables, holds
from synthctx_data.prompts import render
from synthctx_data.row_checks import common_words
from synthctx_data.seeding import rng
from synthctx_data.world.entities import KINDS

_ADDRESS = "musique_synth/llm"


class Hop(Written):
    """A passage with the question and the answer of its hop."""

    question: Line
    answer: Line


class Chain(Form):
    """The hops of a chain, and the question over all of them."""

    question: Line
    hops: tuple[Hop, ...] = Field(max_length=8)


class Llm(LlmConcept[Chain]):
    """The concept expression `llm` of MuSiQue. A needle is a whole passage of a chain.

    Each needle has a distractor, which answers the question of its hop about another subject.
    """

    stages = (
        Stage(_ADDRESS, "needle", Chain, 850, 3072),
        Stage(_ADDRESS, "distractors", WrittenDocuments, 600, 3072),
    )
    reads = LlmConcept.reads | {"hops", "completion"}

    def order(self, place: ExampleUnit, brief: Brief, number: int) -> CheckedPrompt[Chain]:
        kinds = self._kinds(place, brief.kind)
        names = [brief.subject, *self.briefs.names(place.split, place.index, f"chain {number}", kinds[1:])]
        values = {"it": brief, "hops": len(kinds), "chain": names, "kinds": [KIND_WORDS[kind] for kind in kinds]}
        return CheckedPrompt(render(_ADDRESS, "needle", **values), lambda form: check_chain(form, names))

    def distractor_order(
        self, place: ExampleUnit, written: WrittenExample[Chain], number: int
    ) -> CheckedPrompt[WrittenDocuments]:
        kinds = self._kinds(place, written.brief.kind)
        others = self.briefs.names(place.split, place.index, f"distractors {number}", kinds)
        chain, forbidden = hop_subjects(written), [hop.answer for hop in written.form.hops]
        kind_words = [KIND_WORDS[kind] for kind in kinds]
        values = {"it": written.brief, "needle": written.form, "others": others, "kinds": kind_words, "chain": chain}

        def check(form: WrittenDocuments) -> None:
            check_documents(form.documents, others)
            check_without(form.documents, forbidden)

        return CheckedPrompt(render(_ADDRESS, "distractors", **values, forbidden=forbidden), check)

    def needles(self, form: Chain) -> Sequence[Written]:
        return form.hops

    def links(self, written: WrittenExample[Chain]) -> Iterable[tuple[str, str]]:
        return pairwise([*hop_subjects(written), written.form.hops[-1].answer])

    def concept(self, split: str, index: int) -> Concept:
        written = self.written_example(split, index)
        needles = []
        for hop, subject in zip(written.form.hops, hop_subjects(written), strict=True):
            page = self.setting.layout.page(hop.document)
            answer = find_answer(hop.answer, hop, subject).shift(page.text.start)
            needles.append(Needle(page, Span(0, page.text.end), answer))
        answer_text = written.form.hops[-1].answer
        steps = tuple(Step(hop.question, hop.answer) for hop in written.form.hops)
        known = [hop.normal for hop in written.form.hops[:-1]]
        answers = accepted(written.form.question, answer_text)
        right = [answer for answer in answers if not any(holds(text, comparables([answer])) for text in known)]
        return Concept(written.form.question, answer_text, tuple(right), tuple(needles), steps, writer=written.writer)

    def _kinds(self, place: ExampleUnit, first: str) -> list[str]:
        """The kind of every hop's subject. Two hops in a row have subjects of different kinds."""
        stream = rng(self.setting.options.seed, self.setting.task, place.split, place.index, self.name, "kinds")
        kinds = [first]
        while len(kinds) < draw_hops(self.setting, place.split, place.index):
            kinds.append(stream.choice([kind for kind in KINDS if kind != kinds[-1]]))
        return kinds


def hop_subjects(written: WrittenExample[Chain]) -> list[str]:
    """The subject of each hop: that of the brief for the first hop, then the answer of the hop before."""
    return [written.brief.subject, *(hop.answer for hop in written.form.hops[:-1])]


def check_chain(form: Chain, names: Sequence[str]) -> None:
    """Raises: RejectedError for a chain that does not go through these names, or that can be cut short."""
    check_documents(form.hops, names)
    for hop, name, after in zip(form.hops, names, [*names[1:], None], strict=True):
        check_question(hop.question, name, [hop.answer])
        find_answer(hop.answer, hop, name)
        if after is not None and hop.answer != after:
            raise RejectedError("other chain", f"the answer to {hop.question!r} must be {after!r}, not {hop.answer!r}")
    answer = form.hops[-1].answer
    for number, hop in enumerate(form.hops):
        others = [name for i, name in enumerate(names) if i not in (number, number + 1)]
        check_without([hop], others if number == len(names) - 1 else [*others, answer])
    check_question(form.question, names[0], [*names[1:], answer])
    # A reader finds the first passage by the words that it shares with the question: these have to be the name.
    shared = common_words(form.question, f"{form.hops[0].title} {form.hops[0].passage}")
    if comparable(names[0]) not in shared:
        raise RejectedError(
            "other question", f"the question repeats words of the first passage, {shared!r}; word it differently"
        )
