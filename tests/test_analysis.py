"""Fine-tuning, evaluation, and the commands of analysis/ on a tiny model that was fine-tuned, and whose heads are known."""

import json
import re
import shutil
from importlib import metadata
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from analysis.engine.detect import find_heads
from analysis.engine.knockout import knock_out
from analysis.engine.patch import patch_heads
from analysis.engine.rank import rank_data
from analysis.engine.trace import on_needles
from analysis.heads import HeadScores
from analysis.options import DetectOptions, KnockoutOptions, PatchOptions, RankOptions
from synthctx_data.errors import ConflictError, UsageError
from tests.commands import ROOT, call, process, script, started, wait_until
from tests.tiny import DATA, finetuned, make_place
from training.tiny import INDUCTION, PREVIOUS, make_tiny

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
HEADS = "heads/learnt"


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which a tiny model was fine-tuned by the README's recipe, to `runs/learnt`: a minute's work."""
    return finetuned(make_place(tmp_path_factory.mktemp("learnt"), 140, 24), "runs/learnt")


@pytest.fixture(scope="module")
def place(learnt: Path) -> Path:
    """A working directory with a fine-tuned model and its heads, and a model that has learnt a tenth of it."""
    half = learnt / "runs" / "half"
    shutil.copytree(learnt / "runs" / "learnt", half, ignore=shutil.ignore_patterns("checkpoint-*"))
    adapter = load_file(half / "adapter_model.safetensors")
    save_file({name: weight * 0.3 for name, weight in adapter.items()}, half / "adapter_model.safetensors")
    asked = ("--adapter", "runs/learnt", "--data", DATA, "--output", HEADS, "--top", 5)
    ran = process(ROOT / "analysis" / "detect.py", *asked, cwd=learnt)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"2\d of 24 rows count", ran.stdout)
    return learnt


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def test_a_tiny_model_learns_to_answer(place: Path) -> None:
    """By the commands alone: before, no answer of the held-out questions is right; after, nearly all are."""
    scores = {}
    for name, model in {
        "before": ("--model", "tiny", "--max-tokens", "600"),
        "after": ("--adapter", "runs/learnt"),
    }.items():
        asked = (*model, "--data", DATA, "--batch-size", 8, "--output", f"scored/{name}")
        ran = call(script("training/evaluate.py"), *asked, cwd=place)
        assert ran.returncode == 0, ran.stderr
        scores[name] = json.loads((place / "scored" / name / "scores.json").read_text())["all"]["all"]["f1"]["mean"]
    assert scores["before"] < 0.1
    assert scores["after"] > 0.7


def test_the_heads_that_copy_are_found(place: Path) -> None:
    heads = HeadScores.load(HEADS)
    assert set(heads.top(5)) == set(INDUCTION)
    assert heads.values[heads.ranked()[5]] < 0.1 < heads.values[heads.top(5)[-1]]
    assert heads.about["data"]["address"] == DATA
    assert heads.about["counted"] > 0.7 * heads.about["asked"]
    written = {path.name for path in (place / HEADS).iterdir() if path.suffix != ".npz"}
    figures = {f"{name}.{kind}" for name in ("heatmap", "histogram", "depth") for kind in ("svg", "png")}
    assert written >= figures | {"heads.safetensors", "heads.json", "by_head.json", "by_kv_head.json", "run.json"}


@pytest.mark.parametrize("score", ["wu_forced", "mass", "logit", "edge", "ablate"])
def test_every_score_finds_them(score: str) -> None:
    heads = find_heads(DetectOptions(adapter="runs/learnt", data=DATA, score=score, limit=4, output=f"heads/{score}"))
    if score == "ablate":  # of five heads that do the same, none alone is necessary; the one that they all need is
        assert heads.top(1) == [PREVIOUS]
    else:
        assert len(set(heads.top(5)) & set(INDUCTION)) >= 4  # tuning leaves one of them weaker than the others


def test_the_atlas_holds_what_was_found(place: Path) -> None:
    asked = ("--model", "tiny", "--max-tokens", 600, "--name", "tiny", "--data", DATA, "--limit", 4, "--slow-limit", 2)
    scores = ("--scores", "wu_forced", "mass", "edge", "--output", "atlas")
    ran = call(script("analysis/add_to_atlas.py"), *asked, *scores, cwd=place)
    assert ran.returncode == 0, ran.stderr
    found = {
        score: HeadScores.load(place / "atlas" / "tiny" / score / "768.safetensors") for score in ("wu_forced", "edge")
    }
    assert set(found["wu_forced"].top(5)) == set(INDUCTION)
    assert {score: len(heads.examples) for score, heads in found.items()} == {"wu_forced": 4, "edge": 2}
    page = (place / "atlas" / "tiny" / "README.md").read_text()
    assert "python analysis/add_to_atlas.py --model tiny" in page
    assert page.count("| 768 |") == 3
    assert (place / "atlas" / "tiny" / "heads.png").exists()
    twice = call(script("analysis/add_to_atlas.py"), *asked, *scores, "--data", DATA, DATA, cwd=place)
    assert "expected data sets of different lengths" in twice.stderr


def test_a_killed_detection_goes_on_where_it_was(place: Path) -> None:
    asked = ("--adapter", "runs/learnt", "--data", DATA, "--output", "heads/killed")
    rows = place / "heads" / "killed" / "rows"
    with started(ROOT / "analysis" / "detect.py", *asked, cwd=place) as running:
        wait_until(lambda: len(list(rows.glob("0*.npz"))) >= 3, running)
        running.kill()
    before = {path.name: path.stat().st_mtime_ns for path in rows.glob("0*.npz")}
    assert 3 <= len(before) < 24
    assert call(script("analysis/detect.py"), *asked, cwd=place).returncode == 0
    after = {path.name: path.stat().st_mtime_ns for path in rows.glob("0*.npz")}
    assert before.items() <= after.items()
    assert (place / "heads/killed/heads.json").read_bytes() == (place / HEADS / "heads.json").read_bytes()


def test_torn_scores_of_a_row_and_those_of_another_are_made_anew(place: Path) -> None:
    options = DetectOptions(adapter="runs/learnt", data=DATA, score="wu_forced", limit=3, output="heads/torn")
    before = find_heads(options)
    rows = place / "heads" / "torn" / "rows"
    (rows / "000001.npz").write_bytes((rows / "000001.npz").read_bytes()[:100])
    (rows / "000002.npz").write_bytes((rows / "000000.npz").read_bytes())
    after = find_heads(options)
    assert after.ids == before.ids
    assert (after.examples == before.examples).all()


def test_a_donor_that_reads_less_or_other_tokens_is_refused(place: Path, tmp_path: Path) -> None:
    find_heads(DetectOptions(adapter="runs/learnt", data=DATA, score="wu_forced", limit=2, output="heads/two"))
    options = {
        "adapter": "runs/learnt",
        "data": DATA,
        "heads": "heads/two",
        "donor_heads": "heads/two",
        "top": 5,
        "limit": 2,
    }
    with pytest.raises(UsageError, match=r"--donor-model: expected a donor that reads \d+ tokens .* and it reads 512"):
        patch_heads(PatchOptions(**options, donor_model="tiny", output=str(tmp_path / "short")))
    other = make_tiny(tmp_path / "other", max_position_embeddings=1024)
    template = other / "chat_template.jinja"
    template.write_text("<|user|>" + template.read_text())
    with pytest.raises(UsageError, match=r"--donor-model: expected a donor with the recipient's tokenizer"):
        patch_heads(PatchOptions(**options, donor_model=str(other), output=str(tmp_path / "other_tokens")))


def test_an_unfinished_adapter_is_not_looked_for_on_the_hub(place: Path) -> None:
    (place / "runs" / "begun").mkdir()
    with pytest.raises(UsageError, match=r"expected a finished adapter in runs/begun"):
        find_heads(DetectOptions(adapter="runs/begun", data=DATA, output="heads/begun"))


def test_another_detection_is_not_mixed_in() -> None:
    with pytest.raises(ConflictError, match=r"heads/learnt holds another run: score was 'wu' and is 'mass'"):
        find_heads(DetectOptions(adapter="runs/learnt", data=DATA, score="mass", output=HEADS))


def test_without_its_heads_it_answers_nothing(place: Path) -> None:
    """The paper's knockout: the retrieval heads are necessary, and as many others are not."""
    options = {
        "adapter": "runs/learnt",
        "data": DATA,
        "heads": HEADS,
        "top": [5],
        "batch_size": 8,
        "seeds": 1,
        "output": "knockout",
    }
    found = knock_out(KnockoutOptions(**options, exclude_layers=[0]))
    assert found["highest heads"][0].mean > 0.8
    assert found["highest heads"][5].mean < 0.05
    assert found["same layers"][5].mean > 0.5 * found["same layers"][0].mean
    assert found["all layers"][5].mean > 0.5 * found["all layers"][0].mean
    assert 5 not in found["other layers"]
    before = {path: path.stat().st_mtime_ns for path in (place / "knockout").glob("*/predictions.jsonl")}
    assert knock_out(KnockoutOptions(**options, exclude_layers=[0])) == found
    assert {path: path.stat().st_mtime_ns for path in (place / "knockout").glob("*/predictions.jsonl")} == before
    assert (place / "knockout" / "knockout.svg").exists()
    lost = json.loads((place / "knockout" / "knockout.json").read_text())["lost_more"]
    highest = found["highest heads"]
    assert lost["no heads"]["5"]["mean"] == pytest.approx(highest[0].mean - highest[5].mean)
    assert lost["same layers"]["5"]["mean"] == pytest.approx(found["same layers"][5].mean - highest[5].mean)
    assert lost["same layers"]["5"]["low"] > 0  # row by row


