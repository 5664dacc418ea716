"""Questions that a language model asks through several of a user's documents, each of which leads to the next."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import Field

from builders.musique_synth.hops import draw_hops
from builders.musique_synth.links import Links, Path
from builders.writing.checks import Form, Line, Text
from builders.writing.grounded import KNOWN, NEAR, SHARED, WITHOUT, GroundedExpression, one_line
from builders.writing.grounded_checks import check_asked, check_grounded_question, check_once, find_support
from builders.writing.requests import Asking, Editor, RejectedError, Stage
from synthctx_data.errors import CorpusError
from synthctx_data.example import Concept, Needle, Page, Span, Step
from synthctx_data.matching import comparable, comparables, holds
from synthctx_data.prompts import render
from synthctx_data.row_checks import common_words
from synthctx_data.task import Setting

_ADDRESS = "musique_synth/grounded"
_SHARE = 0.75  # of the budget, that the passages of a chain may take


class Hop(Form):
    """A step with its answer, and the sentence that supports it."""

    question: Line
    answer: Line = Field(min_length=1)
    support: Text


class Chain(Form):
    """The steps of a chain, and the question over all of them."""

    question: Line
    steps: tuple[Hop, ...] = Field(max_length=8)


@dataclass(frozen=True)
class Chained:
    """A question through passages, with the spans of every step's support and answer, in characters of its passage's text."""

    form: Chain
    path: Path
    found: tuple[tuple[Span, Span], ...]
    writer: str


_QUESTION = Stage(_ADDRESS, "question", Chain, 330, 1500, SHARED)


class Grounded(GroundedExpression[Chained]):
    """The concept expression `grounded` of MuSiQue. A needle is the sentence of a passage that supports the answer of a hop."""

    reads = GroundedExpression.reads | {"hops", "completion"}
    stages = (_QUESTION, KNOWN, NEAR)
    least_documents = 2
    draws = 120  # most of which find no chain, and ask nothing

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._links = Links(self.documents, self.document_of, self.normals)
        if setting.options.model is not None:  # else the sample says how many there are
            self._require_chains()

    def write(self, editor: Editor, unit: str, split: str, index: int, number: int) -> Asking[Chained]:
        path = self._path(split, index, number)
        editor.refuse_marks([frozenset(path.passages)])
        kind, _ = self.kind(split, index, number, self.documents[path.passages[-1]].text)

        def check(form: Chain) -> tuple[Chain, tuple[tuple[Span, Span], ...]]:
            found = self._find(form, path)
            editor.refuse_marks(self.marks(path.passages[-1], found[-1][0]))
            return form, found

        shown = list(map(self.shown, path.passages))
        asked = render(SHARED, f"kind_{kind}").strip()
        prompt = render(_ADDRESS, "question", passages=shown, names=path.names, kind=asked)
        (form, found), writer = yield from editor.ask(unit, _QUESTION, prompt, check)
        answers = self.right(form.question, form.steps[-1].answer)
        yield from self.require_unknown(editor, unit, form.question, answers)
        yield from self.require_alone(editor, unit, form.question, answers, path.passages)
        yield from self.require_all(editor, unit, form.question, answers, path.passages)
        return Chained(form, path, found, writer)

    def stages_of(self, split: str, index: int) -> tuple[Stage, ...]:
        return (*self.stages, *[WITHOUT] * (draw_hops(self.setting, split, index) - 1))

    def passages(self, result: Chained) -> Sequence[int]:
        return result.path.passages

    def own_marks(self, result: Chained) -> Sequence[Hashable]:
        return [frozenset(result.path.passages)]

    def asked(self, result: Chained) -> Sequence[tuple[int, Span]]:
        return [(result.path.passages[-1], result.found[-1][0])]

    def concept(self, split: str, index: int) -> Concept:
        chained = self.written_example(split, index)
        needles = []
        for passage, (support, answer) in zip(chained.path.passages, chained.found, strict=True):
            page = self.page(passage)
            needles.append(Needle(page, support.shift(page.text.start), answer.shift(page.text.start)))
        form = chained.form
        steps = tuple(Step(step.question, one_line(step.answer)) for step in form.steps)
        last = one_line(needles[-1].text)
        return Concept(form.question, last, self._answers(chained), tuple(needles), steps, writer=chained.writer)

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        chained = self.written_example(split, index)
        subject = common_words(chained.form.question, concept.needles[0].sentence)
        links = pairwise([subject, *chained.path.names, chained.form.steps[-1].answer])
        return self.around(split, index, concept, links)

    def _answers(self, chained: Chained) -> tuple[str, ...]:
        """The right answers, but for those that a passage before the last one holds too."""
        every = self.right(chained.form.question, one_line(chained.form.steps[-1].answer))
        before = [self.normals[number] for number in chained.path.passages[:-1]]
        return tuple(answer for answer in every if not any(holds(text, comparables([answer])) for text in before))

    def _path(self, split: str, index: int, number: int) -> Path:
        start = self.passage(split, index, number)
        hops = draw_hops(self.setting, split, index)
        path = self._links.path(start, hops, self.askable(split), self.rng(split, index, f"path {number}"))
        if path is None:
            raise RejectedError("no chain", f"no {hops} passages of different documents lead from one to the next")
        documents = [self.documents[passage] for passage in path.passages]
        if not self.setting.layout.fits("", documents, int(_SHARE * self.setting.options.max_tokens)):
            raise RejectedError("too long", f"{hops} passages do not fit in the budget")
        return path

    def _require_chains(self) -> None:
        """Raises: CorpusError for a number of hops that the documents of a split cannot have."""
        for split, asked in self.setting.sizes.items():
            there = sorted(self.askable(split))
            for hops in {draw_hops(self.setting, split, index): None for index in range(asked)}:
                stream = self.rng(split, 0, f"chain of {hops}")
                if not any(self._links.path(start, hops, self.askable(split), stream) for start in there):
                    raise CorpusError(
                        f"--corpus: expected {hops} passages of different documents, each of which names something that the next one names "
                        f"too, and the {split} split has none; give more documents, or fewer --hops, such as --hops 2,3, or say --{split} 0"
                    )

    def _find(self, form: Chain, path: Path) -> tuple[tuple[Span, Span], ...]:
        """The spans of every step's support and answer. Raises: RejectedError for steps that do not lead along the path."""
        if not form.question:
            raise RejectedError("no good question", "no natural question goes through these passages", final=True)
        if len(form.steps) != len(path.passages):
            raise RejectedError("other count", f"expected {len(path.passages)} steps, got {len(form.steps)}")
        found = []
        documents = [self.documents[number] for number in path.passages]
        for at, (step, document) in enumerate(zip(form.steps, documents, strict=True)):
            if at < len(path.names) and comparable(step.answer) != comparable(path.names[at]):
                raise RejectedError("other chain", f"the answer of step {at + 1} must be {path.names[at]!r}")
            if at and not holds(comparable(step.question), comparables([path.names[at - 1]])):
                raise RejectedError("other chain", f"the question of step {at + 1} must contain {path.names[at - 1]!r}")
            check_asked(step.question, step.answer)
            found.append(find_support(step.support, step.answer, document))
        last = form.steps[-1].answer
        if any(holds(self.normals[number], comparables([last])) for number in path.passages[:-1]):
            raise RejectedError("cut short", f"an earlier passage holds the answer {last!r} too")
        for name in path.names:
            if holds(comparable(form.question), comparables([name])):
                raise RejectedError("gives it away", f"the question must describe {name!r}, not name it")
        check_grounded_question(form.question, documents[0], last)
        check_once(last, found[-1][0], documents[-1])
        self.check_rare(last)
        return tuple(found)
