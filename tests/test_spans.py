"""Rows in tokens: ranges hold what they are said to hold, under every make of tokenizer and template."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from analysis.spans import neutral, tokens_of
from synthctx_data.errors import DatasetError
from synthctx_data.schema import to_table
from tests.conftest import IDS, MAKES, VARIANTS, examples_for
from tests.test_sequences import TEMPLATES, tokenizer_folder
from training.turns import prompt_ids, render_row, tokenize

TOKENIZER = next(iter(MAKES)), next(iter(TEMPLATES.values()))


def rows_of(task: str, variant: str, count: int, **options) -> list[dict]:
    examples = examples_for(task, variant, **options)
    return to_table([examples.make("train", i) for i in range(count)]).to_pylist()


def covered(tokenizer, row: dict, part: range) -> tuple[str, str]:
    """The characters that a range of tokens covers, and those that are left without its first and last token."""
    text = render_row(tokenizer, row)
    edges = tokenize(tokenizer, text, return_offsets_mapping=True)["offset_mapping"]
    inner = text[edges[part.start][1] : edges[part.stop - 1][0]]
    return text[edges[part.start][0] : edges[part.stop - 1][1]], inner


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("make", MAKES)
def test_ranges_hold_their_texts_and_no_token_more(tmp_path: Path, make: str, template: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "t", make, TEMPLATES[template]))
    for task, variant in (("mdqa_synth", "templated_haystack"), ("summhay_synth", "symbolic_haystack")):
        for row in rows_of(task, variant, 2):
            tokens, message = tokens_of(tokenizer, row), row["prompt"][0]["content"]
            expected = [(tokens.answer, row["completion"][0]["content"]), (tokens.question, row["question"])]
            for needle, part in zip(row["needles"], tokens.needles, strict=True):
                start = min(needle["start"], needle["answer_start"])
                expected.append((part, message[start : max(needle["end"], needle["answer_end"])]))
            spans = [message[document["start"] : document["end"]] for document in row["documents"]]
            expected += zip(tokens.documents, spans, strict=True)
            for part, text in expected:
                whole, inner = covered(tokenizer, row, part)
                assert text.strip() in whole
                assert text.strip() not in inner
                assert abs(len(whole) - len(text)) < 40  # of one merged token at either end
            assert tokens.prompt <= tokens.answer.start <= tokens.prompt + 3
            assert list(tokens.ids[: tokens.prompt]) == prompt_ids(tokenizer, row)


@pytest.mark.parametrize(("task", "variant"), VARIANTS, ids=IDS)
def test_every_variant_has_ranges(task: str, variant: str, tokenizers: dict[str, str]) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=tokenizers["bytes"], eos_token="!")
    (row,) = rows_of(task, variant, 1)
    tokens = tokens_of(tokenizer, row)
    needle, part = row["needles"][0], tokens.needles[0]
    start = min(needle["start"], needle["answer_start"])
    text = row["prompt"][0]["content"][start : max(needle["end"], needle["answer_end"])]
    assert covered(tokenizer, row, part)[0] == text
    assert len(tokens.needles) == len(row["needles"])
    assert len(tokens.documents) == len(row["documents"])
    assert tokens.documents[-1].stop <= tokens.context < tokens.prompt


@pytest.mark.parametrize("answer", ["end", "assistant", "a", "1", "ist"])
def test_an_answer_that_the_template_says_too_is_found_behind_the_prompt(tmp_path: Path, answer: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "t", "bytes", TEMPLATES["plain"]))
    (row,) = rows_of("mdqa_synth", "templated_padding", 1)
    row["completion"] = [{"role": "assistant", "content": answer}]
    tokens = tokens_of(tokenizer, row)
    assert tokens.answer.start >= tokens.prompt
    assert covered(tokenizer, row, tokens.answer)[0] == answer


def test_the_neutral_question_is_the_only_change(tokenizers: dict[str, str]) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=tokenizers["bytes"], eos_token="!")
    (row,) = rows_of("mdqa_synth", "templated_padding", 1)
    tokens, other = tokens_of(tokenizer, row), neutral(tokenizer, row)
    assert tokenizer.convert_ids_to_tokens(other.ids[other.question.start : other.question.stop]) == ["N", "/", "A"]
    assert other.ids[: other.context] == tokens.ids[: tokens.context]
    assert other.ids[other.question.stop :] == tokens.ids[tokens.question.stop :]
    assert other.needles == tokens.needles


def test_a_template_that_changes_texts_says_so(tmp_path: Path) -> None:
    shouting = "{% for m in messages %}{{ m.content | upper if m.role == 'user' else m.content }}<|stop|>{% endfor %}"
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "t", "bytes", shouting))
    (row,) = rows_of("mdqa_synth", "templated_padding", 1)
    with pytest.raises(DatasetError, match=r"templated_padding/train/0+: expected 'Read the numbered .* chat template"):
        tokens_of(tokenizer, row)


def test_the_answer_behind_evidence_is_the_answer_alone(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "t", *TOKENIZER))
    for row in rows_of("mdqa_synth", "templated_haystack", 3, completion="evidence"):
        tokens = tokens_of(tokenizer, row)
        assert covered(tokenizer, row, tokens.answer)[0].strip() == row["answers"][0]
        assert tokens.answer.start > tokens.prompt


def test_a_chat_of_a_mixture_has_nothing_to_score(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "t", *TOKENIZER))
    with pytest.raises(
        DatasetError, match="x: expected a row with documents, and this is a chat; score heads on another"
    ):
        tokens_of(tokenizer, {"id": "x", "documents": [], "needles": []})
