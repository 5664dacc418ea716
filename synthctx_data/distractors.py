"""Pools of documents, and rankers, which decide the documents that become distractors first."""

import hashlib
import shutil
import sys
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from synthctx_data.corpora import Corpus
from synthctx_data.errors import UsageError
from synthctx_data.example import Concept, Document, Page
from synthctx_data.files import whole_folder
from synthctx_data.hub import read_from
from synthctx_data.layout import Layout
from synthctx_data.matching import comparable, comparables, holds
from synthctx_data.options import Options
from synthctx_data.ready_corpus import ReadyDocuments, ready_corpus
from synthctx_data.rules import question_names
from synthctx_data.seeding import Stream

T = TypeVar("T")
_NOTHING = object()
_MOST_PAGES = 100_000  # that a pool keeps: some hundreds of megabytes
_MANY = 100_000  # documents; an index of more takes long enough for a progress bar
_FIRST = 4096  # documents that are sorted first: more than most contexts hold


class Pool:
    """Documents that many examples share. Each is rendered, counted and normalised when it is first needed, and kept a while."""

    def __init__(self, layout: Layout, documents: Sequence[Document]) -> None:
        self._layout = layout
        self.documents = documents
        self._pages: dict[int, Page] = {}

    def page(self, index: int) -> Page:
        """The page of the document at this index."""
        page = self._pages.get(index)
        if page is None:
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()  # rather than all memory is filled
            page = self._pages[index] = self._make_page(index)
        return page

    def _make_page(self, index: int) -> Page:
        if not isinstance(self.documents, ReadyDocuments):
            return self._layout.page(self.documents[index])
        page = self._layout.page(self.documents[index], int(self.documents.tokens[index]))
        self.documents.tokens[index] = page.tokens
        return page

    def normal(self, index: int) -> str:
        """The body of the page at this index, normalised as answers are."""
        page = self.page(index)
        if page.normal is None:
            page.normal = comparable(page.body)
        return page.normal

    def pages(
        self,
        order: Iterable[int],
        answers: Sequence[str],
        without: Collection[int] = (),
        links: Iterable[tuple[str, str]] = (),
    ) -> Iterator[Page]:
        """The pages that may stand in a context, in this order of indices, each once.

        A page is left out if its index is in `without`, if it holds one of the answers, or if it holds both ends of a link.
        """
        unwanted = comparables(answers)
        apart = [(comparable(one), comparable(other)) for one, other in links]
        seen = set(without)
        known = self._pages
        for index in order:
            if index in seen:
                continue
            seen.add(index)
            page = known.get(index) or self.page(index)
            normal = page.normal or self.normal(index)
            if holds(normal, unwanted):
                continue
            for one, other in apart:  # `in` alone first, which a page seldom passes
                if one in normal and other in normal and holds(normal, (one,)) and holds(normal, (other,)):
                    break
            else:
                yield page


def interleave(lists: Iterable[Iterable[T]]) -> Iterator[T]:
    """The first of every list, then the second of every list, and so on."""
    return (item for row in zip_longest(*lists, fillvalue=_NOTHING) for item in row if item is not _NOTHING)  # type: ignore[misc]


class Ranker(Protocol):
    """A ranker: it orders the documents of a pool for a question."""

    def order(self, question: str, stream: Stream) -> Iterable[int]:
        """The indices of all documents, the nearest to the question first. `stream` decides where the question does not."""


class Random:
    """A ranker that puts documents in random order."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._count = len(documents)

    def order(self, question: str, stream: Stream) -> Iterable[int]:
        return stream.order(self._count)


class Bm25:
    """A ranker by BM25 (bm25s). Documents that share no word with the question follow in random order."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents

    @cached_property
    def _index(self) -> Any:
        """The index; None if there is no word in the documents. That of a corpus that lies ready is stored beside it, and mapped."""
        import bm25s

        if not isinstance(self._documents, ReadyDocuments):
            return self._make_index()
        folder, index = self._documents.folder / "bm25", None
        try:
            with FileLock(self._documents.folder / "bm25.lock"):
                if not folder.is_dir():
                    for left in self._documents.folder.glob(".bm25.*"):  # by a process that was killed
                        shutil.rmtree(left, ignore_errors=True)
                    with whole_folder(folder) as aside:
                        aside.mkdir()
                        if index := self._make_index():
                            index.save(aside, show_progress=False)
                return bm25s.BM25.load(folder, mmap=True, show_progress=False) if any(folder.iterdir()) else None
        except OSError:  # of a disk that is full, or of a folder that somebody removed
            return index or self._make_index()

    def _make_index(self) -> Any:
        import bm25s
        from bm25s.tokenization import Tokenized, Tokenizer

        many = len(self._documents) > _MANY and sys.stderr.isatty()
        texts = (f"{document.title} {document.text}" for document in self._documents)
        tokenizer = Tokenizer(stopwords="en")
        # Arrays, since lists of the words of a million passages would take gigabytes.
        words = [array("i", ids) for ids in tokenizer.streaming_tokenize(texts, allow_empty=False)]
        if not any(words):  # no index can be made of nothing but stop words and punctuation
            return None
        index = bm25s.BM25(csc_backend="scipy")  # takes less memory than numpy
        index.index(Tokenized(words, tokenizer.get_vocab_dict()), show_progress=many)
        return index

    def scores(self, question: str) -> NDArray[np.float64]:
        """The BM25 score of every document, rounded to three decimals.

        The last digits of a logarithm may differ between machines, and must not decide a rank.
        """
        import bm25s

        if not self._index:
            return np.zeros(len(self._documents))
        (words,) = bm25s.tokenize([question], stopwords="en", return_ids=False, show_progress=False)
        known = [word for word in words if word in self._index.vocab_dict]
        if not known:
            return np.zeros(len(self._documents))
        scores: NDArray[np.float64] = self._index.get_scores(known).astype(np.float64).round(3)
        return scores

    def holding(self, names: Iterable[str]) -> set[int]:
        """The indices of the documents that hold all words of one of the names, stop words aside."""
        import bm25s

        found: set[int] = set()
        for name in names:
            (words,) = bm25s.tokenize([name], stopwords="en", return_ids=False, show_progress=False)
            if words and self._index and all(word in self._index.vocab_dict for word in words):
                holding = np.logical_and.reduce([self.scores(word) > 0 for word in words])
                found.update(np.flatnonzero(holding).tolist())
        return found

    def order(self, question: str, stream: Stream) -> Iterator[int]:
        scores = self.scores(question)
        first = scores >= max(_nth(scores, _FIRST), np.finfo(float).tiny)
        for part in (first, (scores > 0) & ~first):
            found = np.flatnonzero(part)
            yield from found[np.argsort(-scores[found], kind="stable")].tolist()
        rest = np.flatnonzero(scores <= 0)
        yield from (int(rest[i]) for i in stream.order(len(rest)))


