"""The command `python training/evaluate.py`, really started, against models here and a real endpoint."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import TASKS
from builders.card import update_card
from builders.shards import Build, build
from synthctx_data.errors import ConflictError, UsageError
from synthctx_data.options import Options
from training.config import Evaluation
from training.evaluate import evaluate, read_predictions
from training.tiny import make_tiny

pytestmark = pytest.mark.xdist_group("evaluate")  # which share the runs of their fixtures
ROOT = Path(__file__).resolve().parent.parent
DATA = "synthctx/mdqa_synth:symbolic_padding"
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    tokenizer = str(make_tiny(place / "tiny"))
    options = Options(max_tokens=600, tokenizer=tokenizer, key_style="word", train=6, validation=6)
    job = Build("mdqa_synth", "symbolic_padding", options, place / "synthctx" / "mdqa_synth")
    build(job)
    update_card(TASKS["mdqa_synth"], job)
    return place


def options(**changes: object) -> Evaluation:
    given = {
        "model": "tiny",
        "max_tokens": 1024,
        "data": DATA,
        "output": "evaluation",
        "max_new_tokens": 8,
        "resamples": 50,
    }
    return Evaluation(**{**given, **changes})


def lines(place: Path) -> list[str]:
    return (place / "predictions.jsonl").read_text().splitlines()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
def test_answers_do_not_depend_on_the_batch_and_are_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    evaluate(options(output="one"))
    evaluate(options(output="three", batch_size=3))
    one, three = (read_predictions(place / name / "predictions.jsonl") for name in ("one", "three"))
    assert one == three
    assert len(one) == 6
    assert (place / "one" / "depth.png").read_bytes().startswith(b"\x89PNG")
    kept = lines(place / "one")
    cut = "\n".join(kept[:2]) + "\n" + kept[2][:20]  # a run that was killed in the middle of its third line
    (place / "one" / "predictions.jsonl").write_text(cut)
    evaluate(options(output="one"))
    assert lines(place / "one")[:2] == kept[:2]
    assert sorted(lines(place / "one")) == sorted(kept)
    summary = json.loads((place / "one" / "scores.json").read_text())
    assert summary["all"]["all"]["f1"]["rows"] == 6


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_predictions_of_something_else_are_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    evaluate(options(output="known", limit=1))
    with pytest.raises(ConflictError, match="max_new_tokens was 8 and is 9"):
        evaluate(options(output="known", max_new_tokens=9))
    with pytest.raises(ConflictError, match="weights was"):
        make_tiny(place / "changing")
        evaluate(options(output="changed", model="changing", limit=1))
        make_tiny(place / "changing", max_position_embeddings=700)
        evaluate(options(output="changed", model="changing", limit=1))
    (place / "known" / "run.json").unlink()
    with pytest.raises(ConflictError, match="holds predictions of a run that is not known"):
        evaluate(options(output="known"))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "expected --model or --adapter"),
        ({"model": "absent"}, "--model: expected a folder or a Hub id"),
        ({"model": None, "adapter": "absent", "max_tokens": None}, "--adapter: expected a folder or a Hub id"),
        ({"adapter": "absent"}, "an adapter brings the context"),
        ({"max_tokens": None}, "tokens before its answer, and the model reads 512"),
        (
            {"endpoint": "http://127.0.0.1:9/v1"},
            r"--endpoint http://127.0.0.1:9/v1: no answer to .*: APIConnectionError",
        ),
        ({"split": "test"}, "--data: expected a folder or a Hub id"),
    ],
)
def test_what_cannot_be_evaluated_says_why(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, message: str
) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(UsageError, match=message):
        evaluate(options(**{"output": str(tmp_path / "bad"), **changes}))


@contextlib.contextmanager
def served(place: Path) -> Iterator[str]:
    """The base URL of transformers' own server, with the tiny model in it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(command, cwd=place, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
def test_an_endpoint_answers_as_the_model_does(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    model = str(make_tiny(place / "longer", max_position_embeddings=1024))
    with served(place) as url:
        evaluate(options(output="there", model=model, max_tokens=None, endpoint=url, batch_size=2))
    evaluate(options(output="here", model=model, max_tokens=None))
    there, here = (read_predictions(place / name / "predictions.jsonl") for name in ("there", "here"))
    assert there == here
    assert len(there) == 6
