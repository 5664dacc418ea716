import itertools
import math
import shutil
from collections import Counter
from pathlib import Path

import bm25s
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthctx_data.corpora import read_corpus
from synthctx_data.distractors import Bm25, Dense, Pool, Random, make_ranker, model_identity
from synthctx_data.errors import UsageError
from synthctx_data.example import Document
from synthctx_data.layout import Layout
from synthctx_data.matching import comparable, comparables, holds
from synthctx_data.seeding import rng
from synthctx_data.tokens import load_counter
from tests.conftest import CORPUS

DOCUMENTS = read_corpus([str(CORPUS)]).documents
LAYOUT = Layout("mdqa_synth", load_counter())


def slow_bm25(question: str, documents: list[Document], k1: float = 1.5, b: float = 0.75) -> list[float]:
    """Lucene's BM25, term by term."""

    def words(text: str) -> list[str]:
        return bm25s.tokenize([text], stopwords="en", return_ids=False, show_progress=False)[0]

    bags = [Counter(words(f"{d.title} {d.text}")) for d in documents]
    average = sum(bag.total() for bag in bags) / len(bags)
    scores = []
    for bag in bags:
        score = 0.0
        for word in words(question):
            holding = sum(word in other for other in bags)
            idf = math.log(1 + (len(bags) - holding + 0.5) / (holding + 0.5))
            score += idf * bag[word] / (bag[word] + k1 * (1 - b + b * bag.total() / average)) if holding else 0.0
        scores.append(score)
    return scores


@pytest.mark.parametrize(
    "question", ["who got the first nobel prize in physics", "when was the constitution written", "zzz qqq", ""]
)
def test_bm25_equals_the_slow_one(question: str) -> None:
    documents = list(DOCUMENTS[:60])
    ranker = Bm25(documents)
    slow = slow_bm25(question, documents)
    assert ranker.scores(question) == pytest.approx(slow, abs=2e-3)
    order = list(ranker.order(question, rng("order")))
    assert sorted(order) == list(range(60))
    ranked = [slow[i] for i in order]
    assert all(a >= b - 2e-3 for a, b in itertools.pairwise(ranked))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["the", "physics", "1901", "war", "king", "a", "and"]), min_size=1, max_size=3),
    st.sets(st.integers(0, 99)),
)
def test_a_pool_gives_every_document_that_may_stand_there_once(answer: list[str], without: set[int]) -> None:
    pool = Pool(LAYOUT, DOCUMENTS[:100])
    order = [*rng("order").order(100), 3, 4, 5]
    given_pages = [page.document for page in pool.pages(order, [" ".join(answer)], without)]
    unwanted = comparables([" ".join(answer)])
    expected = [
        DOCUMENTS[i]
        for i in dict.fromkeys(order)
        if i not in without and not holds(comparable(f"{DOCUMENTS[i].title} {DOCUMENTS[i].text}"), unwanted)
    ]
    assert given_pages == expected


def test_a_page_is_counted_once() -> None:
    pool = Pool(LAYOUT, DOCUMENTS[:10])
    assert pool.page(3) is pool.page(3)
    assert pool.page(3).tokens == LAYOUT.counter.unit(pool.page(3).body)


def test_random_depends_on_the_stream_alone() -> None:
    ranker = Random(DOCUMENTS)
    assert list(ranker.order("x", rng("a"))) == list(ranker.order("y", rng("a")))
    assert list(ranker.order("x", rng("a"))) != list(ranker.order("x", rng("b")))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder with random weights, as transformers saves it."""
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from synthctx_data.tokens import BUNDLED

    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=8192, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(BUNDLED, model_max_length=512)
    tokenizer.chat_template = None  # sentence-transformers would read texts as messages
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
def test_dense_ranks_by_the_inner_product_of_mean_embeddings(encoder: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    documents = list(DOCUMENTS[:20])
    tokenizer, model = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder).eval()

    def embed(text: str) -> torch.Tensor:
        with torch.no_grad():
            return model(**tokenizer(text, return_tensors="pt", truncation=True)).last_hidden_state[0].mean(0)

    question = "who got the first nobel prize"
    scores = [float(embed(f"{d.title} {d.text}") @ embed(question)) for d in documents]
    order = list(make_ranker("dense", documents, str(encoder)).order(question, rng("x")))
    assert sorted(order) == list(range(20))
    ranked = [scores[i] for i in order]
    assert all(a >= b - 2e-3 for a, b in itertools.pairwise(ranked))


def test_a_model_is_known_by_what_it_is_not_by_where_it_lies(encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(encoder, tmp_path / "copy")
    assert model_identity(str(encoder)) == model_identity(str(tmp_path / "copy"))
    assert model_identity("facebook/contriever") == "facebook/contriever"
    (tmp_path / "copy" / "config.json").write_text("{}")
    assert model_identity(str(encoder)) != model_identity(str(tmp_path / "copy"))


@pytest.mark.filterwarnings("ignore")
def test_a_dense_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--dense-model: expected a folder or a Hub id"):
        Dense(DOCUMENTS, str(tmp_path / "absent"))


@pytest.mark.parametrize("texts", [["!!! ...", "?? !"], ["the of and", "a an"], ["x"], ["京"]])
def test_bm25_of_nothing_but_signs_and_stop_words_is_random(texts: list[str]) -> None:
    ranker = Bm25([Document("", text) for text in texts])
    assert sorted(ranker.order("who is the king?", rng("order"))) == list(range(len(texts)))
