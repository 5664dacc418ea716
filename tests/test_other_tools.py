"""Other tools, really started: evaluation harnesses that give the scores of evaluate.py, and the trainers of TRL on our rows."""

import json
from pathlib import Path

import numpy as np
import pytest
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from analysis.engine.preferences import make_preferences
from analysis.heads import HeadScores
from analysis.options import PreferencesOptions
from harnesses.lm_eval import task
from harnesses.rows import CITATIONS, SHORT, names_of, scores
from synthctx_data.dataset import load_rows, parse_variant_address
from synthctx_data.errors import UsageError
from synthctx_data.schema import to_table
from tests.commands import ROOT, process
from tests.conftest import every_example, examples_for
from tests.tiny import DATA, finetuned, make_place
from training.dpo import prefer
from training.evaluate import evaluate
from training.grpo import raise_rewards
from training.options import DpoOptions, EvaluateOptions, GrpoOptions
from training.tiny import INDUCTION

MOST = 12  # tokens of an answer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a data set, a model that answers it in `tuned`, and the harnesses' files as a checkout has them."""
    place = finetuned(make_place(tmp_path_factory.mktemp("place"), 240, 4), "runs/tiny")
    config = AutoConfig.from_pretrained(place / "runs" / "tiny")
    base = AutoModelForCausalLM.from_pretrained(place / "tiny", config=config)
    PeftModel.from_pretrained(base, place / "runs" / "tiny").merge_and_unload().save_pretrained(place / "tuned")
    AutoTokenizer.from_pretrained(place / "tiny").save_pretrained(place / "tuned")
    (place / "harnesses").symlink_to(ROOT / "harnesses")
    return place


@pytest.fixture(scope="module")
def ours(place: Path) -> dict[str, float]:
    """The scores by evaluate.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        summary = evaluate(EvaluateOptions(model="tuned", data=DATA, max_new_tokens=MOST, output="ours"))
    found = {name: mean.mean for name, mean in summary["all"]["all"].items()}
    assert found["f1"] > 0.2  # else they would agree on nothing
    return found


@pytest.mark.slow
def test_lm_evaluation_harness_gives_our_scores(place: Path, ours: dict[str, float]) -> None:
    model = (
        "--model",
        "hf",
        "--model_args",
        "pretrained=tuned,dtype=float32",
        "--device",
        "cpu",
        "--apply_chat_template",
    )
    tasks = ("--tasks", "synthctx", "--include_path", "harnesses/lm_eval", "--metadata", json.dumps({"data": DATA}))
    ran = process(
        "-m", "lm_eval", "run", *model, *tasks, "--gen_kwargs", f"max_gen_toks={MOST}", "--output_path", "lm", cwd=place
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    (file,) = (place / "lm").rglob("results*.json")
    found = json.loads(file.read_text())["results"]["synthctx"]
    assert {name: found[f"{name},stripped"] for name in ours} == pytest.approx(ours)


@pytest.mark.slow
def test_inspect_gives_our_scores(place: Path, ours: dict[str, float]) -> None:
    model = ("--model", "hf/local", "-M", f"model_path={place / 'tuned'}", "-M", "device=cpu", "-M", "do_sample=false")
    asked = ("harnesses/inspect_task.py", "-T", f"data={place / DATA}", "--max-tokens", MOST)
    written = ("--display", "plain", "--log-dir", "logs", "--log-format", "json")
    ran = process("-m", "inspect_ai", "eval", *asked, *model, *written, cwd=place)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    (file,) = (place / "logs").glob("*.json")
    metrics = {
        one["name"]: one["metrics"]["mean"]["value"] for one in json.loads(file.read_text())["results"]["scores"]
    }
    assert metrics == pytest.approx(ours)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of what TRL calls in transformers
def test_rewards_rise_and_a_finished_run_is_not_repeated(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    given = {"generations": 12, "prompts": 2, "steps": 8, "limit": 4, "max_new_tokens": 6, "learning_rate": 5e-4}
    given["temperature"] = 1.8  # at which answers are often wrong at first
    options = GrpoOptions(
        adapter="runs/tiny", data=DATA, output="runs/rewarded", logging_steps=1, save_steps=4, **given
    )
    output = raise_rewards(options)
    log = json.loads((output / "trainer_state.json").read_text())["log_history"]
    rewards = [entry["reward"] for entry in log if "reward" in entry]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1
    written = {file: file.stat().st_mtime_ns for file in output.iterdir()}
    assert raise_rewards(options) == output
    assert {file: file.stat().st_mtime_ns for file in output.iterdir()} == written
    evaluate(
        EvaluateOptions(adapter=str(output), data=DATA, limit=1, max_new_tokens=MOST, output="rewarded")
    )  # it loads


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_answers_without_retrieval_heads_are_what_a_model_learns_to_avoid(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    scored = np.zeros((1, 4, 4), np.float32)
    for layer, head in INDUCTION:
        scored[0, layer, head] = 1
    HeadScores(scored, scored, scored, ("x",)).save("heads.safetensors")
    given = {"model": "tuned", "data": DATA, "split": "validation", "max_new_tokens": MOST, "output": "preferences"}
    options = PreferencesOptions(heads="heads.safetensors", top=len(INDUCTION), **given)
    made = make_preferences(options)
    assert made.f1 > made.f1_without
    answers = {
        row["id"]: row["completion"][0]["content"] for row in load_rows(parse_variant_address(DATA), "validation")
    }
    pairs = [json.loads(line) for line in made.file.read_text().splitlines()]
    assert 0 < len(pairs) == made.pairs <= made.rows == len(answers)
    assert all(pair["chosen"] != pair["rejected"] for pair in pairs)
    assert any(pair["chosen"][0]["content"] == answers[pair["id"]] != pair["rejected"][0]["content"] for pair in pairs)
    kept = made.file.read_bytes()
    assert make_preferences(options) == made
    assert made.file.read_bytes() == kept
    tuning = {"learning_rate": 1e-3, "accumulation": 1, "max_steps": 4, "logging_steps": 1, "save_steps": 2}
    output = prefer(DpoOptions(model="tuned", pairs=str(made.file), output="runs/preferring", **tuning))
    log = json.loads((output / "trainer_state.json").read_text())["log_history"]
    margins = [entry["rewards/margins"] for entry in log if "rewards/margins" in entry]
    assert margins[0] == 0 < margins[-1]  # how much likelier the chosen answers became than the rejected ones
    evaluate(EvaluateOptions(adapter=str(output), data=DATA, limit=1, max_new_tokens=MOST, output="preferring"))


@pytest.mark.parametrize(("name", "kind"), [("mdqa_synth", SHORT), ("summhay_synth", CITATIONS)])
def test_a_right_answer_scores_one_whatever_stands_around_it(name: str, kind: tuple[str, ...]) -> None:
    rows = to_table(every_example(examples_for(name, "templated_haystack"))).to_pylist()
    for row in rows[:3]:
        assert names_of(row) == kind
        for text in ("{}", " {}", "\n\n{}\n", "<think>\nLet me see.\n</think>\n\n{}"):
            (stripped,) = task.strip([[text.format(task.answer(row))]], [row])
            assert task.score_row(row, stripped) == scores(row, stripped[0]) == dict.fromkeys(kind, 1.0)
        assert set(task.score_row(row, [""]).values()) == {0.0}


def test_a_harness_says_how_its_data_are_named() -> None:
    with pytest.raises(UsageError, match=r"give --metadata '{\"data\": \"PLACE:VARIANT\"}'"):
        task.load()
