"""The rows of content version 1.0.0, pinned: a change that changes a row raises CONTENT_VERSION."""

import hashlib

import pytest

from synthctx_data import CONTENT_VERSION
from tests.conftest import VARIANTS, every_example, examples_for

GOLDEN = {
    "mdqa_synth/real_haystack": "64de6e0daadf892a",
    "mdqa_synth/real_limited": "b9f6284f0e6b004d",
    "mdqa_synth/templated_haystack": "d939cf4ccf53680b",
    "mdqa_synth/templated_padding": "5e61587dd94719da",
    "mdqa_synth/symbolic_haystack": "fd4a77117b10660b",
    "mdqa_synth/symbolic_padding": "85c0392ab91c802a",
}


@pytest.mark.parametrize(("task", "variant"), VARIANTS, ids="/".join)
def test_the_rows_of_this_content_version(task: str, variant: str) -> None:
    rows = repr(every_example(examples_for(task, variant, max_tokens=2048, train=6, validation=3)))
    assert (CONTENT_VERSION, hashlib.sha256(rows.encode()).hexdigest()[:16]) == ("1.0.0", GOLDEN[f"{task}/{variant}"])
