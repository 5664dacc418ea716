"""What a model is asked with, what it is trained on, and where it stops: under every chat template that TRL ships, and worse ones."""

from pathlib import Path

import pytest
import trl
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from synthctx_data.errors import UsageError
from synthctx_data.tokens import load_counter
from tests.conftest import MAKES
from tests.test_sequences import tokenizer_folder
from training.answer_text import bare_answer, read_answer
from training.turns import encode, end_of_answer, prompt_ids

SHIPPED = {file.stem: file.read_text() for file in (Path(trl.__file__).parent / "chat_templates").glob("*.jinja")}
REFUSED = {
    "glm4moe": "ends it with ''",
    "idefics3": "leaves the answer out",
    "idefics3_training": "leaves the answer out",
    "llava_next": "it raised",
    "llava_next_training": "it raised",
    "smolvlm": "leaves the answer out",
    "smolvlm_training": "leaves the answer out",
}
# Tokens of their own in the tokenizers that these templates are for.
SPECIAL = [
    *(
        "<|im_start|>",
        "<|im_end|>",
        "<|eot_id|>",
        "<|end_of_turn|>",
        "<|return|>",
        "<|channel|>",
        "<|message|>",
        "<|start|>",
    ),
    *("<|end|>", "<|user|>", "<|eot|>", "<|assistant|>", "<end_of_turn>", "<start_of_turn>", "<turn|>", "<|turn>"),
    *(
        "<|END_OF_TURN_TOKEN|>",
        "<|END_RESPONSE|>",
        "<think>",
        "</think>",
        "<｜end▁of▁sentence｜>",
        "<｜Assistant｜>",
        "<｜User｜>",
    ),
]
ROWS = [
    {
        "id": f"row/{answer}",
        "prompt": [{"role": "user", "content": "Read this.\n\nQuestion: who?\nAnswer with a short phrase."}],
        "completion": [{"role": "assistant", "content": answer}],
    }
    for answer in ("Paris", "the 3 of May", "7", "[3][12]", '"so"', "été", "(b)")
]


@pytest.fixture(params=["byte_level", "metaspace", "across_lines"])
def tokenizer(request: pytest.FixtureRequest, tmp_path: Path):
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "t", request.param, None))
    tokenizer.add_special_tokens(
        {"additional_special_tokens": SPECIAL, "bos_token": "<BOS>", "eos_token": "<|endoftext|>"}
    )
    return tokenizer


@pytest.mark.parametrize("template", sorted(SHIPPED))
def test_a_model_is_asked_as_it_is_trained_or_the_template_is_refused(template: str, tokenizer) -> None:
    """A model that learned its labels exactly, asked with the prompt, is read as the right answer."""
    tokenizer.chat_template = SHIPPED[template]
    if template in REFUSED:
        with pytest.raises(UsageError, match=REFUSED[template]):
            (encode(tokenizer, ROWS[0]), end_of_answer(tokenizer))
        return
    end = end_of_answer(tokenizer)
    for row in ROWS:
        encoded, asked = encode(tokenizer, row), prompt_ids(tokenizer, row)
        learned = encoded["input_ids"][len(asked) :]
        assert encoded["input_ids"][: len(asked)] == asked
        assert encoded["labels"] == [-100] * len(asked) + learned
        assert end in learned
        if tokenizer.backend_tokenizer.decoder is not None:  # the others lose spaces
            assert read_answer(tokenizer, learned, [end]) == row["completion"][0]["content"]


def test_thoughts_are_off(tokenizer) -> None:
    for name in ("qwen3", "qwen3_5_think", "qwen3_6", "nemotron_3_nano", "deepseek_r1_distill"):
        tokenizer.chat_template = SHIPPED[name]
        asked = tokenizer.decode(prompt_ids(tokenizer, ROWS[0]))
        assert asked.count("<think>") == asked.count("</think>"), name


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
            "leaves the answer out",
        ),
        (
            "{% for m in messages %}{{ m.content }}\n{% endfor %}",
            r"ends it with '\\n': a model would not learn where to stop",
        ),
        ("{{ raise_exception('no') }}", "it raised: no"),
    ],
)
def test_a_template_that_cannot_be_trained_on_is_refused(template: str, message: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "t", "byte_level", template))
    with pytest.raises(UsageError, match=message):
        end_of_answer(tokenizer)


