"""Real needles: the insights and documents of SummHay (Laban et al. 2024)."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from builders.real_questions import distinct, set_apart
from builders.summhay_synth.citing import citing_concept, draw_citations
from synthctx_data.corpora import Question
from synthctx_data.distractors import Pool, make_ranker, read_safely
from synthctx_data.errors import CorpusError, UsageError
from synthctx_data.example import Concept, Page, Span
from synthctx_data.matching import comparable
from synthctx_data.options import CORPUS_OPTIONS
from synthctx_data.seeding import rng
from synthctx_data.task import ConceptExpression, Setting


class Real(ConceptExpression):
    """The concept expression `real` of SummHay: the insights of its topics. A needle is a whole document with the insight.

    The haystack is the topic's other documents, and then documents of other topics. Up to ten of the documents that contain
    the insight are cited, and the context holds no other document that contains it. A tenth of the insights, drawn at
    random, is set apart for validation.
    """

    name = "real"
    reads = CORPUS_OPTIONS
    needs = "--corpus: topics of SummHay"
    needed = frozenset({"corpus"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        options = setting.options
        if not options.corpus:
            raise UsageError(
                f"real variants of {setting.task} need --corpus with topics, such as SummHay's topic_news1.json"
            )
        self._corpus = read_safely(setting.layout, options)
        insights = [q for q in self._corpus.questions if q.hops and not q.hops[0].answers]
        if not insights:
            raise CorpusError(
                f"--corpus: expected topics of SummHay, and found {len(self._corpus.documents):,} documents without any"
            )
        insights = distinct(insights, lambda insight: {comparable(insight.text)})
        train, validation = set_apart(insights, rng(options.seed, setting.task, self.name, "insights"))
        self._insights = {
            "train": list(filter(self._has_room, train)),
            "validation": list(filter(self._has_room, validation)),
        }
        for split, asked in setting.sizes.items():
            if len(self._insights[split]) < asked:
                raise CorpusError(
                    f"--corpus: expected {asked} insights for the {split} split, and there are {len(self._insights[split])} (of "
                    f"{len(insights)} in the corpus; a tenth is set apart for validation); lower --{split} or give a larger --corpus"
                )
        self._pool = Pool(setting.layout, self._corpus.documents)
        self._ranker = make_ranker(options.distractors, self._corpus.documents, options.dense_model)

    def _has_room(self, insight: Question) -> bool:
        """True if the budget has room for one of the insight's documents; else the insight is passed over."""
        if not any(self._fits(insight, number) for number in insight.gold):
            self._corpus.passed.add(
                "insights whose documents are too long for --max-tokens, passed over", repr(insight.text[:60])
            )
            return False
        return True

    def _fits(self, insight: Question, number: int) -> bool:
        document = self._corpus.documents[number]
        return self.setting.layout.fits(insight.text, [document], self.setting.options.max_tokens)

    def notes(self) -> list[str]:
        return self._corpus.passed.notes()

    def sources(self) -> dict[str, Any]:
        return {"corpus": self._corpus.identity}

    def concept(self, split: str, index: int) -> Concept:
        insight = self._insights[split][index]
        wanted = draw_citations(self.setting, split, index)
        order = self.rng(split, index, "needle").order(len(insight.gold))
        gold = [number for i in order if self._fits(insight, number := insight.gold[i])]
        pages = [self._pool.page(number) for number in gold[:wanted]]
        return citing_concept(self.setting, insight.text, [(page, Span(0, page.text.end)) for page in pages])

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        insight = self._insights[split][index]
        own = (insight.own[i] for i in self.rng(split, index, "own").order(len(insight.own)))
        ranked = self._ranker.order(insight.text, self.rng(split, index, "haystack"))
        return self._pool.pages(chain(own, ranked), (), insight.gold)
