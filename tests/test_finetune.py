"""The command `python training/finetune.py`, really started, on tiny models."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from builders import TASKS
from builders.build import build_variant
from builders.hub.card import update_card
from builders.shards import Build
from synthctx_data.errors import UsageError
from synthctx_data.options import Options
from synthctx_data.tokens import BUNDLED
from tests.commands import ROOT, call, process, script, started, wait_until
from tests.tiny import DATA, free_port, make_place
from training.checkpoints import last_checkpoint
from training.dry_run import forecast
from training.finetune import finetune
from training.memory import estimate_memory
from training.options import Recipe
from training.rope import extended_theta, theta_of

TINY = ("--model", "tiny", "--data", DATA, "--max-tokens", 1024, "--learning-rate", 0.01, "--accumulation", 1)
STEPS = ("--max-steps", 6, "--save-steps", 2)
SHORT = (*TINY, *STEPS, "--logging-steps", 1)
SCRIPT = ROOT / "training" / "finetune.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a data set and a tiny model."""
    return make_place(tmp_path_factory.mktemp("place"), 40, 4)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def losses(folder: Path) -> list[tuple[int, float]]:
    return [*zip(logged(folder, "step", "loss"), logged(folder, "loss"), strict=True)]


def logged(folder: Path, name: str, where: str | None = None) -> list[float]:
    """What was logged under a name, or beside another."""
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry[name] for entry in history if (where or name) in entry]


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    ran = call(script("training/finetune.py"), *SHORT, "--output", "runs/whole", cwd=place)
    assert ran.returncode == 0, ran.stderr
    return place / "runs" / "whole"


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(place: Path, finished: Path) -> None:
    output = place / "runs" / "killed"
    with started(SCRIPT, *SHORT, "--output", "runs/killed", cwd=place) as running:
        wait_until(lambda: last_checkpoint(output), running)
        running.kill()
    killed_at = last_checkpoint(output)
    assert killed_at is not None
    torn = output / "checkpoint-99"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"epoch": ')
    again = process(SCRIPT, *SHORT, "--output", "runs/killed", cwd=place)
    assert again.returncode == 0, again.stderr
    mine, theirs = weights(output), weights(finished)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    curves = [losses(folder) for folder in (output, finished)]
    assert curves[0] == curves[1]
    assert [step for step, _ in curves[0]] == [1, 2, 3, 4, 5, 6]


