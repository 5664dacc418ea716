"""Real needles: the insights and documents of SummHay (Laban et al. 2024)."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from builders.real_questions import distinct, set_apart
from builders.summhay_synth.citing import citing_concept, draw_citations
from synthctx_data.corpora import read_corpus
from synthctx_data.distractors import Pool, make_ranker
from synthctx_data.errors import CorpusError, UsageError
from synthctx_data.example import Concept, Page, Span
from synthctx_data.metrics import normalize_answer
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

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        options = setting.options
        if not options.corpus:
            raise UsageError(
                f"real variants of {setting.task} need --corpus with topics, such as SummHay's topic_news1.json"
            )
        self._corpus = read_corpus(options.corpus, options.corpus_text_column)
        insights = [q for q in self._corpus.questions if q.hops and not q.hops[0].answers]
        insights = distinct(insights, lambda insight: {normalize_answer(insight.text)})
        train, validation = set_apart(insights, rng(options.seed, setting.task, self.name, "insights"))
        self._insights = {"train": train, "validation": validation}
        for split, asked in setting.sizes.items():
            if len(self._insights[split]) < asked:
                raise CorpusError(
                    f"--corpus: expected {asked} insights for the {split} split, and there are {len(self._insights[split])} (of "
                    f"{len(insights)} in the corpus; a tenth is set apart for validation); lower --{split} or give a larger --corpus"
                )
        self._pool = Pool(setting.layout, self._corpus.documents)
        self._ranker = make_ranker(options.distractors, self._corpus.documents, options.dense_model)

    def sources(self) -> dict[str, Any]:
        return {"corpus": self._corpus.identity}

    def concept(self, split: str, index: int) -> Concept:
        insight = self._insights[split][index]
        wanted = draw_citations(self.setting, split, index)
        order = self.rng(split, index, "needle").order(len(insight.gold))
        pages = [self._pool.page(insight.gold[i]) for i in order[:wanted]]
        return citing_concept(self.setting, insight.text, [(page, Span(0, page.text.end)) for page in pages])

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        insight = self._insights[split][index]
        own = (insight.own[i] for i in self.rng(split, index, "own").order(len(insight.own)))
        ranked = self._ranker.order(insight.text, self.rng(split, index, "haystack"))
        return self._pool.pages(chain(own, ranked), (), insight.gold)
