import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthctx_data.assemble import _slot
from synthctx_data.depths import DepthHistogram, Places, places
from synthctx_data.seeding import rng


def row(lengths: list[int], at: list[int]) -> dict:
    """A row with documents of these characters, and needles in the documents at these indices."""
    ends = np.cumsum(lengths).tolist()
    documents = [{"start": end - size, "end": end} for end, size in zip(ends, lengths, strict=True)]
    return {"documents": documents, "needles": [{"document": i} for i in at]}


def test_a_depth_is_the_share_of_the_other_text_before_the_needle() -> None:
    found = places(row([10, 500, 30, 60, 7], [4, 1]))
    assert found.taken == (3, 1)
    assert found.needles == pytest.approx([1.0, 0.1])
    assert found.depths == pytest.approx([0, 0.1, 0.4, 1.0])
    assert found.chances == pytest.approx([0.05, 0.2, 0.45, 0.3])


def test_a_row_of_needles_alone_has_one_place() -> None:
    assert places(row([5, 5], [0, 1])).needles == [0.0, 0.0]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.floats(0, 1))
def test_a_needle_is_put_as_near_to_its_depth_as_documents_allow(lengths: list[int], depth: float) -> None:
    """However unequal the documents are: a share of tokens, not of documents."""
    ends = [0, *np.cumsum(lengths).tolist()]
    chosen = _slot(ends, depth)
    assert abs(ends[chosen] - depth * ends[-1]) <= min(abs(end - depth * ends[-1]) for end in ends) + 1e-6


def drawn(depth, trial: int, count: int) -> float:
    """The probability that the histogram gives `count` needles, whose depths are drawn by `depth`, in contexts of unequal documents."""
    stream = rng("depths", trial)
    histogram = DepthHistogram()
    for _ in range(count):
        ends = np.cumsum([0, *(20 + n for n in stream.integers(200, 2 + stream.below(39)))])
        histogram.add(Places(ends / ends[-1], (_slot(ends.tolist(), depth(stream.uniform())),)))
    return histogram.uniform_probability()


def test_uniform_depths_are_seldom_called_skewed() -> None:
    """One in 10,000 would be, so none of 200 is."""
    assert min(drawn(lambda u: u, trial, 200) for trial in range(200)) > 1e-4


def test_a_lean_to_one_end_is_skewed() -> None:
    assert drawn(lambda u: u**1.5, 0, 1000) < 1e-4
