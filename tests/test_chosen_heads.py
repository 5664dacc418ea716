"""Tuning of chosen heads alone, on a model whose heads share keys and values."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from synthctx_data.errors import UsageError
from tests.tiny import DATA, make_place
from training.chosen_heads import read_top, whole_groups
from training.finetune import finetune
from training.grpo import _adapted
from training.options import GrpoOptions, Recipe

HEADS, GROUPS, WIDTH, LAYERS = 4, 2, 8, 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with data, a model of two layers of four heads on two keys, and a ranking that begins with head 1 of layer 1."""
    place = make_place(tmp_path_factory.mktemp("place"), 12, 2)
    words = json.loads((place / "tiny" / "config.json").read_text())["vocab_size"]
    sizes = {
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "head_dim": WIDTH,
    }
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=words, hidden_size=24, intermediate_size=32, max_position_embeddings=1024, eos_token_id=1, **sizes
    )
    LlamaForCausalLM(config).save_pretrained(place / "grouped")
    for file in (place / "tiny").glob("*token*"):
        (place / "grouped" / file.name).write_bytes(file.read_bytes())
    for file in (place / "tiny").glob("*.jinja"):
        (place / "grouped" / file.name).write_bytes(file.read_bytes())
    ranked = [(1, 1), *((layer, head) for layer in range(LAYERS) for head in range(HEADS) if (layer, head) != (1, 1))]
    (place / "ranked").mkdir()
    heads = [{"layer": layer, "head": head, "score": -i} for i, (layer, head) in enumerate(ranked)]
    (place / "ranked" / "heads.json").write_text(json.dumps({"about": {}, "heads": heads}))
    return place


def recipe(output: str, **changes: object) -> Recipe:
    given = {
        "model": "grouped",
        "data": [DATA],
        "max_steps": 3,
        "save_steps": 1,
        "accumulation": 1,
        "learning_rate": 0.05,
        "weight_decay": 0.1,
        "gradient_checkpointing": False,
        "output": output,
    }
    return Recipe(**{**given, **changes})


def merged(place: Path, adapter: str) -> dict[str, torch.Tensor]:
    """The attention weights with an adapter less those without it."""
    base = LlamaForCausalLM.from_pretrained(place / "grouped")
    before = {name: value.clone() for name, value in base.state_dict().items()}
    after = PeftModel.from_pretrained(base, place / adapter).merge_and_unload().state_dict()
    return {name: after[name] - before[name] for name in before}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
def test_only_the_chosen_heads_change_and_all_heads_are_plain_lora(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    finetune(recipe("one", heads="ranked", top=1))
    for name, change in merged(place, "one").items():
        moved = change.abs() > 0
        if "layers.1.self_attn" not in name:
            assert not moved.any(), name
            continue
        kind = name.split(".")[-2]
        parts = moved.T if kind == "o_proj" else moved
        by_head = (
            parts.reshape(-1, WIDTH, parts.shape[1]).any(2).all(1)
        )  # every dimension of these heads, none of others
        assert by_head.tolist() == ([True, True, False, False] if kind in ("q_proj", "o_proj") else [True, False]), name
        assert (parts.reshape(-1, WIDTH, parts.shape[1]).any(2).any(1) == by_head).all()
    model, _ = _adapted(GrpoOptions(adapter="one", data=DATA))  # what is trained on stays with its heads
    model(input_ids=torch.tensor([[1, 5, 7]]), labels=torch.tensor([[1, 5, 7]])).loss.backward()
    moving = {
        name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.abs().sum() > 0
    }
    assert moving
    assert all("layers.1." in name for name in moving)
    finetune(recipe("every", heads="ranked", top=LAYERS * HEADS))
    finetune(recipe("plain"))
    every, plain = (load_file(place / name / "adapter_model.safetensors") for name in ("every", "plain"))
    assert every.keys() == plain.keys()
    assert all(torch.equal(every[name], plain[name]) for name in plain)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
def test_a_run_of_chosen_heads_goes_on_with_the_same_weights(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    finetune(recipe("straight", heads="ranked", top=2))
    straight = load_file(place / "straight" / "adapter_model.safetensors")
    (place / "straight").rename(place / "cut")
    run = json.loads((place / "cut" / "run.json").read_text())
    (place / "cut" / "run.json").write_text(json.dumps({**run, "finished": False}))
    (place / "cut" / "adapter_model.safetensors").unlink()
    last = max((place / "cut").glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    finetune(recipe("cut", heads="ranked", top=2))
    again = load_file(place / "cut" / "adapter_model.safetensors")
    assert all(torch.equal(again[name], straight[name]) for name in straight)


def test_heads_that_cannot_be_tuned_are_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    config = LlamaConfig(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    assert whole_groups([(1, 3), (0, 0)], config) == [(0, 0), (0, 1), (1, 2), (1, 3)]
    for call, says in (
        (lambda: read_top("ranked", 9), "--top 9: expected at most the 8 heads"),
        (lambda: read_top("absent", 1), "--heads: expected heads.json as analysis/detect.py writes it"),
        (lambda: read_top("tiny/config.json", 1), "got tiny/config.json: KeyError"),
        (lambda: whole_groups([(2, 0)], config), r"of 2 layers of 4 heads, got \(layer, head\) \(2, 0\)"),
        (lambda: recipe("x", heads="ranked"), "--heads, --top: expected both or neither"),
        (
            lambda: recipe("x", heads="ranked", top=1, lora_targets=["q_proj", "up_proj"]),
            "--heads: expected --lora-targets among k_proj, o_proj, q_proj, v_proj, got q_proj, up_proj",
        ),
    ):
        with pytest.raises(UsageError, match=says):
            call()
