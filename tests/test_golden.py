"""The rows of content version 1.0.0, pinned: a change that changes a row raises CONTENT_VERSION."""

import hashlib

import pytest

from synthctx_data import CONTENT_VERSION
from synthctx_data.schema import to_table
from tests.conftest import IDS, VARIANTS, every_example, examples_for

GOLDEN = {
    "mdqa_synth/real_haystack": "d16fb3d8d81fc8ea",
    "mdqa_synth/real_limited": "564cfaa0ed7cc4b3",
    "mdqa_synth/templated_haystack": "3b119c397e3a3b4c",
    "mdqa_synth/templated_padding": "25a94a35bafb3bf7",
    "mdqa_synth/symbolic_haystack": "d5942e30ccf1fd4b",
    "mdqa_synth/symbolic_padding": "e375110503c63b64",
}


@pytest.mark.parametrize(("task", "variant"), VARIANTS, ids=IDS)
def test_the_rows_of_this_content_version(task: str, variant: str) -> None:
    rows = repr(
        to_table(every_example(examples_for(task, variant, max_tokens=2048, train=6, validation=3))).to_pylist()
    )
    assert (CONTENT_VERSION, hashlib.sha256(rows.encode()).hexdigest()[:16]) == ("1.0.0", GOLDEN[f"{task}/{variant}"])
