"""Questions that a language model asks about a user's documents, each answered by one passage."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from builders.writing.checks import Form, Line, Text
from builders.writing.grounded import KNOWN, NEAR, SHARED, GroundedExpression, one_line
from builders.writing.grounded_checks import check_grounded_question, check_once, find_support
from builders.writing.requests import Asking, Editor, RejectedError, Stage
from synthctx_data.example import Concept, Needle, Span
from synthctx_data.prompts import render

_ADDRESS = "mdqa_synth/grounded"
_MOST_WORDS = 25  # of an answer
_SUPPORT_WORDS = 120


class Question(Form):
    """A question with its answer, and the sentence that supports it."""

    question: Line
    answer: Line = Field(min_length=1)
    support: Text


@dataclass(frozen=True)
class Asked:
    """A question about a passage, by its number, with the spans of its support and its answer, in characters of the passage's text."""

    form: Question
    passage: int
    support: Span
    answer: Span
    writer: str


_QUESTION = Stage(_ADDRESS, "question", Question, 90, 600, SHARED)


class Grounded(GroundedExpression[Asked]):
    """The concept expression `grounded` of MDQA. The needle is the sentence of a passage that supports the answer."""

    reads = GroundedExpression.reads | {"questions", "completion"}
    stages = (_QUESTION, KNOWN, NEAR)

    def write(self, editor: Editor, unit: str, split: str, index: int, number: int) -> Asking[Asked]:
        passage = self.passage(split, index, number)
        document = self.documents[passage]
        kind, wording = self.kind(split, index, number, document.text)

        def check(form: Question) -> tuple[Question, Span, Span]:
            if len(form.answer.split()) > _MOST_WORDS or len(form.support.split()) > _SUPPORT_WORDS:
                raise RejectedError("other answer", f"the answer and its support must be short: {form.answer!r}")
            support, answer = find_support(form.support, form.answer, document)
            check_grounded_question(form.question, document, form.answer)
            check_once(form.answer, support, document)
            self.check_rare(form.answer)
            editor.refuse_marks(self.marks(passage, support))
            return form, support, answer

        prompt = render(
            _ADDRESS,
            "question",
            passage=self.shown(passage),
            kind=render(SHARED, f"kind_{kind}").strip(),
            wording=render(SHARED, f"wording_{wording}").strip(),
            part=self.part(split, index, number),
        )
        (form, support, answer), writer = yield from editor.ask(unit, _QUESTION, prompt, check)
        answers = self.right(form.question, form.answer)
        yield from self.require_unknown(editor, unit, form.question, answers)
        yield from self.require_alone(editor, unit, form.question, answers, [passage])
        return Asked(form, passage, support, answer, writer)

    def passages(self, result: Asked) -> Sequence[int]:
        return [result.passage]

    def asked(self, result: Asked) -> Sequence[tuple[int, Span]]:
        return [(result.passage, result.support)]

    def concept(self, split: str, index: int) -> Concept:
        asked = self.written_example(split, index)
        page = self.page(asked.passage)
        needle = Needle(page, asked.support.shift(page.text.start), asked.answer.shift(page.text.start))
        question, answer = asked.form.question, one_line(needle.text)
        return Concept(question, answer, self.right(question, answer), (needle,), writer=asked.writer)
