"""The rows of content version 2.0.0, pinned: a change that changes a row raises CONTENT_VERSION."""

import hashlib

import pytest

from synthctx_data import CONTENT_VERSION
from synthctx_data.schema import to_table
from tests.conftest import IDS, VARIANTS, every_example, examples_for

GOLDEN = {
    "mdqa_synth/real_haystack": "8e8281503520de50",
    "mdqa_synth/real_limited": "1c92211a1cb6e0a7",
    "mdqa_synth/grounded_haystack": "8999b6c287dad184",
    "mdqa_synth/llm_haystack": "74892e91bab92612",
    "mdqa_synth/llm_padding": "3bad4f83044822cd",
    "mdqa_synth/templated_haystack": "07a1291f342fc951",
    "mdqa_synth/templated_padding": "e72abeb81bfef53f",
    "mdqa_synth/symbolic_haystack": "454d4e431b10e992",
    "mdqa_synth/symbolic_padding": "dcf47f08c702b385",
    "musique_synth/real_haystack": "47e3208d0195c79a",
    "musique_synth/real_limited": "a23672494c8e2723",
    "musique_synth/grounded_haystack": "b352c083758de283",
    "musique_synth/llm_haystack": "b759e1b360f6e54c",
    "musique_synth/llm_padding": "4aa1c56f85168183",
    "musique_synth/templated_haystack": "86bf4551cb43eb96",
    "musique_synth/templated_padding": "f49c4a2ec8f574db",
    "musique_synth/symbolic_haystack": "02530c01475a7748",
    "musique_synth/symbolic_padding": "aa0b41a33f7ca908",
    "summhay_synth/real_haystack": "c21311470499cf71",
    "summhay_synth/grounded_haystack": "31bacb94b60845d1",
    "summhay_synth/llm_haystack": "3680f9dc24ef5105",
    "summhay_synth/llm_padding": "ad7302fa87450c72",
    "summhay_synth/templated_haystack": "f1c4dfc4f3e90ec5",
    "summhay_synth/templated_padding": "a0f73f2aa62cbfa3",
    "summhay_synth/symbolic_haystack": "8490e750bce5fd73",
    "summhay_synth/symbolic_padding": "2a01710aa6619995",
}


@pytest.mark.parametrize(("task", "variant"), VARIANTS, ids=IDS)
def test_the_rows_of_this_content_version(task: str, variant: str) -> None:
    rows = repr(
        to_table(every_example(examples_for(task, variant, max_tokens=2048, train=6, validation=3))).to_pylist()
    )
    assert (CONTENT_VERSION, hashlib.sha256(rows.encode()).hexdigest()[:16]) == ("2.0.0", GOLDEN[f"{task}/{variant}"])
