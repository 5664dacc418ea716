"""Needles that a language model wrote: documents that state one insight, each in words of its own."""

from collections.abc import Sequence

from pydantic import Field

from builders.summhay_synth.citing import citing_concept, draw_citations
from builders.summhay_synth.wording import check_wordings
from builders.writing.briefs import Brief
from builders.writing.checks import Form, Line, Written, WrittenDocuments, check_documents
from builders.writing.concept import CheckedPrompt, ExampleUnit, LlmConcept, WrittenExample
from builders.writing.requests import RejectedError, Stage
from synthctx_data.example import Concept, Span
from synthctx_data.matching import comparable
from synthctx_data.prompts import render

_ADDRESS = "summhay_synth/llm"
_INSIGHT_WORDS = 6, 40
_TELLING = 5  # a word of as many letters, or more, is a telling one
_STATED = 0.8  # a document with more of an insight's telling words seems to state the insight


class Stating(Written):
    """A document, and the sentence in which it states the insight."""

    statement: Line


class Insight(Form):
    """An insight, and the documents that state it."""

    insight: Line
    documents: tuple[Stating, ...] = Field(max_length=16)


class Llm(LlmConcept[Insight]):
    """The concept expression `llm` of SummHay. A needle is the sentence of a document that states the insight.

    The distractors are documents about the same subject, and about others of its kind.
    """

    stages = (
        Stage(_ADDRESS, "needle", Insight, 1400, 6144),
        Stage(_ADDRESS, "distractors", WrittenDocuments, 850, 3072),
    )

    def order(self, place: ExampleUnit, brief: Brief, number: int) -> CheckedPrompt[Insight]:
        wanted = draw_citations(self.setting, place.split, place.index)

        def check(form: Insight) -> None:
            check_documents(form.documents, [brief.subject] * wanted)
            check_insight(form, brief.subject)

        return CheckedPrompt(render(_ADDRESS, "needle", it=brief, documents=wanted), check)

    def distractor_order(
        self, place: ExampleUnit, written: WrittenExample[Insight], number: int
    ) -> CheckedPrompt[WrittenDocuments]:
        kinds = [written.brief.kind] * 2
        others = self.briefs.names(place.split, place.index, f"distractors {number}", kinds)

        def check(form: WrittenDocuments) -> None:
            check_documents(form.documents, [written.brief.subject, written.brief.subject, *others])
            check_not_stated(form.documents, written.form.insight)

        return CheckedPrompt(
            render(_ADDRESS, "distractors", it=written.brief, needle=written.form, others=others), check
        )

    def needles(self, form: Insight) -> Sequence[Written]:
        return form.documents

    def kept_out(self, concept: Concept) -> Sequence[str]:
        return [needle.text for needle in concept.needles]

    def concept(self, split: str, index: int) -> Concept:
        written = self.written_example(split, index)
        found = []
        for document in written.form.documents:
            page = self.setting.layout.page(document.document)
            start = page.text.start + document.passage.index(document.statement)
            found.append((page, Span(start, start + len(document.statement))))
        return citing_concept(self.setting, written.form.insight, found, written.writer)


def check_insight(form: Insight, subject: str) -> None:
    """Raises: RejectedError for an unusable insight, or a statement that is not in its passage or is worded like another."""
    least, most = _INSIGHT_WORDS
    if subject not in form.insight or not least <= len(form.insight.split()) <= most:
        raise RejectedError(
            "other insight", f"the insight must be one sentence of 10 to 30 words that names {subject!r}"
        )
    for document in form.documents:
        if not document.statement or document.statement not in document.passage:
            raise RejectedError(
                "not in passage", f"a statement does not stand in its passage word for word: {document.statement!r}"
            )
    check_wordings([form.insight, *(document.statement for document in form.documents)])


def check_not_stated(documents: Sequence[Written], insight: str) -> None:
    """Raises: RejectedError if a document has so many words of the insight that it seems to state it."""
    telling = {word for word in comparable(insight).split() if len(word) >= _TELLING}
    for document in documents:
        if telling and len(telling & set(document.normal.split())) > _STATED * len(telling):
            raise RejectedError("states it", f"the document titled {document.title!r} seems to state the insight")
