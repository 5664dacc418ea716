"""Rewards: gold completions get all, and what a model could do instead of reading gets nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.examples import Examples
from synthctx_data.row_checks import cites
from synthctx_data.schema import to_table
from tests.conftest import examples_for
from training.rewards import answer_reward, evidence_reward

MADE = {
    "answers": ("mdqa_synth", "templated_haystack", {}),
    "evidence": ("mdqa_synth", "templated_haystack", {"completion": "evidence"}),
    "hops": ("musique_synth", "templated_haystack", {"completion": "evidence"}),
    "citations": ("summhay_synth", "templated_haystack", {}),
    "quoted documents": ("mdqa_synth", "real_haystack", {"completion": "evidence"}),
}


def rows_of(kind: str) -> list[dict[str, Any]]:
    task, variant, options = MADE[kind]
    examples: Examples = examples_for(task, variant, **options)
    return to_table([examples.make("train", i) for i in range(6)]).to_pylist()


ROWS = {kind: rows_of(kind) for kind in MADE}


def rewarded(reward: Any, rows: list[dict[str, Any]], texts: list[str]) -> list[float]:
    columns = {
        name: [row[name] for row in rows] for name in rows[0] if name not in ("prompt", "completion")
    }  # as TRL does
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    found = reward(prompts=[row["prompt"] for row in rows], completions=completions, completion_ids=None, **columns)
    assert found == reward(prompts=[row["prompt"] for row in rows], completions=texts, **columns)
    assert all(0 <= one <= 1 for one in found)
    return found


def gold(rows: list[dict[str, Any]]) -> list[str]:
    return [row["completion"][0]["content"] for row in rows]


@pytest.mark.parametrize("kind", MADE)
def test_gold_answers_get_all_and_thoughts_do_not_count(kind: str) -> None:
    rows = ROWS[kind]
    assert rewarded(answer_reward, rows, gold(rows)) == pytest.approx([1.0] * len(rows))
    thinking = [f'<think>\n"{text}" or not?\n</think>\n{text}' for text in gold(rows)]
    assert rewarded(answer_reward, rows, thinking) == pytest.approx([1.0] * len(rows))


@pytest.mark.parametrize("kind", ["evidence", "hops", "quoted documents"])
def test_gold_evidence_gets_all(kind: str) -> None:
    rows = ROWS[kind]
    assert rewarded(evidence_reward, rows, gold(rows)) == pytest.approx([1.0] * len(rows), abs=0.02)
    assert rewarded(evidence_reward, rows, [row["answers"][0] for row in rows]) == [0.0] * len(rows)


def without_reading(row: dict[str, Any]) -> dict[str, str]:
    """What a model could write instead of an answer."""
    prompt = row["prompt"][0]["content"]
    documents = [prompt[one["start"] : one["end"]] for one in row["documents"]]
    return {
        "every document": "".join(f"[{i}]" for i in range(1, len(documents) + 1)),
        "the context": prompt,
        "the context in quotes": "\n".join(f'"{" ".join(text.split())}"' for text in documents),
        "every line in quotes": "\n".join(f'"{line}"' for line in prompt.splitlines() if line.strip()),
        "nothing": "",
        "quotation marks": '"\n' * 50,
    }


@pytest.mark.parametrize("kind", MADE)
def test_what_needs_no_reading_gets_next_to_nothing(kind: str) -> None:
    for row in ROWS[kind]:
        for name, text in without_reading(row).items():
            for reward in (answer_reward,) if cites(row) else (answer_reward, evidence_reward):
                (found,) = rewarded(reward, [row], [text])
                assert found < 0.1, (name, reward.__name__, row["id"])


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("times", [2, 5])
def test_repeating_brings_nothing(kind: str, times: int) -> None:
    rows = ROWS[kind]
    for reward in (answer_reward, evidence_reward):
        once = rewarded(reward, rows, gold(rows))
        again = rewarded(reward, rows, ["\n".join([text] * times) for text in gold(rows)])
        assert all(repeated <= one for one, repeated in zip(once, again, strict=True))


def test_one_more_wrong_document_or_quotation_costs() -> None:
    for kind, reward in (("citations", answer_reward), ("evidence", evidence_reward)):
        for row in ROWS[kind]:
            (whole,) = gold([row])
            prompt = row["prompt"][0]["content"]
            held = {needle["document"] for needle in row["needles"]}
            other = next(i for i in range(len(row["documents"])) if i not in held)
            span = row["documents"][other]
            more = f"[{other + 1}]" if cites(row) else f'\n"{" ".join(prompt[span["start"] : span["end"]].split())}"'
            assert rewarded(reward, [row], [f"{more}\n{whole}"]) < rewarded(reward, [row], [whole])


@given(st.text(max_size=300), st.sampled_from(sorted(MADE)))
def test_every_text_has_a_reward_between_0_and_1(text: str, kind: str) -> None:
    for reward in (answer_reward, evidence_reward):
        rewarded(reward, ROWS[kind][:1], [text])
