import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from synthctx_data.errors import TokenizerError, UsageError
from synthctx_data.tokens import BUNDLED, load_counter
from tests.conftest import MAKES

LLAMA_LIKE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}]\n\n{{ message['content'] | trim }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}[assistant]\n\n{% endif %}"
)
MARKED = (
    "{% for message in messages %}{% if message.role == 'assistant' %}A: {% generation %}{{ message.content }}{% endgeneration %}"
    "{% else %}U: {{ message | tojson }}{% endif %}\n{% endfor %}{{ strftime_now('%Y') }}"
)


@pytest.fixture(params=["bundled", "llama_like", "marked", "named"])
def folder(request, tmp_path: Path, tokenizers: dict[str, str]) -> Path:
    """A tokenizer's folder with a chat template, as transformers saves it."""
    if request.param == "bundled":
        return BUNDLED
    shutil.copy(tokenizers["byte_level"], tmp_path)
    template = MARKED if request.param == "marked" else LLAMA_LIKE
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": {"content": "</s>", "__type": "AddedToken"},
    }
    if request.param == "llama_like":
        (tmp_path / "chat_template.jinja").write_text(template)
    elif request.param == "marked":
        config["chat_template"] = template
    else:
        config["chat_template"] = [{"name": "default", "template": template}, {"name": "tool_use", "template": "no"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(prompt=st.text(min_size=1), completion=st.text(min_size=1))
def test_a_conversation_counts_as_transformers_counts_it(folder: Path, prompt: str, completion: str) -> None:
    ours = load_counter(str(folder))
    theirs = AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
    text = theirs.apply_chat_template(messages, tokenize=False)
    if "strftime_now" in str(theirs.chat_template):  # a fixed day here, today there
        text = text[:-4] + "2024"
    assert ours.conversation(prompt, completion) == len(theirs(text, add_special_tokens=False)["input_ids"])


visible = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z", "M")), min_size=1, max_size=30)


@pytest.mark.parametrize("make", [name for name in MAKES if name != "across_lines"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(lines=st.lists(visible, min_size=1, max_size=5))
def test_units_add_up_where_a_tokenizer_splits_at_line_ends(tokenizers, make: str, lines: list[str]) -> None:
    counter = load_counter(tokenizers[make])
    units = [f"{line}\n\n" for line in lines]
    whole = "Start.\n" + "".join(units) + "End"
    assert counter.raw(whole) == counter.raw("Start.\nEnd") + sum(counter.units(units))
    assert counter.units(units) == [counter.unit(unit) for unit in units]


def test_ends_are_where_tokens_end(tokenizers) -> None:
    counter = load_counter(tokenizers["characters"])
    assert counter.ends("was it the dog\n") == [1, 2, 3, 5, 6, 8, 9, 10, 12, 13, 14]


def test_the_same_tokenizer_has_the_same_identity_wherever_it_lies(tokenizers, tmp_path: Path) -> None:
    copy = shutil.copy(tokenizers["characters"], tmp_path / "other.json")
    assert load_counter(tokenizers["characters"]).identity == load_counter(str(copy)).identity
    assert load_counter(tokenizers["characters"]).identity != load_counter(tokenizers["bytes"]).identity


def test_tokenizers_that_cannot_be_used(tmp_path: Path, tokenizers) -> None:
    with pytest.raises(UsageError, match="a folder that holds one, or a Hub id that can be reached, got"):
        load_counter(str(tmp_path / "absent" / "deep" / "path"))
    with pytest.raises(UsageError, match="a folder that holds one, or a Hub id that can be reached, got"):
        load_counter("nobody/nothing")
    with pytest.raises(UsageError, match=r"expected tokenizer\.json in the folder"):
        load_counter(str(tmp_path))
    broken = tmp_path / "tokenizer.json"
    for content in (b"{}", b"not json", b"\xff\xfe"):
        broken.write_bytes(content)
        with pytest.raises(TokenizerError, match="--tokenizer"):
            load_counter(str(broken))
    shutil.copy(tokenizers["characters"], broken)
    (tmp_path / "chat_template.jinja").write_text("{% for %}")
    with pytest.raises(TokenizerError, match="does not compile"):
        load_counter(str(tmp_path))
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('no user here') }}")
    with pytest.raises(TokenizerError, match="no user here"):
        load_counter(str(tmp_path)).conversation("a", "b")
