import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthctx_data.seeding import rng

names = st.lists(st.one_of(st.text(max_size=5), st.integers()), min_size=1, max_size=4).map(tuple)


def test_a_stream_never_changes() -> None:
    stream = rng(0, "mdqa_synth", "train", 17, "depth")
    assert stream.bytes(4).hex() == "11a57eb4"
    assert stream.integers(1000, 3) == [969, 539, 687]
    assert stream.order(5) == [2, 4, 3, 0, 1]
    assert stream.uniform() == 0.341073719806656


@given(names, names)
def test_streams_of_two_names_differ_and_of_one_name_agree(one: tuple, other: tuple) -> None:
    assert (rng(*one).bytes(16) == rng(*other).bytes(16)) == (repr(one) == repr(other))


def test_blocks_of_a_stream_differ() -> None:
    stream = rng("x")
    assert len({stream.bytes(8) for _ in range(100)}) == 100


@given(st.integers(1, 300))
def test_order_is_a_permutation(count: int) -> None:
    assert sorted(rng("order", count).order(count)) == list(range(count))


@given(st.integers(1, 10**9))
def test_numbers_stay_below_their_bound(bound: int) -> None:
    stream = rng("below", bound)
    assert 0 <= stream.below(bound) < bound
    assert all(0 <= n < bound for n in stream.integers(bound, 50))
    assert 0 <= stream.uniform() < 1


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_the_hash_seed_of_python_does_not_matter(seed: str) -> None:
    code = "from synthctx_data.seeding import rng; print(rng('a', 1).bytes(8).hex())"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == rng("a", 1).bytes(8).hex()
