from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig

from synthctx_data.errors import UsageError
from training.model import load_config, load_model
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
