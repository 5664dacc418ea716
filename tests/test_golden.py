"""The rows of content version 1.2.0, pinned: a change that changes a row raises CONTENT_VERSION."""

import hashlib

import pytest

from synthctx_data import CONTENT_VERSION
from synthctx_data.schema import to_table
from tests.conftest import IDS, VARIANTS, every_example, examples_for

GOLDEN = {
    "mdqa_synth/real_haystack": "58b82aaa2b7d1677",
    "mdqa_synth/real_limited": "6069d91aae0c2646",
    "mdqa_synth/llm_haystack": "18c625d4a66844e6",
    "mdqa_synth/llm_padding": "32c1fa6a1d81afda",
    "mdqa_synth/templated_haystack": "6b09938a552ed1a2",
    "mdqa_synth/templated_padding": "598f4377cc8d78df",
    "mdqa_synth/symbolic_haystack": "78de7bdec4822e39",
    "mdqa_synth/symbolic_padding": "e03fd73a6bc3c19a",
    "musique_synth/real_haystack": "70190c2aa95e8637",
    "musique_synth/real_limited": "819c5ddcac7e3024",
    "musique_synth/llm_haystack": "09ad64c0987ecd4c",
    "musique_synth/llm_padding": "35933c7582987075",
    "musique_synth/templated_haystack": "60970fd88e8dda4a",
    "musique_synth/templated_padding": "a02456a206bb1f67",
    "musique_synth/symbolic_haystack": "e1d5cfb36eeff887",
    "musique_synth/symbolic_padding": "25caa34e5285c62d",
    "summhay_synth/real_haystack": "af646164e9dd83aa",
    "summhay_synth/llm_haystack": "4ca188ea25143cbd",
    "summhay_synth/llm_padding": "948900326efec019",
    "summhay_synth/templated_haystack": "6e0cdec3019e6d40",
    "summhay_synth/templated_padding": "33c2eb3c644277cd",
    "summhay_synth/symbolic_haystack": "4156c1094fd852f1",
    "summhay_synth/symbolic_padding": "0ff32504a65c2928",
}


@pytest.mark.parametrize(("task", "variant"), VARIANTS, ids=IDS)
def test_the_rows_of_this_content_version(task: str, variant: str) -> None:
    rows = repr(
        to_table(every_example(examples_for(task, variant, max_tokens=2048, train=6, validation=3))).to_pylist()
    )
    assert (CONTENT_VERSION, hashlib.sha256(rows.encode()).hexdigest()[:16]) == ("1.2.0", GOLDEN[f"{task}/{variant}"])
