"""Needles that a language model wrote: a passage about a made-up subject, and a question that nothing else answers."""

from collections.abc import Sequence

from pydantic import Field

from builders.llm import LlmConcept, Place, Told
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
from synthctx_data.writing import Asking, Editor, Stage

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

    def write(self, editor: Editor, place: Place, number: int) -> Asking[Told[Asked]]:
        brief = self.briefs.draw(place.split, place.index, number)

        def check(form: Asked) -> Asked:
            check_documents([form], [brief.subject])
            check_question(form.question, brief.subject, [form.answer])
            find_answer(form.answer, form, brief.subject)
            editor.refuse_copies("needles", [form.passage])
            return form

        form, writer = yield from editor.ask(place.unit, self.stages[0], render(_ADDRESS, "needle", it=brief), check)
        return Told(form, brief, (), writer)

    def distract(self, editor: Editor, place: Place, told: Told[Asked], number: int) -> Asking[tuple[Written, ...]]:
        kinds = [told.brief.kind] * 2
        others = self.briefs.names(place.split, place.index, f"distractors {number}", kinds)
        prompt = render(_ADDRESS, "distractors", it=told.brief, needle=told.form, others=others)

        def check(form: WrittenDocuments) -> tuple[Written, ...]:
            check_documents(form.documents, [told.brief.subject, *others])
            check_without(form.documents, [told.form.answer])
            editor.refuse_copies("distractors", [told.form.passage, *(written.passage for written in form.documents)])
            return form.documents

        documents, _ = yield from editor.ask(place.unit, self.stages[1], prompt, check)
        return documents

    def needles(self, form: Asked) -> Sequence[Written]:
        return (form,)

    def concept(self, split: str, index: int) -> Concept:
        told = self.told(split, index)
        form = told.form
        page = self.setting.layout.page(form.document)
        answer = find_answer(form.answer, form, told.brief.subject).shift(page.text.start)
        needle = Needle(page, Span(0, page.text.end), answer)
        return Concept(form.question, form.answer, (form.answer,), (needle,), writer=told.writer)
