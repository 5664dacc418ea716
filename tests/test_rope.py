import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, PreTrainedConfig

from synthctx_data.errors import UsageError
from tests.families import FAMILIES, SMALL, STATEFUL
from training.model import choose_attention, load_config, load_model
from training.options import ModelOptions
from training.rope import check_positions, extend, extended_theta, theta_of
from training.tiny import make_tiny


@pytest.mark.parametrize(("theta", "papers"), [(500_000, 6_315_088), (10_000, 59_300)])
def test_theta_is_the_papers(theta: float, papers: float) -> None:
    assert int(extended_theta(theta, 8192, 32768)) == papers
    assert extended_theta(theta, 8192, 8192) == pytest.approx(theta)


def test_a_raised_theta_is_what_the_loaded_model_computes_with(tmp_path: Path) -> None:
    model = str(make_tiny(tmp_path / "tiny"))
    options = ModelOptions(model=model, max_tokens=4096)
    loaded = load_model(options, load_config(options))
    assert loaded.config.max_position_embeddings == 4096
    assert theta_of(loaded.model.rotary_emb.inv_freq) == pytest.approx(extended_theta(1e8, 512, 4096), rel=1e-4)
    as_it_was = load_model(plain := ModelOptions(model=model), load_config(plain))
    assert theta_of(as_it_was.model.rotary_emb.inv_freq) == pytest.approx(1e8, rel=1e-4)


@pytest.mark.parametrize("kind", ["yarn", "linear"])
def test_scaled_positions_differ_and_are_checked(tmp_path: Path, kind: str) -> None:
    options = ModelOptions(model=str(make_tiny(tmp_path / "tiny")), max_tokens=4096, rope=kind)
    loaded = load_model(options, load_config(options))
    assert loaded.config.rope_parameters["rope_type"] == kind
    assert loaded.config.rope_parameters["factor"] == 8
    frequencies = loaded.model.rotary_emb.inv_freq
    assert frequencies[-1] < 1e8 ** (-(len(frequencies) - 1) / len(frequencies)) * 0.9


WITHOUT_ROPE = {"biogpt", "gpt2", "gpt_bigcode", "opt"}
FAMILIES_WITH_ROPE = sorted({*FAMILIES, *STATEFUL} - WITHOUT_ROPE)


def config_of(family: str, **changes: object) -> PreTrainedConfig:
    return AutoConfig.for_model(family, **{**SMALL, **{**FAMILIES, **STATEFUL}[family], **changes})


@pytest.mark.parametrize("kind", ["theta", "yarn", "linear"])
@pytest.mark.parametrize("family", FAMILIES_WITH_ROPE)
def test_every_family_computes_with_the_positions_that_were_asked_for(family: str, kind: str) -> None:
    sizes = {"hidden_size": 128, "head_dim": 32}  # those that turn a quarter of a head turn several pairs
    if family in ("apertus", "gpt_oss"):  # which are made with positions that are extended already
        sizes["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4}
    config, plain = (config_of(family, **copy.deepcopy(sizes)) for _ in range(2))
    extend(config, ModelOptions(model=family, max_tokens=2048, rope=kind))
    model, before = (AutoModelForCausalLM.from_config(one) for one in (config, plain))
    check_positions(model)
    buffers = dict(before.named_buffers())
    changed = 0
    for name, frequencies in model.named_buffers():
        if not name.endswith("inv_freq") or "original" in name:
            continue
        old = buffers[name]
        if "sliding" in name:
            assert torch.equal(frequencies, old)
            continue
        changed += 1
        assert frequencies[0] == pytest.approx(old[0] / (8 if kind == "linear" else 1))  # the fastest turn as before
        theta = extended_theta(theta_of(old), 256, 2048)
        slowest = {"theta": theta ** (1 / len(old) - 1), "yarn": old[-1] / 8, "linear": old[-1] / 8}
        assert frequencies[-1] == pytest.approx(float(slowest[kind]), rel=1e-3)
    assert changed


@pytest.mark.parametrize("family", ["gemma3_text", "olmo3"])
def test_a_model_that_scales_some_layers_alone_loads_as_it_is(family: str, tmp_path: Path) -> None:
    scaled = {"rope_type": "yarn", "factor": 8.0, "rope_theta": 1e6, "original_max_position_embeddings": 32}
    parameters = {"full_attention": scaled, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}
    AutoModelForCausalLM.from_config(config_of(family, rope_parameters=parameters)).save_pretrained(tmp_path)
    options = ModelOptions(model=str(tmp_path))
    model = load_model(options, load_config(options))
    model.config.get_text_config().rope_parameters["full_attention"]["factor"] = 4.0
    with pytest.raises(UsageError, match="full_attention_inv_freq has other frequencies than RoPE of type yarn"):
        check_positions(model)


def test_a_theta_that_is_set_too_late_is_found(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(make_tiny(tmp_path / "tiny"))
    model.config.rope_parameters["rope_theta"] = 59_300.0
    with pytest.raises(UsageError, match=r"has the theta 1000000.., and the configuration says 59300"):
        check_positions(model)


def test_layers_of_full_attention_alone_are_extended() -> None:
    config = Gemma3TextConfig(max_position_embeddings=1024)
    extend(config, ModelOptions(model="gemma", max_tokens=8192))
    assert config.rope_parameters["sliding_attention"]["rope_theta"] == 10_000
    assert config.rope_parameters["full_attention"]["rope_theta"] > 1_000_000


def test_what_cannot_be_extended_says_so() -> None:
    config = LlamaConfig(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0})
    with pytest.raises(UsageError, match="RoPE of type linear, which cannot be extended further"):
        extend(config, ModelOptions(model="m", max_tokens=8192))
    with pytest.raises(UsageError, match="--sliding-window: m has none"):
        extend(AutoConfig.for_model("gpt2"), ModelOptions(model="m", sliding_window=7))
    with pytest.raises(UsageError, match="no RoPE"):
        extend(AutoConfig.for_model("gpt2"), ModelOptions(model="m", max_tokens=8192))


def test_a_context_within_the_models_own_changes_nothing() -> None:
    config = LlamaConfig(max_position_embeddings=4096)
    extend(config, ModelOptions(model="m", max_tokens=4096))
    assert config.to_dict() == LlamaConfig(max_position_embeddings=4096).to_dict()


@pytest.mark.parametrize(("family", "attention"), [("llama", "sdpa"), ("gemma2", "eager"), ("gpt_oss", "eager")])
def test_a_model_gets_an_attention_that_it_can_be_computed_with(family: str, attention: str) -> None:
    assert choose_attention("auto", config_of(family)) == attention