def test_traces_show_that_its_heads_look_at_the_needle(place: Path) -> None:
    asked = ("--adapter", "runs/learnt", "--data", DATA, "--heads", HEADS, "--top", 3, "--output", "traced")
    asked = (*asked, "--rows", "1", DATA.partition("/")[2].replace(":", "/") + "/validation/000003")
    ran = call(script("analysis/trace.py"), *asked, cwd=place)
    assert ran.returncode == 0, ran.stderr
    made = json.loads((place / "traced" / "run.json").read_text())
    assert made["command"].startswith("trace --adapter runs/learnt --data ")
    assert made["versions"]["torch"] == metadata.version("torch")
    file = place / "traced" / "trace.json"
    content = file.read_bytes()
    found = json.loads(content)
    assert [row["id"][-6:] for row in found["rows"]] == ["000001", "000003"]
    assert on_needles(found["rows"], "right", 0) > 0.5
    file.write_text(json.dumps({**found, "rows": found["rows"][1:]}))  # as a kill after one row leaves it
    for _ in range(2):
        ran = call(script("analysis/trace.py"), *asked, cwd=place)
        assert (ran.returncode, file.read_bytes()) == (0, content)
    ran = call(script("analysis/report.py"), "traced", "--output", "traced.html", cwd=place)
    page = (place / "traced.html").read_text()
    assert "Where heads look" in page
    assert "<td>trace --adapter " in page


