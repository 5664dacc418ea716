"""Real needles: the questions and supporting paragraphs of MuSiQue-Ans (Trivedi et al. 2022)."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from builders.musique_synth.hops import draw_hops
from builders.real_questions import COVERED, RealQuestions, UnusableError, covered
from synthctx_data.corpora import Question
from synthctx_data.example import Span


class Real(RealQuestions):
    """The concept expression `real` of MuSiQue: questions of 2 to 4 hops on a linear chain.

    Each hop asks about the answer of the hop before, and about no other answer.
    """

    license = "cc-by-4.0"
    source = "musique_ans_v1.0_train.jsonl of MuSiQue"
    reads = RealQuestions.reads | {"hops", "completion"}

    def hops(self, split: str, index: int) -> int:
        return draw_hops(self.setting, split, index)

    def find(self, question: Question) -> tuple[Span, ...]:
        if not is_linear(question):
            raise UnusableError("that are no chain of hops")
        return super().find(question)

    def advice(self, split: str, enough: int, there: Mapping[int, int]) -> str:
        weights = ",".join(f"{hops}:{count}" for hops, count in there.items())
        if not weights:
            return super().advice(split, enough, there)
        weighed = replace(self.setting, options=self.setting.options.model_copy(update={"hops": weights}))
        left = Counter(there)
        more = 0
        while left[hops := draw_hops(weighed, split, more)]:
            left[hops] -= 1
            more += 1
        return f"{super().advice(split, enough, there)}, and with --hops {weights} for --{split} {more}"


class RealLimited(Real):
    """The concept expression `real_limited` of MuSiQue: the last hop asks for a relation that templates cover."""

    name = "real_limited"

    def sources(self) -> dict[str, Any]:
        return {**super().sources(), "relations": sorted(COVERED)}

    def wants(self, question: Question) -> bool:
        last = question.hops[-1].question
        return covered(last) or any(last.endswith(f">> {predicate}") for predicate in _PREDICATES)


# The relations of Wikidata that templates cover, as MuSiQue names them in some hops.
_PREDICATES = (
    "place of birth", "date of birth", "employer", "student of", "award received", "author", "screenwriter", "creator", "composer",
    "cast member", "performer", "publication date", "filming location", "founded by", "inception", "headquarters location",
    "chief executive officer", "head of government", "located in the administrative territorial entity", "population",
)  # fmt: skip


def is_linear(question: Question) -> bool:
    """True if the question has several hops, each of which names the answer of the hop before (#1, #2, ...) and no other."""
    named = [re.findall(r"#(\d+)", hop.question) for hop in question.hops]
    return len(named) > 1 and all(set(found) == ({str(i)} if i else set()) for i, found in enumerate(named))
