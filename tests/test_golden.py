"""The rows of content version 1.0.0, pinned: a change that changes a row raises CONTENT_VERSION."""

import hashlib

import pytest

from synthctx_data import CONTENT_VERSION
from tests.conftest import VARIANTS, every_example, examples_for

GOLDEN = {}


@pytest.mark.parametrize(("task", "variant"), VARIANTS, ids="/".join)
def test_the_rows_of_this_content_version(task: str, variant: str) -> None:
    rows = repr(every_example(examples_for(task, variant, max_tokens=2048, train=6, validation=3)))
    assert (CONTENT_VERSION, hashlib.sha256(rows.encode()).hexdigest()[:16]) == ("1.0.0", GOLDEN[f"{task}/{variant}"])
