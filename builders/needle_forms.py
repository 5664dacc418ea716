"""What options make of the needles of a made-up concept: the document that each stands in, and how many there are."""

from collections.abc import Sequence
from dataclasses import replace

from synthctx_data.evidence import all_together, with_evidence
from synthctx_data.example import Concept, Document, Needle, Span
from synthctx_data.layout import SENTENCE_END, Layout
from synthctx_data.prompts import wordings

_ORDINALS = ("first", "second", "third", "fourth", "fifth")


def rehoused(layout: Layout, needle: Needle, host: Document | None) -> Needle:
    """The needle in place of the sentence or line in the middle of another document, so that this keeps its kind and about its length.

    Without a host, the needle is a document by itself, which has no title.
    """
    if host is None:
        return _within(layout, needle, "", "", "")
    ends = [found.end() for found in SENTENCE_END.finditer(host.text)]
    after = next((end for end in ends if 2 * end > len(host.text)), len(host.text))
    before = max((end for end in ends if end < after), default=0)
    gap = len(host.text[before:]) - len(host.text[before:].lstrip())
    return _within(layout, needle, host.title, host.text[: before + gap], host.text[after:])


def _within(layout: Layout, needle: Needle, title: str, before: str, after: str) -> Needle:
    page = layout.page(replace(needle.page.document, title=title, text=f"{before}{needle.sentence}{after}"))
    start = page.text.start + len(before)
    moved = start - needle.span.start
    return Needle(page, needle.span.shift(moved), needle.answer.shift(moved))


def near_duplicates(
    layout: Layout, task: str, concept: Concept, others: Sequence[str], depths: Sequence[float], form: str
) -> Concept:
    """A concept with further needles, which are the first one with another answer: those of `others`.

    The needles come in the order of their depths, of which the first is that of the concept's own needle. `form` says what is asked:
    for one of them by its place ("near-duplicates"), for all in their order ("list"), or for their number ("count").
    """
    (own,) = concept.needles
    needles = [own, *(_answering(layout, own, other) for other in others)]
    order = sorted(range(len(needles)), key=lambda i: depths[i])
    placed = tuple(needles[i] for i in order)
    asked = order.index(0)
    (wording,) = wordings(f"{task}/_forms", form.replace("-", "_"), "question", "place")
    question = wording.fill(question=concept.question, place=_ORDINALS[asked])
    if form == "near-duplicates":
        return replace(concept, question=question, needles=placed, asked=asked, form=form)
    listed, counted = all_together([needle.text for needle in placed])
    said = listed if form == "list" else counted
    return replace(concept, question=question, completion=said, answers=(said,), needles=placed, form=form)


def _answering(layout: Layout, needle: Needle, answer: str) -> Needle:
    """The needle with another answer, in a document that differs in nothing else."""
    document, start = needle.page.document, needle.page.text.start
    before, after = document.text[: needle.answer.start - start], document.text[needle.answer.end - start :]
    page = layout.page(replace(document, text=f"{before}{answer}{after}"))
    longer = len(answer) - len(needle.text)
    return Needle(
        page, Span(needle.span.start, needle.span.end + longer), Span(needle.answer.start, needle.answer.end + longer)
    )


def quoting(concept: Concept) -> Concept:
    """The concept, answered by its needles word for word and then by the answer."""
    asked = concept.needles if concept.asked is None else concept.needles[concept.asked : concept.asked + 1]
    said = with_evidence([needle.sentence for needle in asked], concept.completion)
    return replace(concept, completion=said, quotes=True)
