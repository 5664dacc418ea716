"""The rows of content version 1.0.0, pinned: a change that changes a row raises CONTENT_VERSION."""

import hashlib

import pytest

from synthctx_data import CONTENT_VERSION
from synthctx_data.schema import to_table
from tests.conftest import IDS, VARIANTS, every_example, examples_for

GOLDEN = {
    "mdqa_synth/real_haystack": "d16fb3d8d81fc8ea",
    "mdqa_synth/real_limited": "68ff338cb2ad7db1",
    "mdqa_synth/templated_haystack": "58089dd3c37645d1",
    "mdqa_synth/templated_padding": "c977442ee9e63d63",
    "mdqa_synth/symbolic_haystack": "a5457ca765a97cf0",
    "mdqa_synth/symbolic_padding": "c84f97fff32158f1",
    "musique_synth/real_haystack": "5d88c06dcb3d77dc",
    "musique_synth/real_limited": "b852ea9a73cec205",
    "musique_synth/templated_haystack": "46d169f3a42ef3f1",
    "musique_synth/templated_padding": "e3a2326197d10f1a",
    "musique_synth/symbolic_haystack": "89f004d851584229",
    "musique_synth/symbolic_padding": "4f340bb5dfe17bc5",
    "summhay_synth/real_haystack": "e178f1a231d18eeb",
    "summhay_synth/templated_haystack": "29e8e6f13313dcc6",
    "summhay_synth/templated_padding": "0c63e080b281366f",
    "summhay_synth/symbolic_haystack": "f2ffc68d5acf212c",
    "summhay_synth/symbolic_padding": "2faeb75685f4b0e9",
}


@pytest.mark.parametrize(("task", "variant"), VARIANTS, ids=IDS)
def test_the_rows_of_this_content_version(task: str, variant: str) -> None:
    rows = repr(
        to_table(every_example(examples_for(task, variant, max_tokens=2048, train=6, validation=3))).to_pylist()
    )
    assert (CONTENT_VERSION, hashlib.sha256(rows.encode()).hexdigest()[:16]) == ("1.0.0", GOLDEN[f"{task}/{variant}"])
