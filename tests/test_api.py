"""The module synthctx: data, training, scores and interventions by calls, and errors that speak of arguments."""

import subprocess
import sys
from pathlib import Path

import pytest

import synthctx
from synthctx_data.errors import UsageError
from tests.tiny import ENVIRONMENT
from training.tiny import INDUCTION, make_tiny

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("api")
    make_tiny(place / "tiny")
    return place


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def build(**options: object) -> str:
    given = {"max_tokens": 500, "tokenizer": "tiny", "key_style": "word", "train": 8, "validation": 4}
    return synthctx.build("mdqa_synth", "symbolic_padding", **{**given, **options})


def test_a_day_with_it(place: Path) -> None:
    address = build()
    assert address == "synthctx/mdqa_synth:symbolic_padding"
    assert build() == address
    assert synthctx.check(address).report.ok
    rows = synthctx.load(address, "validation")
    assert (len(rows), len(synthctx.load(address, limit=3)), len(synthctx.load(address, limit=0))) == (4, 3, 0)
    options = {"model": "tiny", "max_tokens": 600, "data": address}
    adapter = synthctx.finetune(**options, max_steps=2, output="adapter", gradient_checkpointing=False)
    model, tokenizer = synthctx.load_model(adapter=adapter)
    heads = synthctx.score_heads(model, tokenizer, rows, score="wu_forced")
    assert set(heads.top(5)) == set(INDUCTION)
    found = synthctx.evaluate(adapter=adapter, data=address, output="evaluation", max_new_tokens=8)
    assert 0 <= found["all"]["all"]["f1"].mean <= 1
    with synthctx.intervene(model, synthctx.Knockout(heads.top(5))):
        assert synthctx.score_heads(model, tokenizer, rows, score="mass").about["counted"] == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build(max_tokens=0), r"^max_tokens: expected greater than or equal to \d+, got 0"),
        (lambda: build(key_stile="word"), "^expected options among .*key_style.*; got 'key_stile'"),
        (lambda: synthctx.load("nowhere"), "^data: expected PLACE:VARIANT"),
        (lambda: synthctx.load_model("absent"), "^model: expected a folder or a Hub id"),
        (
            lambda: synthctx.finetune(model="tiny", data=["a:b"], learning_rate=0),
            "^learning_rate: expected greater than 0",
        ),
        (lambda: synthctx.evaluate(model="absent", data=build()), "^model: expected a folder or a Hub id"),
        (lambda: synthctx.score_heads(None, None, [], score="woo"), "^score: expected one of wu, .*got 'woo'"),
    ],
)
def test_errors_speak_of_arguments(call, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        call()
    assert "--" not in str(caught.value).replace("--help", "")


def test_a_script_without_a_guard_builds(place: Path) -> None:
    """Worker processes would read the script anew, and build in it."""
    script = place / "script.py"
    script.write_text(
        "import synthctx\nprint(synthctx.build('mdqa_synth', 'symbolic_padding', max_tokens=500, train=8, validation=5, output='o'))\n"
    )
    ran = subprocess.run([sys.executable, script], cwd=place, env=ENVIRONMENT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "o/mdqa_synth:symbolic_padding"


def test_what_is_no_row_or_no_model_is_said() -> None:
    rows = synthctx.load(build(), "validation")
    with pytest.raises(UsageError, match=r"rows: expected rows one by one, .* take rows.select"):
        synthctx.score_heads(None, None, rows[:2])
    with pytest.raises(UsageError, match="expected model or adapter, got neither"):
        synthctx.load_model()
    with pytest.raises(UsageError, match=r"got 'max_token' \(did you mean max_tokens\?\)"):
        synthctx.load_model("tiny", max_token=3)
    with pytest.raises(UsageError, match=r"expected heads as pairs"):
        synthctx.Knockout((1, 0))


def test_it_is_imported_without_torch_and_before_a_folder_of_data(place: Path) -> None:
    """A build writes a folder named synthctx, which must not be taken for the module."""
    (place / "synthctx" / "mdqa_synth").mkdir(parents=True, exist_ok=True)
    code = "import sys, synthctx; print(synthctx.__version__, 'torch' in sys.modules, 'Knockout' in dir(synthctx))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=place, env=ENVIRONMENT, capture_output=True, text=True)
    assert ran.stdout.split()[1:] == ["False", "True"], ran.stderr
    with pytest.raises(AttributeError, match="has no attribute 'Knokout'; it has"):
        synthctx.Knokout  # noqa: B018


def test_figures_leave_the_backend_alone_and_give_back_their_axes() -> None:
    import matplotlib as mpl
    import numpy as np
    from matplotlib import pyplot as plt

    from analysis.figures import heatmap, histogram
    from analysis.heads import HeadScores
    from training.plots import bars, saved

    before = mpl.get_backend()
    values = np.random.default_rng(0).random((1, 3, 4), np.float32)
    heads = HeadScores(values, values, values, ("x",), {"score": "mass"})
    _, axes = plt.subplots()
    assert heatmap(heads, axes) is axes
    assert histogram(heads).get_xlabel().startswith("mass")
    with saved(Path("figure"), (3, 3), "a title that is much longer than the figure is wide, " * 4) as drawn:
        heatmap(heads, drawn)
        assert bars({}, "nothing", plt.subplots()[1]) is not None
    plt.close("all")
    assert mpl.get_backend() == before
    assert Path("figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_mixture_by_one_call() -> None:
    recipe = {"task": "mdqa_synth", "train": 6, "validation": 2, "tokenizer": "tiny", "max_tokens": 500}
    recipe["parts"] = [{"variant": "symbolic_padding", "options": {"key_style": "word"}}]
    address = synthctx.mix(recipe, train=4)
    assert address == "synthctx/mdqa_synth:mixture"
    assert len(synthctx.load(address)) == 4
    assert synthctx.check(address).report.ok
    with pytest.raises(
        UsageError, match="expected max_tokens, tokenizer, train, validation to differ from the recipe, got seed"
    ):
        synthctx.mix(recipe, seed=3)
    with pytest.raises(UsageError, match=r"the recipe: parts: .*; see docs/mixtures.md"):
        synthctx.mix({**recipe, "parts": []})