@pytest.mark.parametrize("mode", ["mean", "edge", pytest.param("uniform", marks=pytest.mark.slow)])
def test_every_way_of_knocking_out_shows_it(mode: str) -> None:
    options = {"adapter": "runs/learnt", "data": DATA, "heads": HEADS, "top": [5], "batch_size": 4, "limit": 8}
    found = knock_out(KnockoutOptions(**options, seeds=1, mode=mode, phase="answer", output=f"knockout_{mode}"))
    assert found["highest heads"][5].mean < found["highest heads"][0].mean / 2


@pytest.mark.slow
@pytest.mark.parametrize("twins", [True, False])
def test_a_donors_heads_bring_what_was_missing(twins: bool, tmp_path: Path) -> None:
    """Hardly trained, the model fails; with the heads of the trained one it answers as that one does."""
    donor = tmp_path / "donor"
    shutil.copytree("runs/learnt", donor, ignore=shutil.ignore_patterns("checkpoint-*"))
    if not twins:  # of another base, as far as can be told: so they are read side by side
        config = donor / "adapter_config.json"
        config.write_text(config.read_text().replace('"tiny"', f'"{Path("tiny").resolve()}"'))
    options = {"adapter": "runs/half", "donor_adapter": str(donor), "data": DATA, "limit": 8, "batch_size": 4}
    heads = {"heads": "heads/wu_forced_half", "donor_heads": HEADS, "top": 5, "seeds": 1}
    find_heads(DetectOptions(adapter="runs/half", data=DATA, score="wu_forced", limit=8, output="heads/wu_forced_half"))
    for positions in ("all", "needle"):
        found = patch_heads(PatchOptions(**options, **heads, positions=positions, output=str(tmp_path / positions)))
        assert found["donor"].mean > 0.7
        if positions == "all":
            assert found["intersect"].mean > found["recipient"].mean + 0.3
            assert found["random"].mean < found["intersect"].mean
        else:
            assert found["intersect"].mean == found["recipient"].mean  # nothing is copied where the needle is


