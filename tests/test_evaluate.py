"""The command `python training/evaluate.py`, really started, against models here and a real endpoint."""

import http.server
import json
import threading
import time
from pathlib import Path

import pytest

from synthctx_data.errors import ConflictError, UsageError
from tests.tiny import DATA, make_place, served
from training.evaluate import evaluate
from training.options import EvaluateOptions
from training.predictions import read_predictions
from training.tiny import make_tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("place"), 6, 6)


def options(**changes: object) -> EvaluateOptions:
    given = {
        "model": "tiny",
        "max_tokens": 1024,
        "data": DATA,
        "output": "evaluation",
        "max_new_tokens": 8,
        "resamples": 50,
    }
    return EvaluateOptions(**{**given, **changes})


def lines(place: Path) -> list[str]:
    return (place / "predictions.jsonl").read_text().splitlines()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
def test_answers_do_not_depend_on_the_batch_and_are_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    tight = {"max_tokens": 600, "max_new_tokens": 64}  # each answer may fill what its own prompt leaves
    evaluate(options(output="one", **tight))
    evaluate(options(output="three", batch_size=3, **tight))
    one, three = (read_predictions(place / name / "predictions.jsonl") for name in ("one", "three"))
    assert one == three
    assert len(one) == 6
    assert (place / "one" / "depth.png").read_bytes().startswith(b"\x89PNG")
    kept = lines(place / "one")
    cut = "\n".join(kept[:2]) + "\n" + kept[2][:20]  # a run that was killed in the middle of its third line
    (place / "one" / "predictions.jsonl").write_text(cut)
    evaluate(options(output="one", **tight))
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
        ({"max_tokens": None}, r"leaves 0 tokens for an answer of \d in what the model reads"),
        pytest.param(
            {"endpoint": "http://127.0.0.1:9/v1"},
            r"--endpoint http://127.0.0.1:9/v1: no answer to .*: APIConnectionError",
            marks=pytest.mark.slow,  # it is tried again
        ),
        ({"split": "test"}, "--split: expected 'train' or 'validation', got 'test'"),
    ],
)
def test_what_cannot_be_evaluated_says_why(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, message: str
) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(UsageError, match=message):
        evaluate(options(**{"output": str(tmp_path / "bad"), **changes}))


@pytest.mark.slow
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


class Unsteady(http.server.BaseHTTPRequestHandler):
    """Answers the first two questions, and the third with something that is no answer."""

    reply: bytes = b""
    asked = 0
    turn = threading.Lock()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.turn:
            Unsteady.asked += 1
            mine = Unsteady.asked
        good = json.dumps({"choices": [{"message": {"role": "assistant", "content": "<think>\n</think>\nan answer"}}]})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(self.reply if mine == 3 else good.encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.mark.parametrize(
    "reply",
    [
        b"{}",
        b"[]",
        b"not json",
        b'{"choices": []}',
    ],
    ids=["nothing", "list", "text", "no choices"],
)
def test_an_endpoint_that_answers_nonsense_loses_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: bytes
) -> None:
    monkeypatch.chdir(place)
    Unsteady.reply, Unsteady.asked = reply, 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Unsteady) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        asked = options(output=str(tmp_path / "served"), max_tokens=None, endpoint=url, batch_size=6)
        with pytest.raises(
            UsageError, match=r"no answer to mdqa_synth/symbolic_padding/validation/0000\d\d: .*others are kept"
        ):
            evaluate(asked)
        assert set(read_predictions(tmp_path / "served" / "predictions.jsonl").values()) == {"an answer"}
        evaluate(asked)
        server.shutdown()
    assert len(read_predictions(tmp_path / "served" / "predictions.jsonl")) == 6
    assert Unsteady.asked == 7  # only what had no answer was asked again


class Choosy(http.server.BaseHTTPRequestHandler):
    """Refuses two fields, as OpenAI's reasoning models do, and gives a reply without content to every other question."""

    asked: list[dict] = []

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refused = next((name for name in ("max_tokens", "temperature") if name in request), None)
        if refused:
            time.sleep(0.1)  # so that requests that are under way at once are all refused
        else:
            self.asked.append(request)
        content = None if len(self.asked) % 2 else [{"type": "text", "text": "an answer"}]
        error = {"error": {"message": f"Unsupported parameter: '{refused}' is not supported with this model."}}
        good = {"choices": [{"message": {"role": "assistant", "content": content}}]}
        self.send_response(400 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(error if refused else good).encode())

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_field_that_an_endpoint_refuses_is_left_out_and_no_content_is_no_answer(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    Choosy.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Choosy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        asked = options(
            output=str(tmp_path / "served"), max_tokens=None, endpoint=url, request='{"top_k": 1}', batch_size=3
        )
        evaluate(asked)
        with pytest.raises(UsageError, match=r"--request: expected a JSON object .*got a list"):
            evaluate(options(output=str(tmp_path / "bad"), max_tokens=None, endpoint=url, request="[]"))
        server.shutdown()
    assert len(Choosy.asked) == 6
    assert all(one["max_completion_tokens"] == 8 and one["top_k"] == 1 for one in Choosy.asked)
    answers = list(read_predictions(tmp_path / "served" / "predictions.jsonl").values())
    assert sorted(answers) == ["", "", "", "an answer", "an answer", "an answer"]
    assert "3 replies had no content and count as empty answers" in " ".join(capsys.readouterr().err.split())
    assert json.loads((tmp_path / "served" / "run.json").read_text())["finished"]
