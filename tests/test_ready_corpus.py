"""A corpus that lies ready is the corpus that was read, whoever made it ready, and until a file of it changes."""

import os
from collections.abc import Iterator
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import pytest

from synthctx_data import distractors, ready_corpus
from synthctx_data.corpora import Corpus, read_corpus
from synthctx_data.distractors import Bm25, Pool
from synthctx_data.layout import Layout
from synthctx_data.seeding import rng
from synthctx_data.tokens import load_counter
from tests.conftest import CORPORA

TEXTS = [f"The mill of {i} stands at the river {i * i}, below hill {i % 7}. " * (3 + i % 40) for i in range(300)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SYNTHCTX_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"


@pytest.fixture
def texts(tmp_path: Path) -> str:
    file = tmp_path / "texts.txt"
    file.write_text("\n\n".join(TEXTS))
    return str(file)


def layout() -> Layout:
    return Layout("mdqa_synth", load_counter(None))


def ready(*places: str) -> Corpus:
    return ready_corpus.ready_corpus(layout(), places, "text", False)


@pytest.mark.parametrize("place", [str(file) for file in CORPORA.values()])
def test_what_lies_ready_is_what_is_read(place: str) -> None:
    for found in (ready(place), ready(place)):
        read = read_corpus([place])
        assert list(found.documents) == [found.documents[i] for i in range(len(read.documents))] == list(read.documents)
        assert found.documents[2:9:3] == list(read.documents[2:9:3])
        assert (found.questions, found.identity) == (read.questions, read.identity)
        assert found.passed.notes() == read.passed.notes()


def test_it_is_read_once_until_a_file_changes(texts: str) -> None:
    before = ready(texts)
    with patch.object(ready_corpus, "read_corpus", side_effect=AssertionError):
        assert ready(texts).identity == before.identity
    state = Path(texts).stat()
    Path(texts).write_text(Path(texts).read_text().replace("mill", "mall"))
    os.utime(texts, ns=(state.st_atime_ns, state.st_mtime_ns))  # as copying tools do
    after = ready(texts)
    assert after.identity != before.identity
    assert after.documents[0].text == before.documents[0].text.replace("mill", "mall")


def test_processes_that_begin_at_once_share_it(texts: str, cache: Path) -> None:
    with get_context("spawn").Pool(4) as pool:
        found = pool.map(_looked_up, [texts] * 4)
    assert len(set(found)) == 1
    assert len([folder for folder in (cache / "ready").iterdir() if folder.is_dir()]) == 1


def _looked_up(place: str) -> tuple[object, ...]:
    corpus = ready(place)
    order = list(islice(Bm25(corpus.documents).order("the mill of 9", rng("test")), 20))
    pages = [Pool(layout(), corpus.documents).page(i).tokens for i in range(20)]
    return corpus.identity, tuple(order), tuple(pages)


def test_the_index_that_is_mapped_ranks_as_the_one_that_was_made(texts: str) -> None:
    for question in ("the mill of 17", "river 289", "no such word", "the"):
        orders = [
            list(Bm25(documents).order(question, rng("test")))
            for documents in (read_corpus([texts]).documents, ready(texts).documents, ready(texts).documents)
        ]
        assert orders[0] == orders[1] == orders[2]


def test_a_corpus_of_stop_words_has_no_index(tmp_path: Path) -> None:
    file = tmp_path / "stop.txt"
    file.write_text("the and of\n\nof the and")
    for _ in range(2):
        assert Bm25(ready(str(file)).documents).scores("river").tolist() == [0.0] * len(ready(str(file)).documents)


def test_tokens_are_counted_once_and_kept(texts: str) -> None:
    first = Pool(layout(), ready(texts).documents)
    counted = [first.page(i).tokens for i in range(len(first.documents))]
    again = Pool(layout(), ready(texts).documents)
    with patch.object(type(load_counter(None)), "units", side_effect=AssertionError):
        assert [again.page(i).tokens for i in range(len(again.documents))] == counted
    plain = layout()
    assert [plain.page(document).tokens for document in read_corpus([texts]).documents] == counted


def test_a_pool_keeps_no_more_pages_than_it_may(texts: str) -> None:
    with patch.object(distractors, "_MOST_PAGES", 10):
        pool = Pool(layout(), ready(texts).documents)
        bodies = [page.body for page in pool.pages(range(len(pool.documents)), [])]
        assert len(pool._pages) <= 10
    assert bodies == [page.body for page in layout().pages(list(pool.documents))]


def test_without_a_cache_folder_it_is_read_for_each(
    texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ready(texts)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SYNTHCTX_CACHE", str(tmp_path / "file"))
    assert list(ready(texts).documents) == list(there.documents)


def test_what_was_not_used_for_long_is_removed(texts: str, tmp_path: Path, cache: Path) -> None:
    ready(texts)
    (old,) = (folder for folder in (cache / "ready").iterdir() if folder.is_dir())
    os.utime(old, (0, 0))
    other = tmp_path / "other.txt"
    other.write_text("\n\n".join(TEXTS[:9]))
    ready(str(other))
    assert not old.exists()
