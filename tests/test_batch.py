"""The Batch API: the same rows as without it, from files of requests, through restarts, and nothing handed in twice."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from builders.writing.batch import BatchWriter
from builders.writing.endpoint import Endpoint
from builders.writing.options import WritingOptions
from builders.writing.prices import Price, Spending
from builders.writing.requests import Pass
from builders.writing.store import AnswerStore
from builders.writing.written import WrittenExpression
from synthctx_data.errors import WriterError
from tests.llm_server import LlmServer, Reply, completion, llm_server, well
from tests.test_writer import KEY, by, examples, expected, key, once, written

__all__ = ["expected", "key"]  # fixtures


class Killed(BaseException):
    """What a kill is to a test."""


def batch(
    server: LlmServer, folder: Path, stop: int | None = None, budget: float | None = None, **changes: Any
) -> Pass:
    """What `--batch` does, with short pauses; killed at the `stop`-th look at a batch."""
    looks = 0

    def watch(status: object) -> None:
        nonlocal looks
        looks += 1
        if looks == stop:
            raise Killed

    async def run() -> Pass:
        endpoint = Endpoint(WritingOptions(endpoint=server.url))
        spending = Spending(Price(100, 1000, 0.5) if budget else None, budget, batch=True)
        store = AnswerStore(folder / "answers.sqlite")
        try:
            expression = examples(folder, **changes).expression
            assert isinstance(expression, WrittenExpression)
            return await BatchWriter(endpoint, store, "m", spending, watch, seconds=0.01).write(expression.units)
        finally:
            await endpoint.close()
            store.close()

    return asyncio.run(run())


def test_a_batch_writes_the_same(tmp_path: Path, expected: str) -> None:
    with llm_server() as server:
        server.polls = 3
        batch(server, tmp_path)
        assert len(server.batches) == 2  # needles and haystack, then what follows from the needles
        assert all(set(body) == {"model", "messages", "max_tokens"} for body in server.log)
        assert len(server.log) == len(AnswerStore(tmp_path / "answers.sqlite")) == 24
    assert written(examples(tmp_path)) == expected


@pytest.mark.parametrize("stop", [2, 4, 9, 20])
def test_a_batch_that_was_handed_in_is_found_again(stop: int, tmp_path: Path, expected: str) -> None:
    with llm_server() as server:
        server.polls = 3
        with pytest.raises(Killed):
            batch(server, tmp_path, stop)
        batch(server, tmp_path)
        sent = [json.dumps(body["messages"]) for body in server.log]
        assert len(sent) == len(set(sent)) == 24
    assert written(examples(tmp_path)) == expected


def test_a_kill_between_a_batch_and_its_note_hands_nothing_in_twice(tmp_path: Path, expected: str) -> None:
    with llm_server() as server:
        with pytest.raises(Killed):
            batch(server, tmp_path, 2)
        store = AnswerStore(tmp_path / "answers.sqlite")
        ((file, name),) = store.batches(server.url)
        assert name == "batch-0"
        store._connection.execute("UPDATE batched SET batch = NULL")  # as if it had not been noted yet
        batch(server, tmp_path)
        assert [made["input_file_id"] for made in server.batches.values()].count(file) == 1
    assert written(examples(tmp_path)) == expected
    assert not store.batches(server.url)


def test_lines_without_an_answer_are_handed_in_again(tmp_path: Path, expected: str) -> None:
    with llm_server(once(Reply({"error": {"message": "busy"}}, 500))) as server:
        batch(server, tmp_path)
        assert len(server.batches) > 2
    assert written(examples(tmp_path)) == expected


def test_a_batch_without_any_answer_ends_in_one_clear_error(tmp_path: Path) -> None:
    busy = Reply({"error": {"message": "busy"}}, 503)
    with (
        llm_server(lambda number, body: busy) as server,
        pytest.raises(WriterError, match=r"ended as completed without .*busy"),
    ):
        batch(server, tmp_path)


def test_a_batch_keeps_the_budget(tmp_path: Path) -> None:
    with llm_server() as server:
        with pytest.raises(
            WriterError, match=r"--budget-usd 0\.6: 0\.\d+ are spent, and the next answer may cost 0\.5"
        ):
            batch(server, tmp_path, budget=0.6, variant="llm_padding")
        assert 1 < len(server.log) < 10  # each may cost half a dollar, and costs 3 cents
        assert len(AnswerStore(tmp_path / "answers.sqlite")) == len(server.log)


def test_an_endpoint_without_batches_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with llm_server() as server:
        monkeypatch.setattr(server, "_batch_reply", lambda *_: Reply({"error": {"message": "what?"}}, 404))
        with pytest.raises(WriterError, match=r"expected an endpoint with the Batch API: .*; or leave out --batch"):
            by(examples(tmp_path), WritingOptions(endpoint=server.url, batch=True))


def test_gibberish_ends_a_batch(tmp_path: Path) -> None:
    with llm_server(lambda number, body: Reply(completion("mumble"))) as server:
        with pytest.raises(WriterError, match=r"\d+ answers of m in a row cannot be used"):
            batch(server, tmp_path, train=40)
        assert len(server.batches) == 1


def test_lines_that_are_no_answers_are_passed_over(tmp_path: Path, expected: str) -> None:
    with llm_server() as server:
        server.odd_lines = ['{"custom_id": ', "null", "[1]", '{"custom_id": ["a"]}', '{"custom_id": "foreign"}', ""]
        batch(server, tmp_path)
        assert len(server.batches) == 2
    assert written(examples(tmp_path)) == expected


def test_a_batch_that_was_made_without_our_hearing_of_it_is_not_made_again(tmp_path: Path, expected: str) -> None:
    with llm_server() as server:
        server.deaf = 1
        batch(server, tmp_path)
        assert len(server.batches) == len({made["input_file_id"] for made in server.batches.values()}) == 2
    assert written(examples(tmp_path)) == expected


def test_a_filtered_request_is_drawn_anew(tmp_path: Path) -> None:
    def behave(number: int, body: dict[str, Any]) -> Reply:
        return Reply({"error": {"code": "content_filter"}}, 400) if number == 3 else well(number, body)

    with llm_server(behave) as server:
        assert batch(server, tmp_path).editor.rejected == {"empty": 1}


def test_a_batch_that_the_endpoint_lost_is_handed_in_anew(tmp_path: Path, expected: str) -> None:
    with llm_server() as server:
        server.polls = 3
        with pytest.raises(Killed):
            batch(server, tmp_path, 2)
        with pytest.raises(WriterError, match=r"was handed in with batch-0, .* add --batch"):
            by(examples(tmp_path), WritingOptions(endpoint=server.url))
        server.batches.clear()
        with pytest.raises(WriterError, match=r"knows nothing of batch-0 any more; call again"):
            batch(server, tmp_path)
        batch(server, tmp_path)
    assert written(examples(tmp_path)) == expected


def test_one_process_at_a_time_waits_for_batches(tmp_path: Path) -> None:
    with llm_server() as server, FileLock(tmp_path / "answers.sqlite.batch.lock"):
        with pytest.raises(WriterError, match="another process waits for batches"):
            batch(server, tmp_path)
        assert not server.files


def test_no_call_of_a_batch_tells_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with llm_server() as server:
        monkeypatch.setattr(server, "_batch_reply", lambda *_: Reply({"error": {"message": f"no {KEY}"}}, 403))
        with pytest.raises(WriterError, match=r"no \*\*\*"):
            batch(server, tmp_path)
