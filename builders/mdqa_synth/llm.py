"""Needles that a language model wrote: a passage about a made-up subject, and a question that only this passage answers."""

from collections.abc import Sequence

from pydantic import Field

from builders.writing.briefs import Brief
from builders.writing.checks import (
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
from builders.writing.requests import Stage
from synthctx_data.example import Concept, Needle, Span
from synthctx_data.prompts import render

_ADDRESS = "mdqa_synth/llm"


class Asked(Written):
    """A passage with its question and answer."""

    question: Line
    answer: Line = Field(min_length=1)


class Llm(LlmConcept[Asked]):
    """The concept expression `llm` of MDQA. The needle is a whole passage.

    Its distractors are another passage about its subject, and two about other subjects with the same relation and style.
    """

    reads = LlmConcept.reads | {"questions", "completion"}
    stages = (
        Stage(_ADDRESS, "needle", Asked, 300, 1024),
        Stage(_ADDRESS, "distractors", WrittenDocuments, 650, 2048),
    )

    def order(self, place: ExampleUnit, brief: Brief, number: int) -> CheckedPrompt[Asked]:
        def check(form: Asked) -> None:
            check_documents([form], [brief.subject])
            check_question(form.question, brief.subject, [form.answer])
            find_answer(form.answer, form, brief.subject)

        return CheckedPrompt(render(_ADDRESS, "needle", it=brief), check)

    def distractor_order(
        self, place: ExampleUnit, written: WrittenExample[Asked], number: int
    ) -> CheckedPrompt[WrittenDocuments]:
        kinds = [written.brief.kind] * 2
        others = self.briefs.names(place.split, place.index, f"distractors {number}", kinds)

        def check(form: WrittenDocuments) -> None:
            check_documents(form.documents, [written.brief.subject, *others])
            check_without(form.documents, [written.form.answer])

        return CheckedPrompt(
            render(_ADDRESS, "distractors", it=written.brief, needle=written.form, others=others), check
        )

    def needles(self, form: Asked) -> Sequence[Written]:
        return (form,)

    def concept(self, split: str, index: int) -> Concept:
        written = self.written_example(split, index)
        form = written.form
        page = self.setting.layout.page(form.document)
        answer = find_answer(form.answer, form, written.brief.subject).shift(page.text.start)
        needle = Needle(page, Span(0, page.text.end), answer)
        return Concept(
            form.question, form.answer, accepted(form.question, form.answer), (needle,), writer=written.writer
        )
