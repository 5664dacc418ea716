"""Real needles: the questions and gold passages of a corpus in the format of Lost in the Middle (Liu et al. 2024)."""

from typing import Any

from builders.real_questions import COVERED, RealQuestions, UnusableError, covered
from synthctx_data.corpora import Question
from synthctx_data.example import Span


class Real(RealQuestions):
    """The concept expression `real` of MDQA: questions of one hop."""

    reads = RealQuestions.reads | {"questions", "completion"}
    license = "cc-by-sa-3.0"
    source = "nq-open-oracle.jsonl.gz of Lost in the Middle"

    def find(self, question: Question) -> tuple[Span, ...]:
        if len(question.hops) != 1:
            raise UnusableError("of several hops")
        return super().find(question)


class RealLimited(Real):
    """The concept expression `real_limited` of MDQA: real questions that ask for a relation that templates cover."""

    name = "real_limited"

    def sources(self) -> dict[str, Any]:
        return {**super().sources(), "relations": sorted(COVERED)}

    def wants(self, question: Question) -> bool:
        return covered(question.text)