def test_a_finished_run_is_not_repeated_and_another_is_refused(place: Path, finished: Path) -> None:
    before = (finished / "adapter_model.safetensors").stat().st_mtime_ns
    asked = (*TINY, *STEPS, "--output", "runs/whole")
    again = call(script("training/finetune.py"), *asked, "--logging-steps", 3, cwd=place)
    assert "is finished, from the same recipe and data" in again.stdout
    assert (finished / "adapter_model.safetensors").stat().st_mtime_ns == before
    other = call(script("training/finetune.py"), *asked, "--lora-rank", 4, cwd=place)
    assert other.returncode == 1
    assert "holds another run: lora_rank was 8 and is 4" in other.stderr


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_loads_as_its_card_says(place: Path, finished: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(place / "tiny", config=AutoConfig.from_pretrained(finished))
    model = PeftModel.from_pretrained(base, finished)
    assert theta_of(base.model.rotary_emb.inv_freq) == pytest.approx(extended_theta(1e8, 512, 1024), rel=1e-4)
    adapted = {name.split(".lora")[0].rsplit(".", 1)[-1] for name, _ in model.named_parameters() if "lora" in name}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj"}
    card = (finished / "README.md").read_text()
    fingerprint = json.loads((place / "synthctx/mdqa_synth/symbolic_padding/build.json").read_text())["fingerprint"]
    assert DATA in card
    assert "Its answers end with the token `<|end|>`" in card
    assert fingerprint in card


@pytest.mark.slow
def test_two_processes_under_zero_2(place: Path, finished: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", free_port())
    zero = ("--deepspeed", ROOT / "training" / "deepspeed" / "zero2.json")
    ran = process(*launcher, SCRIPT, *SHORT, "--output", "runs/zero", *zero, cwd=place, DS_ACCELERATOR="cpu")
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert len(losses(place / "runs" / "zero")) == 6
    shards = {path.name.split("_")[3] for path in (place / "runs" / "zero").glob("checkpoint-6/*/*zero_pp_rank*")}
    assert shards == {"0", "1"}  # each process holds its part of the optimizer's state
    assert weights(place / "runs" / "zero").keys() == weights(finished).keys()
    assert any(tensor.abs().max() > 0 for name, tensor in weights(place / "runs" / "zero").items() if "lora_B" in name)


@pytest.mark.slow
def test_two_processes_that_share_each_context_train_as_one_does(place: Path, tmp_path: Path) -> None:
    """Losses, gradients and weights are those of one process, also where the run was interrupted and went on."""
    more = (*TINY[:-1], 2, *STEPS, "--logging-steps", 1, "--max-grad-norm", 0.5)  # in place of --accumulation 1
    alone = process(SCRIPT, *more, "--output", "runs/alone", cwd=place)
    assert alone.returncode == 0, alone.stderr[-3000:]
    zero = ("--deepspeed", ROOT / "training" / "deepspeed" / "zero2.json", "--sequence-parallel", 2)
    together = place / "runs" / "together"

    def run_together() -> None:
        launcher = ("-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", free_port())
        ran = process(*launcher, SCRIPT, *more, "--output", "runs/together", *zero, cwd=place, DS_ACCELERATOR="cpu")
        assert ran.returncode == 0, ran.stderr[-3000:]

    def require_equal() -> None:
        for name in ("loss", "grad_norm", "eval_loss"):
            mine, theirs = (logged(folder, name) for folder in (together, place / "runs" / "alone"))
            assert mine == pytest.approx(theirs, rel=1e-4)
        mine, theirs = weights(together), weights(place / "runs" / "alone")
        assert all(torch.allclose(mine[name], theirs[name], atol=0.003) for name in theirs)  # up to 0.07

    run_together()
    require_equal()
    shutil.rmtree(together / "checkpoint-6")
    (together / "adapter_model.safetensors").unlink()
    unfinished = {**json.loads((together / "run.json").read_text()), "finished": False}
    (together / "run.json").write_text(json.dumps(unfinished))
    run_together()
    require_equal()


def tear(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]
)
@pytest.mark.parametrize("damage", [tear, lambda folder, name: (folder / name).unlink()], ids=["torn", "gone"])
def test_a_checkpoint_that_is_not_whole_is_passed_over(finished: Path, tmp_path: Path, name: str, damage) -> None:
    for step in (4, 6):
        shutil.copytree(finished / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-old").mkdir()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-6")
    damage(tmp_path / "checkpoint-6", name)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")


DIVIDED = {"sequence_parallel": 2, "deepspeed": str(ROOT / "training" / "deepspeed" / "zero2.json")}
BAD = [
    (DIVIDED, r"--sequence-parallel 2: expected a multiple of 2 processes, got 1; start it with torchrun"),
    ({**DIVIDED, "batch_size": 2}, r"--sequence-parallel: expected --batch-size 1, got 2"),
    ({**DIVIDED, "positions": "skip"}, r"--sequence-parallel: expected --positions whole"),
    ({"model": "absent"}, r"--model: expected a folder or a Hub id .* got 'absent'"),
    ({"max_tokens": 540}, r"symbolic_padding/train/0\d+ has \d+ tokens .* the model reads 540"),
    ({"data": ["absent:v"]}, r"--data: expected a folder or a Hub id of a data set, got 'absent'"),
    ({"data": [DATA + "*x"]}, r"--data: expected PLACE:VARIANT"),
    ({"lora_targets": ["query"]}, r"--lora-targets: tiny has no query; its linear modules are .*q_proj"),
    ({"model": "large"}, r"large on \d+ tokens takes about \d+ GiB .* not even its weights fit"),
    ({"attention": "flash_attention_2"}, r"expected a GPU and flash-attn"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_what_cannot_be_trained_says_why(
    place: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, message: str
) -> None:
    if not (place / "large").exists():
        LlamaConfig(hidden_size=8192, num_hidden_layers=80, intermediate_size=28672).save_pretrained(place / "large")
        PreTrainedTokenizerFast.from_pretrained(str(BUNDLED)).save_pretrained(place / "large")
    monkeypatch.chdir(place)
    with pytest.raises(UsageError, match=message):
        finetune(Recipe(**{"model": "tiny", "data": [DATA], "max_tokens": 1024, "output": "runs/bad", **changes}))
    assert not (place / "runs" / "bad" / "run.json").exists()


def test_an_error_is_one_line(place: Path) -> None:
    ran = call(script("training/finetune.py"), "--model", "absent", "--data", DATA, cwd=place)
    assert ran.returncode == 2
    (line,) = ran.stderr.strip().splitlines()
    assert line.startswith("finetune: --model: expected")


def test_the_estimate_knows_the_weights(place: Path) -> None:
    config = AutoConfig.from_pretrained(place / "tiny")
    recipe = Recipe(model="tiny", data=["a:b"], dtype="float32")
    model = AutoModelForCausalLM.from_pretrained(place / "tiny")
    short, long = (estimate_memory(config, recipe, tokens, True) for tokens in (1000, 4000))
    assert short.weights == sum(p.numel() * 4 for p in model.parameters())
    assert long.activations == 4 * short.activations
    assert short.total < long.total < estimate_memory(config, recipe, 4000, False).total


def test_a_dry_run_says_what_training_will_be_and_makes_nothing(place: Path) -> None:
    asked = (*TINY, "--epochs", 2, "--batch-size", 8, "--output", "runs/dry", "--dry-run")
    ran = call(script("training/finetune.py"), *asked, cwd=place)
    assert ran.returncode == 0, ran.stderr
    assert not (place / "runs" / "dry").exists()
    assert "40 in 40 sequences" in ran.stdout
    assert "steps      10 of 8 sequences" in ran.stdout  # 40 rows twice
    found = forecast(Recipe(model=str(place / "tiny"), data=[f"{place}/{DATA}"], max_tokens=1024))
    least, _, most = found.tokens
    assert 590 <= least <= most <= 600
    assert found.fits


def test_rows_of_one_context_are_one_sequence_and_skips_need_room(place: Path) -> None:
    options = Options(
        max_tokens=600, tokenizer=str(place / "tiny"), key_style="word", train=8, validation=4, questions=4
    )
    job = Build("mdqa_synth", "symbolic_padding", options, place / "shared" / "mdqa_synth")
    build_variant(job)
    update_card(TASKS["mdqa_synth"], job)
    data = "shared/mdqa_synth:symbolic_padding"
    asked = ("--model", "tiny", "--data", data, "--max-tokens", 2400, "--max-steps", 2, "--accumulation", 1)
    ran = call(script("training/finetune.py"), *asked, "--positions", "skip", "--output", "runs/skip", cwd=place)
    assert ran.returncode == 0, ran.stderr
    state = json.loads((place / "runs" / "skip" / "trainer_state.json").read_text())
    assert state["epoch"] == 1  # two steps of one context each: all eight rows
    ran = call(script("training/finetune.py"), *asked, "--output", "runs/skip", cwd=place)
    assert "positions was 'skip' and is 'whole'" in ran.stderr


def test_rows_keep_their_order_if_that_is_asked_for(place: Path) -> None:
    """Of an untrained adapter, the first loss depends on the first row alone; another seed shuffles otherwise."""

    def first_losses(order: str) -> set[float]:
        found = set()
        for seed in (1, 2, 3):
            output = f"runs/{order}-{seed}"
            step = ("--max-steps", 1, "--logging-steps", 1, "--order", order, "--seed", seed, "--output", output)
            ran = call(script("training/finetune.py"), *TINY, *step, cwd=place)
            assert ran.returncode == 0, ran.stderr
            found.add(round(losses(place / output)[0][1], 4))
        return found

    assert len(first_losses("given")) == 1
    assert len(first_losses("shuffled")) > 1


def test_a_mixture_with_chats_is_trained_on(place: Path) -> None:
    from builders.mixing.card import describe_mixture
    from builders.mixing.mix import Mixture, mix
    from builders.mixing.recipe import MixtureRecipe

    (place / "chats.jsonl").write_text('{"prompt": "one two", "completion": "three"}\n' * 6)
    parts = [{"data": DATA, "weight": 2}, {"chat": "chats.jsonl", "weight": 1}]
    recipe = MixtureRecipe(task="mdqa_synth", name="with_chats", train=12, tokenizer="tiny", parts=parts)
    mixture = Mixture(recipe, place / "mixed" / "mdqa_synth")
    with contextlib.chdir(place):
        mix(mixture, 1, lambda rows: None)
        update_card(TASKS["mdqa_synth"], mixture.build, describe=describe_mixture(recipe))
    asked = ("--model", "tiny", "--data", "mixed/mdqa_synth:with_chats", "--max-tokens", 1024, "--order", "given")
    ran = call(script("training/finetune.py"), *asked, "--output", "runs/with_chats", cwd=place)
    assert ran.returncode == 0, ran.stderr
    assert (place / "runs" / "with_chats" / "adapter_model.safetensors").exists()