def _nth(scores: NDArray[np.float64], n: int) -> float:
    """The n-th highest of the scores, or the lowest if there are fewer."""
    return float(np.partition(scores, -n)[-n] if len(scores) > n else scores.min(initial=0))


class Dense:
    """A ranker by the inner product of embeddings, from any sentence-transformers or transformers encoder.

    An encoder without a pooling of its own gets the mean over tokens, as Contriever needs. Scores are rounded to
    thousandths. Even so, two machines may rank documents of nearly the same score differently.

    Raises: UsageError if sentence-transformers is not installed, or if there is no such model.
    """

    def __init__(self, documents: Sequence[Document], model: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise UsageError(
                '--distractors dense: expected sentence-transformers, which is not installed; pip install "synthctx[dense]"'
            ) from error
        with read_from(model, "--dense-model: expected a folder or a Hub id of an encoder that can be reached"):
            self._model = SentenceTransformer(model, device=None)
        self._documents = documents

    @cached_property
    def _embeddings(self) -> NDArray[np.float32]:
        return self._embed([f"{document.title} {document.text}".strip() for document in self._documents])

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        embeddings: NDArray[np.float32] = self._model.encode(texts, convert_to_numpy=True, show_progress_bar=False)
        return embeddings

    def order(self, question: str, stream: Stream) -> Iterable[int]:
        scores = np.round(self._embeddings @ self._embed([question])[0], 3)
        ranks: list[int] = np.argsort(-scores, kind="stable").tolist()
        return ranks


class OwnDocuments:
    """A user's documents as a haystack for made-up needles."""

    def __init__(self, layout: Layout, options: Options) -> None:
        self._corpus = read_safely(layout, options)
        self.identity = self._corpus.identity
        self._pool = Pool(layout, self._corpus.documents)
        self._ranker = make_ranker(options.distractors, self._corpus.documents, options.dense_model)
        self._words = Bm25(self._corpus.documents)

    def notes(self) -> list[str]:
        """A line for each kind of thing in the corpus that is passed over."""
        return self._corpus.passed.notes()

    def pages(self, concept: Concept, stream: Stream) -> Iterator[Page]:
        """The pages of the documents without those that hold an answer, or a needle that is cited.

        Documents that hold a name in the question come first, in the order of `--distractors`. All others, most often every one,
        are in random order: a ranking would rank them by the words of the question's template, the same ones for every question.
        """
        named = self._words.holding(question_names(concept.question))
        ranked = (i for i in self._ranker.order(concept.question, stream) if i in named) if named else ()
        order = chain(ranked, stream.order(len(self._corpus.documents)))
        needles = [needle.text for needle in concept.needles] if concept.cites else []
        return self._pool.pages(order, [*concept.answers, *needles])


def read_safely(layout: Layout, options: Options, in_sections: bool = False) -> Corpus:
    """The corpus of the options, whose documents hold nothing that a prompt means by itself (see `Layout.escape`).

    With `in_sections`, texts are cut into sections that say where they stand. Questions that would have to be changed for this are
    passed over.

    Raises: UsageError or CorpusError as `read_corpus` does.
    """
    return ready_corpus(layout, options.corpus, options.corpus_text_column, in_sections)


def model_identity(model: str) -> str:
    """The identity of a model: a Hub id as it is, and of a folder a hash of its configuration and weights."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def make_ranker(name: str, documents: Sequence[Document], dense_model: str) -> Ranker:
    """The ranker that `--distractors` names. Only the ranker `dense` reads `dense_model`."""
    if name == "dense":
        return Dense(documents, dense_model)
    return Random(documents) if name == "random" else Bm25(documents)
