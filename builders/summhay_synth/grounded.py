"""Statements that several of a user's documents support, found by a language model."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from pydantic import Field

from builders.summhay_synth.citing import citing_concept
from builders.summhay_synth.wording import check_wordings
from builders.writing.checks import Form, Line, Text
from builders.writing.grounded import SHARED, GroundedExpression
from builders.writing.grounded_checks import check_names, find_words
from builders.writing.requests import Asking, Editor, RejectedError, Stage
from synthctx_data.distractors import interleave
from synthctx_data.example import Concept, Span
from synthctx_data.prompts import render
from synthctx_data.seeding import Stream

_ADDRESS = "summhay_synth/grounded"
_SHOWN = 8  # passages, of different documents
_LEAST = 2  # of them that state an insight
_NEAR = 12  # other passages, which may state it too
_WORDS = 8, 35  # of an insight


class Stating(Form):
    """A passage, by its number in the request, and its sentence that states the insight."""

    number: int
    statement: Text


class Insight(Form):
    """An insight, and the passages that state it."""

    insight: Line
    passages: tuple[Stating, ...] = Field(max_length=16)


class Numbers(Form):
    """The numbers of the passages that state an insight."""

    passages: tuple[int, ...] = Field(max_length=32)


@dataclass(frozen=True)
class Supported:
    """An insight, with the passages that state it and the spans of their statements, in characters of their texts.

    too: passages that were found to state it too. They stand in no context of this insight.
    """

    insight: str
    found: tuple[tuple[int, Span], ...]
    too: tuple[int, ...]
    writer: str


_INSIGHT = Stage(_ADDRESS, "question", Insight, 220, 1500, SHARED)
_STATING = Stage(_ADDRESS, "stating", Numbers, 20, 200, SHARED, 2400)
_OTHERS = Stage(_ADDRESS, "others", Numbers, 20, 200, SHARED, 3500)


class Grounded(GroundedExpression[Supported]):
    """The concept expression `grounded` of SummHay. A needle is the sentence of a passage that states the insight."""

    reads = GroundedExpression.reads - {"question_kinds", "question_wording"}
    stages = (_INSIGHT, _STATING, _OTHERS)
    least_documents = 2
    draws = 24

    def write(self, editor: Editor, unit: str, split: str, index: int, number: int) -> Asking[Supported]:
        shown = self._together(split, self.passage(split, index, number), self.rng(split, index, f"order {number}"))

        def check(form: Insight) -> tuple[str, tuple[tuple[int, Span], ...]]:
            found = self._find(form, shown)
            for passage, span in found:
                editor.refuse_marks(self.marks(passage, span))
            return form.insight, found

        prompt = render(_ADDRESS, "question", passages=list(map(self.shown, shown)), words=_WORDS)
        (insight, found), writer = yield from editor.ask(unit, _INSIGHT, prompt, check)
        citing = {passage for passage, _ in found}
        said = yield from self._stating(editor, unit, _STATING, insight, shown)
        if not citing <= said:
            editor.reject("not confirmed", "another reader does not find it in all of its passages")
        near = self._near([insight, *(self.documents[n].text[span.start : span.end] for n, span in found)], shown)
        if near:
            said |= yield from self._stating(editor, unit, _OTHERS, insight, near)
        return Supported(insight, found, tuple(sorted(said - citing)), writer)

    def passages(self, result: Supported) -> Sequence[int]:
        return [passage for passage, _ in result.found]

    def kept_out(self, result: Supported) -> Sequence[int]:
        return result.too

    def asked(self, result: Supported) -> Sequence[tuple[int, Span]]:
        return result.found

    def concept(self, split: str, index: int) -> Concept:
        result = self.written_example(split, index)
        found = []
        for number, span in result.found:
            page = self.page(number)
            found.append((page, span.shift(page.text.start)))
        return citing_concept(self.setting, result.insight, found, result.writer)

    def _together(self, split: str, first: int, stream: Stream) -> list[int]:
        """A passage, and those of other documents that are nearest to it by their words, one of each document, in an order of their own.

        So a later request for the same passages is another one, and may have another answer.
        """
        allowed, taken = self.askable(split), {self.document_of[first]}
        shown = [first]
        for number in self.nearest(self.documents[first].text):
            if number in allowed and self.document_of[number] not in taken:
                taken.add(self.document_of[number])
                shown.append(number)
            if len(shown) == _SHOWN:
                break
        if len(shown) < _LEAST:
            raise RejectedError("no other document", "no other document is near to this one")
        return stream.shuffled(shown)

    def _near(self, texts: Sequence[str], shown: Sequence[int]) -> list[int]:
        """The passages nearest to an insight and its statements by their words, but for those that were shown."""
        found = dict.fromkeys(interleave(islice(self.nearest(text), len(shown) + _NEAR) for text in texts))
        return [number for number in found if number not in shown][:_NEAR]

    def _stating(
        self, editor: Editor, unit: str, stage: Stage, insight: str, numbers: Sequence[int]
    ) -> Asking[set[int]]:
        """The passages, of these, that state an insight."""

        def check(form: Numbers) -> set[int]:
            if not all(1 <= number <= len(numbers) for number in form.passages):
                raise RejectedError("other count", f"there are passages 1 to {len(numbers)}, got {form.passages}")
            return {numbers[number - 1] for number in form.passages}

        prompt = render(_ADDRESS, "stating", insight=insight, passages=list(map(self.shown, numbers)))
        said, _ = yield from editor.ask(unit, stage, prompt, check)
        return said

    def _find(self, form: Insight, shown: Sequence[int]) -> tuple[tuple[int, Span], ...]:
        """The passages that state the insight, with their statements. Raises: RejectedError for an insight that cannot be used."""
        if not form.insight:
            raise RejectedError("nothing in common", "no two of these passages say one thing", final=True)
        numbers = [stating.number for stating in form.passages]
        if len(set(numbers)) < max(len(numbers), _LEAST) or not all(1 <= n <= len(shown) for n in numbers):
            raise RejectedError(
                "other count", f"give two or more passages of 1 to {len(shown)}, each once; got {numbers}"
            )
        least, most = _WORDS
        if not least <= len(form.insight.split()) <= most:
            raise RejectedError("other insight", f"the statement must be one sentence of {least} to {most} words")
        check_wordings([form.insight, *(stating.statement for stating in form.passages)])
        found = []
        for stating in form.passages:
            number = shown[stating.number - 1]
            found.append((number, find_words(stating.statement, self.documents[number])))
        check_names(form.insight, [self.documents[number] for number, _ in found])
        return tuple(found)
