"""The rows of content version 1.0.0, pinned: a change that changes a row raises CONTENT_VERSION."""

import hashlib

import pytest

from synthctx_data import CONTENT_VERSION
from synthctx_data.schema import to_table
from tests.conftest import IDS, VARIANTS, every_example, examples_for

GOLDEN = {
    "mdqa_synth/real_haystack": "a9862f9af9ddf24c",
    "mdqa_synth/real_limited": "546c00443848369b",
    "mdqa_synth/templated_haystack": "86d42f0142f78a1b",
    "mdqa_synth/templated_padding": "db415415ecd96c99",
    "mdqa_synth/symbolic_haystack": "0072782ff02116f9",
    "mdqa_synth/symbolic_padding": "1301fc9ff6411c8d",
    "musique_synth/real_haystack": "63fdbe5ea8ab03f1",
    "musique_synth/real_limited": "e82d4f96be3e7a54",
    "musique_synth/templated_haystack": "6f6182be69cd4427",
    "musique_synth/templated_padding": "b4f0fa38b54a5d56",
    "musique_synth/symbolic_haystack": "7e17082df148e02a",
    "musique_synth/symbolic_padding": "b262bcc9709a1158",
    "summhay_synth/real_haystack": "0ef1173df629bd9d",
    "summhay_synth/templated_haystack": "b265f882cb01144a",
    "summhay_synth/templated_padding": "85eb849c120eb790",
    "summhay_synth/symbolic_haystack": "627c18b5993798a5",
    "summhay_synth/symbolic_padding": "9bee907bea3a935b",
}


@pytest.mark.parametrize(("task", "variant"), VARIANTS, ids=IDS)
def test_the_rows_of_this_content_version(task: str, variant: str) -> None:
    rows = repr(
        to_table(every_example(examples_for(task, variant, max_tokens=2048, train=6, validation=3))).to_pylist()
    )
    assert (CONTENT_VERSION, hashlib.sha256(rows.encode()).hexdigest()[:16]) == ("1.0.0", GOLDEN[f"{task}/{variant}"])
