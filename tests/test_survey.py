import hashlib
import json
from statistics import median

import pytest

from synthctx_data.depths import places
from synthctx_data.schema import to_table
from synthctx_data.survey import Survey
from tests.conftest import every_example, examples_for


@pytest.mark.parametrize("variant", ["symbolic_haystack", "llm_padding"])
def test_a_survey_counts_what_is_there(variant: str) -> None:
    rows = to_table(every_example(examples_for("musique_synth", variant))).to_pylist()
    survey = Survey()
    for row in rows:
        survey.add(row["id"].split("/")[2], row)
    train = [row for row in rows if "/train/" in row["id"]]
    split = survey.splits["train"]
    assert split.rows == len(train)
    assert split.median_tokens == round(median(row["num_tokens"] for row in train))
    lines = [json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")) for row in train]
    hashes = b"".join(hashlib.sha256(line.encode()).digest() for line in lines)
    assert split.hash == hashlib.sha256(hashes).hexdigest()[:16]
    last = train[-1]["needles"][-1]
    assert split.depths[last["hop"]][-1] == places(train[-1]).needles[-1]
    assert dict(survey.writers) == ({"sample": len(rows)} if variant == "llm_padding" else {})


def test_the_order_of_rows_is_in_their_hash() -> None:
    rows = to_table(every_example(examples_for("mdqa_synth", "symbolic_padding"))).to_pylist()
    forth, back = Survey(), Survey()
    for row in rows:
        forth.add("train", row)
    for row in reversed(rows):
        back.add("train", row)
    assert forth.splits["train"].hash != back.splits["train"].hash
    assert sorted(forth.splits["train"].tokens) == sorted(back.splits["train"].tokens)
