"""The rows of content version 2.0.0, pinned: a change that changes a row raises CONTENT_VERSION."""

import hashlib

import pytest

from synthctx_data import CONTENT_VERSION
from synthctx_data.schema import to_table
from tests.conftest import IDS, VARIANTS, every_example, examples_for

GOLDEN = {
    "mdqa_synth/real_haystack": "a4add00a2c893348",
    "mdqa_synth/real_limited": "68e403c2f369d9b6",
    "mdqa_synth/grounded_haystack": "1b55d71227da45c6",
    "mdqa_synth/llm_haystack": "91d4fb1c116bbaac",
    "mdqa_synth/llm_padding": "bcca002f6ff4c8e1",
    "mdqa_synth/templated_haystack": "f5d61f4b5d4232d5",
    "mdqa_synth/templated_padding": "93d71735889efca4",
    "mdqa_synth/symbolic_haystack": "6de603aa719b85bc",
    "mdqa_synth/symbolic_padding": "a344b7e0377f76b5",
    "musique_synth/real_haystack": "dd1273c5bc81a5b6",
    "musique_synth/real_limited": "d31adbb9d61fd32f",
    "musique_synth/grounded_haystack": "10cfe75df7ac755f",
    "musique_synth/llm_haystack": "609e85902d9d1cad",
    "musique_synth/llm_padding": "7ce7760440ea8e8b",
    "musique_synth/templated_haystack": "02da83c5c5de0688",
    "musique_synth/templated_padding": "b05b591331ab1a7c",
    "musique_synth/symbolic_haystack": "1709a3f219fb305d",
    "musique_synth/symbolic_padding": "1646a65c8fa3c396",
    "summhay_synth/real_haystack": "cc102a5a49a3e106",
    "summhay_synth/grounded_haystack": "c9c6f9cca9f1ef4a",
    "summhay_synth/llm_haystack": "2439bb0bac95e4b2",
    "summhay_synth/llm_padding": "295d5448a5ccb012",
    "summhay_synth/templated_haystack": "a1a8094b8f897d4a",
    "summhay_synth/templated_padding": "98a338f135af3a17",
    "summhay_synth/symbolic_haystack": "8a46e049bc69f171",
    "summhay_synth/symbolic_padding": "87c27864688136dd",
}


@pytest.mark.parametrize(("task", "variant"), VARIANTS, ids=IDS)
def test_the_rows_of_this_content_version(task: str, variant: str) -> None:
    rows = repr(
        to_table(every_example(examples_for(task, variant, max_tokens=2048, train=6, validation=3))).to_pylist()
    )
    assert (CONTENT_VERSION, hashlib.sha256(rows.encode()).hexdigest()[:16]) == ("2.0.0", GOLDEN[f"{task}/{variant}"])