@pytest.mark.slow
def test_candidates_are_ranked_by_what_they_do_to_the_heads(place: Path) -> None:
    from builders import TASKS
    from builders.build import build_variant
    from builders.hub.card import update_card
    from builders.shards import Build
    from synthctx_data.options import Options

    options = Options(max_tokens=600, tokenizer="tiny", key_style="word", train=40, validation=2)
    others = []
    for variant in ("symbolic_haystack", "symbolic_padding"):
        job = Build("mdqa_synth", variant, options, place / "candidates" / "mdqa_synth")
        build_variant(job)
        update_card(TASKS["mdqa_synth"], job)
        others.append(f"candidates/mdqa_synth:{variant}")
    torch.manual_seed(0)
    choices = {"model": "tiny", "max_tokens": 600, "data": others, "target": DATA, "learning_rate": 0.01}
    ranking = RankOptions(
        **choices, max_steps=3, accumulation=1, limit=4, gradient_checkpointing=False, output="ranking"
    )
    ranked = rank_data(ranking)
    assert {r.name for r in ranked} == {"none", *others}
    assert sum(r.sure for r in ranked) == pytest.approx(1)
    untuned = next(r for r in ranked if r.name == "none")
    assert (untuned.over, untuned.low, untuned.high) == (0, 0, 0)
    assert all(r.over == pytest.approx(r.reach - untuned.reach) for r in ranked)
    assert json.loads((place / "ranking" / "ranking.json").read_text())["about"]["reference"] == DATA
    assert rank_data(ranking) == ranked
    with pytest.raises(
        UsageError, match=r"--target: expected data that no candidate is, .* leave .*symbolic_padding out"
    ):
        rank_data(ranking.model_copy(update={"target": others[1]}))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("detect.py", ["--data", DATA], "detect: expected --model or --adapter, got neither"),
        ("detect.py", ["--model", "absent", "--data", DATA], "detect: --model: expected a folder or a Hub id"),
        ("detect.py", ["--model", "tiny", "--data", DATA], r"detect: mdqa_synth/.* has \d+ tokens .* reads 512"),
        (
            "knockout.py",
            ["--adapter", "runs/learnt", "--data", DATA, "--heads", "absent"],
            "knockout: expected scores of heads in absent",
        ),
        (
            "knockout.py",
            ["--adapter", "runs/learnt", "--data", DATA, "--heads", HEADS, "--top", "16"],
            "knockout: --top: expected fewer than the 16 heads",
        ),
        (
            "patch.py",
            ["--adapter", "runs/learnt", "--data", DATA, "--heads", HEADS, "--donor-heads", HEADS],
            "patch: expected --donor-adapter or --donor-model",
        ),
        (
            "rank.py",
            ["--model", "tiny", "--data", DATA, "--target", DATA],
            "rank: --data: expected two candidates or more",
        ),
        ("compare.py", ["--heads", f"a={HEADS}", "--reference", "a"], "compare: --heads: expected 2 or more, got 1"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(place: Path, name: str, arguments: list[str], message: str) -> None:
    ran = call(script(f"analysis/{name}"), *arguments, cwd=place)
    assert ran.returncode in (1, 2)
    last = ran.stderr.strip().splitlines()[-1]
    assert re.match(message, last), ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("name", ["detect.py", "knockout.py", "patch.py", "compare.py", "rank.py"])
def test_help_teaches(place: Path, name: str) -> None:
    """The script as a process: it starts from any folder."""
    ran = process(ROOT / "analysis" / name, "--help", cwd=place)
    assert ran.returncode == 0
    assert f"python analysis/{name}" in ran.stdout
    assert "--output" in ran.stdout


def test_a_model_without_an_answer_says_what_else_can_be_done() -> None:
    from synthctx_data.errors import DatasetError

    with pytest.raises(DatasetError, match=r"answers none of 2; .* --score wu_forced"):
        find_heads(DetectOptions(model="tiny", max_tokens=600, data=DATA, limit=2, output="heads/base"))
    with pytest.raises(UsageError, match="an adapter brings the context"):
        find_heads(DetectOptions(adapter="runs/learnt", max_tokens=600, data=DATA, output="heads/x"))
