"""Needles that a language model wrote: a passage about a made-up subject, and a question that nothing else answers."""

from collections.abc import Sequence

from pydantic import Field

from builders.llm import LlmConcept, Order, Place, Told
from synthctx_data.briefs import Brief
from synthctx_data.example import Concept, Needle, Span
from synthctx_data.passages import (
    Line,
    Written,
    WrittenDocuments,
    check_documents,
    check_question,
    check_without,
    find_answer,
)
from synthctx_data.prompts import render
from synthctx_data.writing import Stage

_ADDRESS = "mdqa_synth/llm"


class Asked(Written):
    """A passage with its question and answer."""

    question: Line
    answer: Line = Field(min_length=1)


class Llm(LlmConcept[Asked]):
    """The needle is the whole passage; its distractors are another on its subject, and two on others with the same relation and style."""

    stages = (
        Stage(_ADDRESS, "needle", Asked, 300, 1024),
        Stage(_ADDRESS, "distractors", WrittenDocuments, 650, 2048),
    )

    def order(self, place: Place, brief: Brief, number: int) -> Order[Asked]:
        def check(form: Asked) -> None:
            check_documents([form], [brief.subject])
            check_question(form.question, brief.subject, [form.answer])
            find_answer(form.answer, form, brief.subject)

        return Order(render(_ADDRESS, "needle", it=brief), check)

    def distractor_order(self, place: Place, told: Told[Asked], number: int) -> Order[WrittenDocuments]:
        kinds = [told.brief.kind] * 2
        others = self.briefs.names(place.split, place.index, f"distractors {number}", kinds)

        def check(form: WrittenDocuments) -> None:
            check_documents(form.documents, [told.brief.subject, *others])
            check_without(form.documents, [told.form.answer])

        return Order(render(_ADDRESS, "distractors", it=told.brief, needle=told.form, others=others), check)

    def needles(self, form: Asked) -> Sequence[Written]:
        return (form,)

    def concept(self, split: str, index: int) -> Concept:
        told = self.told(split, index)
        form = told.form
        page = self.setting.layout.page(form.document)
        answer = find_answer(form.answer, form, told.brief.subject).shift(page.text.start)
        needle = Needle(page, Span(0, page.text.end), answer)
        return Concept(form.question, form.answer, (form.answer,), (needle,), writer=told.writer)