def test_a_prompt_that_depends_on_its_answer_is_refused_with_the_tokens(tmp_path: Path) -> None:
    template = "{{ messages[1].content | length }}{% for m in messages %}{{ m.content }}<|stop|>{% endfor %}"
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "t", "bytes", template))
    with pytest.raises(UsageError, match=r"row/Paris: .* is asked with \['8'.*\] and trained with \['5'"):
        encode(tokenizer, ROWS[0])


@pytest.mark.parametrize("adds_its_own", [False, True])
def test_a_sequence_without_a_template_has_one_end_token(adds_its_own: bool, tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    inner = MAKES["byte_level"]()
    inner.add_special_tokens(["<|stop|>"])
    if adds_its_own:
        inner.post_processor = TemplateProcessing("$A <|stop|>", None, [("<|stop|>", inner.token_to_id("<|stop|>"))])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|stop|>")
    encoded = encode(tokenizer, ROWS[0])
    assert encoded["input_ids"].count(tokenizer.eos_token_id) == 1
    assert encoded["input_ids"][-1] == end_of_answer(tokenizer) == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in prompt_ids(tokenizer, ROWS[0])
    tokenizer.save_pretrained(tmp_path)
    (prompt,), (answer,) = ROWS[0]["prompt"], ROWS[0]["completion"]
    counted = load_counter(str(tmp_path)).conversation(prompt["content"], answer["content"])
    assert counted == len(encoded["input_ids"])


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Paris", "Paris"),
        (" Paris.\n", "Paris."),
        ("<think>\n\n</think>\n\nParis", "Paris"),
        ("It is in France.\n</think>\nParis", "Paris"),
        ("<think>It may be Rome", ""),
        ("[THINK]hm[/THINK]Paris", "Paris"),
        ("<|START_THINKING|>hm<|END_THINKING|>Paris", "Paris"),
        ("<|channel>thought\nhm<channel|>Paris", "Paris"),
        ("<seed:think>hm</seed:think>Paris", "Paris"),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Paris", "Paris"),
        ("<|channel|>final <|constrain|>text<|message|>Paris", "Paris"),
        ("<|channel|>analysis<|message|>hm", ""),
        ("a <b> c", "a <b> c"),
    ],
)
def test_an_answer_is_read_without_its_thoughts(text: str, answer: str) -> None:
    assert bare_answer(text) == answer


@pytest.mark.parametrize("change", ["| tojson", "| e", "| lower", "[:4]"])
def test_a_template_that_changes_answers_is_refused(change: str, tmp_path: Path) -> None:
    template = f"{{% for m in messages %}}{{{{ m.content {change} if m.role == 'assistant' else m.content }}}}<|stop|>{{% endfor %}}"
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "t", "bytes", template))
    with pytest.raises(UsageError, match=r"keeps an answer as it is|leaves the answer out"):
        for row in ROWS:
            encode(tokenizer, row)


def test_of_several_named_templates_the_default_one_is_taken(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "t", "bytes", None))
    default = "{% for m in messages %}{{ m.content }}<|stop|>{% endfor %}"
    tokenizer.chat_template = {"default": default, "tool_use": "{{ 'no' }}"}
    assert encode(tokenizer, ROWS[0])["input_ids"][-1] == tokenizer.eos_token_id == end_of_answer(tokenizer)


def test_a_token_for_line_ends_ends_no_answer(tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m.content }}\n\n<|stop|>{% endfor %}"
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "t", "bytes", template))
    tokenizer.add_tokens(["\n\n"])
    assert end_of_answer(tokenizer) == tokenizer.eos_token_id
