"""Scores against what the functions of the projects that they come from gave on the same rows, and against the flaws of ours before."""

import json
from pathlib import Path

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from analysis.engine.detect import score_rows
from analysis.logit_score import logit
from analysis.qrhead_score import qrhead
from analysis.spans import Tokens, tokens_of
from analysis.wu_score import wu
from synthctx_data.tokens import BUNDLED
from tests.peers import entries, load_stirred, neutral_entries
from tests.test_spans import rows_of
from training.tiny import INDUCTION, make_tiny
from training.turns import load_tokenizer

THEIRS = json.loads((Path(__file__).parent / "data" / "peers.json").read_text())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_tiny(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.mark.parametrize("name", ["tiny", "stirred"])
@pytest.mark.parametrize("stops", [False, True])
def test_wu_is_what_the_code_of_wu_et_al_gives(tiny: str, name: str, stops: bool) -> None:
    """With a line end that ends the answer, and without, when the model says it six times in 50 tokens."""
    model = load_stirred(tiny) if name == "stirred" else AutoModelForCausalLM.from_pretrained(tiny)
    ends = load_tokenizer(tiny)("\n", add_special_tokens=False)["input_ids"] if stops else []
    (found,) = wu(model, [entries(tiny)], ends, lambda *_: 0)
    np.testing.assert_allclose(found.total, THEIRS[f"wu_{name}_line" if stops else f"wu_{name}"], atol=1e-6)


def test_qrhead_is_what_the_code_of_qrhead_gives(tiny: str) -> None:
    (found,) = qrhead(load_stirred(tiny), [entries(tiny)], [neutral_entries(tiny)])
    np.testing.assert_allclose(found.total, THEIRS["qrhead"], atol=2e-6)


def test_logit_is_what_the_code_of_locos_gives(tiny: str) -> None:
    (found,) = logit(load_stirred(tiny), [entries(tiny)])
    np.testing.assert_allclose(found.total, THEIRS["locos"], atol=1e-5 * np.abs(THEIRS["locos"]).max())


def test_the_gate_is_theirs() -> None:
    rouge = RougeScorer(["rouge1"], use_stemmer=True)
    for answer, text, recall in THEIRS["rouge"]:
        assert rouge.score(answer, text)["rouge1"].recall == pytest.approx(recall)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_words_before_the_answer_change_no_score(tiny: str, before: int) -> None:
    """The model is asked with fewer words of the key's value, and so says more of it before the right answer begins."""
    model, whole = AutoModelForCausalLM.from_pretrained(tiny), entries(tiny)
    answer = range(whole.answer.start + before, whole.answer.stop)
    asked = Tokens(**{**vars(whole), "answer": answer})
    ends = load_tokenizer(tiny)("\n", add_special_tokens=False)["input_ids"]
    (found,) = wu(model, [asked], ends, lambda *_: before)
    for head in INDUCTION:
        assert found.total[head] == pytest.approx(1)
    (everything,) = wu(model, [asked], ends, lambda *_: 0)
    assert everything.total[INDUCTION[0]] == pytest.approx(3 / (3 - before))


def test_the_ceiling_is_what_a_head_could_score_at_most(tiny: str) -> None:
    """An answer whose first token stands in no needle, as where a tokenizer writes it without the space before it."""
    model, tokens = AutoModelForCausalLM.from_pretrained(tiny), entries(tiny)
    ids = [*tokens.ids]
    ids[tokens.answer.start] = load_tokenizer(tiny)("amber", add_special_tokens=False)["input_ids"][0]
    (found,) = wu(model, [Tokens(**{**vars(tokens), "ids": tuple(ids)})], [], lambda *_: 0)
    assert found.ceiling == pytest.approx(2 / 3)


def test_a_needle_may_be_the_sentence_with_its_answer() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(BUNDLED / "tokenizer.json"), eos_token="<|end|>")
    stated = {
        "mdqa_synth": "real_haystack",
        "musique_synth": "templated_haystack",
        "summhay_synth": "symbolic_haystack",
    }
    for task, variant in stated.items():
        for row in rows_of(task, variant, 2):
            needle, sentence = tokens_of(tokenizer, row), tokens_of(tokenizer, row, "sentence")
            message = row["prompt"][0]["content"]
            for whole, part, placed in zip(needle.needles, sentence.needles, row["needles"], strict=True):
                said = tokenizer.decode([sentence.ids[i] for i in part])
                assert message[placed["answer_start"] : placed["answer_end"]] in said
                assert "\n" not in said.strip()
                assert len(part) < len(whole) or task == "musique_synth"


def test_a_misspelt_score_or_span_is_refused(tiny: str) -> None:
    from synthctx_data.errors import UsageError

    for wrong, message in (
        ({"score": "woo"}, "score: expected one of wu, wu_forced"),
        ({"span": "word"}, "span: expected one of"),
    ):
        with pytest.raises(UsageError, match=message):
            list(score_rows(None, None, [], **wrong))
