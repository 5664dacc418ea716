"""Real needles: the insights and documents of SummHay (Laban et al. 2024)."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from builders.summhay_synth.citing import citing_concept, draw_citations
from synthctx_data.corpora import Question, read_corpus
from synthctx_data.distractors import Pool, make_ranker
from synthctx_data.errors import CorpusError, UsageError
from synthctx_data.example import Concept, Page, Span
from synthctx_data.options import CORPUS_OPTIONS
from synthctx_data.seeding import rng
from synthctx_data.task import ConceptExpression, Setting


class Real(ConceptExpression):
    """Each insight of a topic; a needle is a whole document that contains it, the haystack the topic's other documents.

    Up to ten of the documents that contain it are cited, and none of the others that do stands in the context. Once a topic is
    used up, documents of other topics follow. Train takes insights from one end of their random order, validation from
    the other.
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
        order = rng(options.seed, setting.task, self.name, "insights").order(len(insights))
        self._insights = [insights[i] for i in order]
        asked = sum(setting.sizes.values())
        if len(insights) < asked:
            raise CorpusError(
                f"there are {len(insights)} insights in this corpus, and --train and --validation ask for {asked}; "
                "lower them or give a larger --corpus"
            )
        self._pool = Pool(setting.layout, self._corpus.documents)
        self._ranker = make_ranker(options.distractors, self._corpus.documents, options.dense_model)

    def sources(self) -> dict[str, Any]:
        return {"corpus": self._corpus.identity}

    def concept(self, split: str, index: int) -> Concept:
        insight = self._at(split, index)
        wanted = draw_citations(self.setting, split, index)
        order = self.rng(split, index, "needle").order(len(insight.gold))
        pages = [self._pool.page(insight.gold[i]) for i in order[:wanted]]
        return citing_concept(self.setting, insight.text, [(page, Span(0, page.text.end)) for page in pages])

    def haystack(self, split: str, index: int, concept: Concept) -> Iterator[Page]:
        insight = self._at(split, index)
        own = (insight.own[i] for i in self.rng(split, index, "own").order(len(insight.own)))
        ranked = self._ranker.order(insight.text, self.rng(split, index, "haystack"))
        return self._pool.pages(chain(own, ranked), (), insight.gold)

    def _at(self, split: str, index: int) -> Question:
        return self._insights[index if split == "train" else -1 - index]
