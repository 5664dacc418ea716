"""The rows of content version 1.1.0, pinned: a change that changes a row raises CONTENT_VERSION."""

import hashlib

import pytest

from synthctx_data import CONTENT_VERSION
from synthctx_data.schema import to_table
from tests.conftest import IDS, VARIANTS, every_example, examples_for

GOLDEN = {
    "mdqa_synth/real_haystack": "c7a0e0faa0a407eb",
    "mdqa_synth/real_limited": "b4c227300a76d036",
    "mdqa_synth/templated_haystack": "635ce0a95a4837b6",
    "mdqa_synth/templated_padding": "46bf35315a16f974",
    "mdqa_synth/symbolic_haystack": "1690c3db46353097",
    "mdqa_synth/symbolic_padding": "70617528013ce204",
    "musique_synth/real_haystack": "01eb9e7b9437aaab",
    "musique_synth/real_limited": "901d15c65ebaecec",
    "musique_synth/templated_haystack": "aad4a3b9630a01f5",
    "musique_synth/templated_padding": "efad74a52b80a817",
    "musique_synth/symbolic_haystack": "0bc7dc887d2251c2",
    "musique_synth/symbolic_padding": "4b91a54a14496b23",
    "summhay_synth/real_haystack": "c52d31f9f4f0e42a",
    "summhay_synth/templated_haystack": "d540a4bd4b1d89f3",
    "summhay_synth/templated_padding": "ebcbd6129c8bf68d",
    "summhay_synth/symbolic_haystack": "b76494f8301cc8a3",
    "summhay_synth/symbolic_padding": "cbe29793546c2078",
}


@pytest.mark.parametrize(("task", "variant"), VARIANTS, ids=IDS)
def test_the_rows_of_this_content_version(task: str, variant: str) -> None:
    rows = repr(
        to_table(every_example(examples_for(task, variant, max_tokens=2048, train=6, validation=3))).to_pylist()
    )
    assert (CONTENT_VERSION, hashlib.sha256(rows.encode()).hexdigest()[:16]) == ("1.1.0", GOLDEN[f"{task}/{variant}"])
