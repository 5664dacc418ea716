"""A language model writes: through a server that really misbehaves, through kills, within limits, and without telling the key."""

import asyncio
import contextlib
import json
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders import TASKS
from builders.examples import Examples
from builders.writing.endpoint import Endpoint
from builders.writing.options import WritingOptions
from builders.writing.prices import Spending
from builders.writing.requests import Pass
from builders.writing.run import estimate_writing, write_missing
from builders.writing.store import AnswerStore, Request, export, exported
from builders.writing.writer import Status, Writer
from builders.writing.written import WrittenExpression
from synthctx_data.checks import Checker
from synthctx_data.errors import DatasetError, UsageError, WriterError
from synthctx_data.options import Options
from synthctx_data.row_checks import Expected
from synthctx_data.schema import to_table
from tests.commands import process, started, synthctx, wait_until
from tests.conftest import every_example
from tests.llm_server import Behaviour, LlmServer, Reply, completion, llm_server, well
from tests.llm_server import write as written_by_server
from tests.tiny import served as serve_tiny
from training.tiny import make_tiny

KEY = "sk-a-key-that-nobody-may-see"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def examples(folder: Path, task: str = "mdqa_synth", variant: str = "llm_haystack", **changes: Any) -> Examples:
    options = {"max_tokens": 1024, "train": 8, "validation": 2, "model": "m", "store": str(folder / "answers.sqlite")}
    return Examples(TASKS[task], variant, Options(**{**options, **changes}))


def have_written(server: LlmServer, one: Examples, **changes: Any) -> tuple[Pass, Status]:
    return by(one, WritingOptions(endpoint=server.url, **{"concurrency": 4, **changes}))


def by(
    one: Examples, options: WritingOptions, watch: Callable[[Status], None] = lambda status: None
) -> tuple[Pass, Status]:
    return write_missing(one, options, options.spending("m"), watch)


def written(one: Examples) -> str:
    assert isinstance(one.expression, WrittenExpression)
    return one.expression.results.identity


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is written if nothing goes wrong."""
    folder = tmp_path_factory.mktemp("expected")
    with llm_server() as server:
        have_written(server, examples(folder))
    return written(examples(folder))


@pytest.mark.parametrize("task", TASKS)
def test_what_is_written_is_fit_and_belongs_to_the_seed(task: str, tmp_path: Path) -> None:
    made = []
    with llm_server() as server:
        for seed in (0, 1):
            one = examples(tmp_path, task, seed=seed, train=30, validation=4, max_tokens=2048)
            last, _ = have_written(server, one)
            rows = to_table(every_example(one)).to_pylist()
            checker = Checker(Expected(2048, (), one.layout.counter))
            for row in rows:
                checker.add(row["id"].split("/")[2], row)
            assert checker.report().ok, dict(checker.report().faults)
            assert {row["writer"] for row in rows} == {"served"}
            assert last.editor.accepted["needle"] == 34
            made.append({row["prompt"][0]["content"] for row in rows})
    assert not made[0] & made[1]


def test_neither_the_order_of_answers_nor_the_concurrency_decides_a_row(tmp_path: Path, expected: str) -> None:
    delays = random.Random(3)
    with llm_server(lambda number, body: replace(well(number, body), seconds=delays.uniform(0, 0.05))) as server:
        for concurrency in (1, 7, 64):
            one = examples(tmp_path / str(concurrency))
            have_written(server, one, concurrency=concurrency)
            assert written(one) == expected


def test_as_many_requests_are_under_way_as_the_concurrency_says(tmp_path: Path) -> None:
    """All but the first, which goes alone, are held until there are so many."""

    def behave(number: int, body: dict[str, Any]) -> Reply:
        if server.at_once == 8:
            server.let_go.set()
        return replace(well(number, body), held=number > 0)

    with llm_server(behave) as server:
        have_written(server, examples(tmp_path), concurrency=8)
        assert server.most_at_once == 8


def once(problem: Reply, every: int = 4) -> Behaviour:
    """AnswerLookup well, but every so many requests with this; a request that is sent again is answered well."""
    seen: Counter[str] = Counter()

    def behave(number: int, body: dict[str, Any]) -> Reply:
        seen[json.dumps(body["messages"])] += 1
        bad = number % every == 1 and seen[json.dumps(body["messages"])] == 1
        return problem if bad else well(number, body)

    return behave


TRANSPORT = {
    "429": Reply({"error": {"message": "slow down"}}, 429, {"Retry-After": "0.1"}),
    "503 with a date": Reply({"error": {"message": "later"}}, 503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "500": Reply({"error": {"message": "oops"}}, 500),
    "no JSON": Reply(b"<html>gateway</html>"),
    "half of a JSON": Reply(b'{"choices": ['),
    "another JSON": Reply([1, 2, 3]),
    "an error that says 200": Reply({"error": {"message": "busy", "code": 429}}),
    "no choices at all": Reply({"id": "x"}),
    "cut": Reply(cut=True),
    "slow": Reply(completion("too late"), held=True),
}


SELDOM = ("slow", "503 with a date", "500", "half of a JSON", "another JSON", "no choices at all")


@pytest.mark.parametrize(
    "problem", [pytest.param(one, marks=pytest.mark.slow if one in SELDOM else ()) for one in TRANSPORT]
)
def test_what_fails_on_the_way_is_sent_again(problem: str, tmp_path: Path, expected: str) -> None:
    with llm_server(once(TRANSPORT[problem])) as server:
        one = examples(tmp_path)
        last, status = have_written(server, one, timeout=1.5 if problem == "slow" else 600)
    assert written(one) == expected
    assert not last.editor.rejected
    assert len(server.log) > status.answered == len(AnswerStore(tmp_path / "answers.sqlite"))


CONTENT = {
    "cut off": (completion('{"title": "T', "length"), "cut off"),
    "half a character": (completion("\ud800 { no"), "not JSON"),
    "many braces": (completion("{" * 100_000 + "}"), "cut off"),
    "no choices": (completion("x", choices=[]), "empty"),
    "choices of another kind": (completion("x", choices=["yes"]), "empty"),
    "no content": (completion(None), "empty"),
    "prose": (completion("I would rather not."), "not JSON"),
    "broken JSON": (completion('{"title": "T", }'), "not JSON"),
    "another form": (completion('{"title": "T"}'), "other JSON"),
    "deep": (completion('{"a":' * 5000 + "1" + "}" * 5000), "not JSON"),
    "lone surrogate": (
        completion('{"title": "\\ud800", "passage": "p", "question": "q", "answer": "a"}'),
        "other JSON",
    ),
    "empty passage": (completion('{"title": "T", "passage": "", "question": "Q?", "answer": "a"}'), "other length"),
}


@pytest.mark.parametrize("problem", CONTENT)
def test_what_cannot_be_used_is_asked_for_again_with_the_reason(problem: str, tmp_path: Path) -> None:
    body, kind = CONTENT[problem]
    with llm_server(once(Reply(body), every=5)) as server:
        one = examples(tmp_path, variant="llm_padding")
        last, status = have_written(server, one)
    assert set(last.editor.rejected) == {kind}
    assert status.answered == 10 + last.editor.rejected.total() == len(server.log)
    again = [body["messages"] for body in server.log if len(body["messages"]) > 2]
    assert len(again) == last.editor.rejected.total() > 0
    assert all(
        "That cannot be used: " in messages[3]["content"] and "attempt 2 of 3" in messages[3]["content"]
        for messages in again
    )
    assert len(every_example(one)) == 10


def test_what_stands_around_the_json_and_odd_characters_in_it_do_no_harm(tmp_path: Path) -> None:
    def behave(number: int, body: dict[str, Any]) -> Reply:
        text = re.sub(r'("passage": "\S+) ', r"\1\\u2028 \\u00a0\\u0000\\u200b", written_by_server(body))
        return Reply(completion(f"Here you are:\n```json\n{text}\n```\nAnything else?\u2029"))

    with llm_server(behave) as server:
        one = examples(tmp_path)
        have_written(server, one)
    for example in every_example(one):
        assert not set(example.prompt) & set("\u2028\u2029\u00a0\x00\u200b")


def test_copies_are_refused_whoever_came_first(tmp_path: Path) -> None:
    """Two units get the same passage: the later one is asked again, even if its answer came first."""
    passages: list[str] = []

    def behave(number: int, body: dict[str, Any]) -> Reply:
        written = json.loads(written_by_server(body))
        if "passage" in written and len(body["messages"]) == 2:
            (name,) = re.findall(r"It is about (.+?) \(", body["messages"][1]["content"])
            passages.append(written["passage"])
            common = " ".join(f"word{i}" for i in range(50))
            written["passage"] = f"{name} {written['answer']} {common}"
        return Reply(completion(json.dumps(written)), seconds=0.2 if number < 2 else 0)

    with llm_server(behave) as server:
        one = examples(tmp_path)
        last, _ = have_written(server, one)
        assert last.editor.rejected == {"copies another": 9}
        texts = [written.form.passage for written in one.expression.written.examples["validation"]]
        assert ["word1 " in text for text in texts] == [True, False]
        assert not any("word1 " in written.form.passage for written in one.expression.written.examples["train"])


def test_a_server_that_writes_nothing_usable_ends_in_a_summary(tmp_path: Path) -> None:
    with llm_server(lambda number, body: Reply(completion("mumble mumble"))) as server:
        with pytest.raises(
            WriterError,
            match=r"\d+ answers of m in a row cannot be used \(of all so far: \d+ not JSON\).* another --model, or",
        ):
            have_written(server, examples(tmp_path, train=200))
        assert 30 <= len(server.log) < 45
        with pytest.raises(
            WriterError, match=r"could not be written.* mdqa_synth/train/000000: it holds no JSON.*18 not JSON"
        ):
            have_written(server, examples(tmp_path, train=2, validation=0, variant="llm_padding", seed=5))


def test_a_row_is_drawn_anew_where_its_draw_cannot_be_written(tmp_path: Path) -> None:
    """Every attempt at the first draw of one row fails; its second draw is another brief on the same subject."""
    prompts: list[str] = []

    def behave(number: int, body: dict[str, Any]) -> Reply:
        prompt = body["messages"][1]["content"]
        prompts.append(prompt)
        return Reply(completion("no")) if prompt == prompts[0] else well(number, body)

    with llm_server(behave) as server:
        last, _ = have_written(server, examples(tmp_path, variant="llm_padding"))
    assert last.editor.rejected == {"not JSON": 3}
    (subject,) = re.findall(r"It is about (.+?) \(", prompts[0])
    assert len({prompt for prompt in prompts if f"It is about {subject} (" in prompt}) == 2


@pytest.mark.parametrize("status", [400, 500])
def test_structured_output_is_asked_for_where_the_server_has_it(status: int, tmp_path: Path, expected: str) -> None:
    def refuse(number: int, body: dict[str, Any]) -> Reply:
        return Reply({"error": "no"}, status) if "response_format" in body else well(number, body)

    with llm_server() as server:
        have_written(server, examples(tmp_path / "has"))
        assert all(body["response_format"]["json_schema"]["strict"] for body in server.log)
        assert all(set(body) == {"model", "messages", "max_tokens", "response_format"} for body in server.log)
    with llm_server(refuse) as server:
        have_written(server, examples(tmp_path / "has not"))
        assert ["response_format" in body for body in server.log] == [True] + [False] * (len(server.log) - 1)
    assert written(examples(tmp_path / "has")) == written(examples(tmp_path / "has not")) == expected


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            Reply({"error": {"message": f"wrong key {KEY}"}}, 401),
            r"the key is refused \(AuthenticationError: .*\*\*\*.*OPENAI_API_KEY",
        ),
        (Reply({"error": {"message": "no such model"}}, 404), r"gives no answer \(NotFoundError: .*no such model"),
        (Reply({"error": {"message": "pay", "code": "insufficient_quota"}}, 429), r"RateLimitError: .*pay"),
        (Reply({"error": {"message": "tomorrow"}}, 429, {"Retry-After": "86400"}), r"it asks to wait 86400 seconds"),
        (Reply({"error": {"message": "always"}}, 500), r"gives no answer \(InternalServerError"),
        (Reply(b"x" * 57 + KEY.encode(), headers={"Content-Type": "text/plain"}), r"got 'x+\*\*\*'"),
        (Reply({"error": {"message": "bad"}}, 400), r"gives no answer \(BadRequestError"),
        (Reply(cut=True), r"cannot be reached \(APIConnectionError"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_found_out_by_one_request(
    reply: Reply, message: str, tmp_path: Path
) -> None:
    with llm_server(lambda number, body: reply) as server:
        with pytest.raises(WriterError, match=message) as caught:
            have_written(server, examples(tmp_path))
        assert len({json.dumps(body["messages"]) for body in server.log}) == 1
    assert KEY[:10] not in str(caught.value)


def test_a_refusal_is_kept_only_if_it_is_of_one_request(tmp_path: Path) -> None:
    def filtered(number: int, body: dict[str, Any]) -> Reply:
        return (
            Reply({"error": {"message": "no", "code": "content_filter"}}, 400)
            if number % 5 == 0
            else well(number, body)
        )

    def broke(number: int, body: dict[str, Any]) -> Reply:
        return well(number, body) if number < 5 else Reply({"error": {"message": "your credit is too low"}}, 400)

    with llm_server(filtered) as server:
        last, _ = have_written(server, examples(tmp_path / "filtered", variant="llm_padding"))
        assert last.editor.rejected["empty"] >= 2
    with llm_server(broke) as server:
        with pytest.raises(WriterError, match="your credit is too low"):
            have_written(server, examples(tmp_path / "broke", variant="llm_padding"))
        assert len(AnswerStore(tmp_path / "broke" / "answers.sqlite")) == 5
        server.behave = well
        have_written(server, examples(tmp_path / "broke", variant="llm_padding"))


def test_odd_counts_of_tokens_are_counted_here(tmp_path: Path) -> None:
    counts = [
        {"prompt_tokens": -10, "completion_tokens": True},
        {"prompt_tokens": 10**30},
        None,
        {"prompt_tokens": "9"},
        [1],
    ]
    with llm_server(
        lambda number, body: Reply(completion(written_by_server(body), usage=counts[number % 5]))
    ) as server:
        have_written(server, examples(tmp_path, variant="llm_padding"))
    for answer in AnswerStore(tmp_path / "answers.sqlite"):
        assert 200 < answer.prompt_tokens < 1000
        assert 50 < answer.completion_tokens < 1000


def test_an_answer_that_cannot_be_kept_ends_the_writer(tmp_path: Path) -> None:
    """The disk is full, as far as the store is concerned: nothing is asked for again and again."""

    async def run(url: str) -> None:
        endpoint, spending = Endpoint(WritingOptions(endpoint=url)), Spending(None)
        store = AnswerStore(tmp_path / "answers.sqlite")
        store._connection.execute("PRAGMA max_page_count = 12")
        one = examples(tmp_path).expression
        try:
            await Writer(endpoint, store, "m", 4, spending, lambda status: None).write(one.units)
        finally:
            await endpoint.close()

    with llm_server() as server:
        with pytest.raises(DatasetError, match="database or disk is full"):
            asyncio.run(run(server.url))
        assert len(server.log) < 30


@pytest.mark.parametrize("waits", ["a pause", "a limit"])
def test_ctrl_c_does_not_wait_for_what_was_not_sent(waits: str, tmp_path: Path) -> None:
    """Each of them would be sent ten minutes later."""

    def behave(number: int, body: dict[str, Any]) -> Reply:
        return (
            Reply({"error": "wait"}, 429, {"Retry-After": "600"})
            if number == 5 and waits == "a pause"
            else well(number, body)
        )

    asked, limit = (6, ()) if waits == "a pause" else (1, ("--requests-per-minute", "0.1"))
    with llm_server(behave) as server, writing(tmp_path, server.url, *limit) as running:
        wait_until(lambda: len(server.log) >= asked and server.at_once == 0, running)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=599)
        assert running.returncode == 130
        assert "interrupted; every answer that came is kept" in said
        assert len(server.log) <= asked + 16  # those under way


def test_two_variants_share_a_budget(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("m: {input: 1000, output: 1000}\n")
    with llm_server() as server:
        both = command(tmp_path, server.url, "llm_padding", "--prices", prices, "--budget-usd", 5)
        assert "--budget-usd 5.0" in synthctx(*both, cwd=tmp_path).stderr
        assert 0 < sum(150 for _ in server.log) / 1000 <= 5.0  # each answer has 150 tokens


def test_a_pause_holds_for_all_requests(tmp_path: Path) -> None:
    came: list[float] = []

    def behave(number: int, body: dict[str, Any]) -> Reply:
        came.append(time.monotonic())
        return Reply({"error": "slow down"}, 429, {"Retry-After": "1"}) if number == 5 else well(number, body)

    with llm_server(behave) as server:
        have_written(server, examples(tmp_path, train=40), concurrency=2)
    after = [moment - came[5] for moment in came[6:]]
    assert sum(wait < 0.95 for wait in after) <= 2  # what was on its way
    assert len(after) > 50


def test_limits_are_kept(tmp_path: Path) -> None:
    came: list[float] = []

    def behave(number: int, body: dict[str, Any]) -> Reply:
        came.append(time.monotonic())
        return well(number, body)

    with llm_server(behave) as server:
        have_written(server, examples(tmp_path / "r", variant="llm_padding"), requests_per_minute=1200)
        assert came[-1] - came[0] >= 9 * 0.05 - 0.02
        came.clear()
        have_written(server, examples(tmp_path / "t", variant="llm_padding"), tokens_per_minute=60_000 * 20)
        assert came[-1] - came[0] >= 9 * 1400 / 20_000 - 0.02  # each request may come to 1,400 tokens and more


def test_a_budget_is_never_passed_and_what_was_paid_for_is_kept(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("m: {input: 100, output: 1000}\n")
    long = {"prompt_tokens": 500, "completion_tokens": 1000}  # nearly the most that a needle may have
    with llm_server(lambda number, body: Reply(completion(written_by_server(body), usage=long))) as server:
        one = examples(tmp_path, variant="llm_padding", train=20)
        options = WritingOptions(endpoint=server.url, concurrency=8, prices=prices, budget_usd=6.0)
        spent: list[float] = []
        with pytest.raises(
            WriterError, match=r"--budget-usd 6.0: 5.25\d* are spent, and the next answer may cost 1\.\d*; what was"
        ):
            by(one, options, lambda status: spent.append(status.spending.spent))
        assert max(spent) == pytest.approx(5.25)
        assert len(server.log) == len(AnswerStore(tmp_path / "answers.sqlite")) == 5
        by(one, options.model_copy(update={"budget_usd": 100.0}))
        assert len(server.log) == 22
    with pytest.raises(UsageError, match=r"--budget-usd: expected a price for 'm'; give --prices"):
        by(one, WritingOptions(budget_usd=1.0))


def test_an_estimate_is_what_is_then_sent(tmp_path: Path) -> None:
    both = [examples(tmp_path, variant=variant) for variant in ("llm_haystack", "llm_padding")]
    foreseen = estimate_writing(both)
    with llm_server() as server:
        for one in both:
            have_written(server, one)
        assert foreseen.requests.total() == len(server.log)
    assert foreseen.requests == {"pool/pool": 4, "mdqa_synth/needle": 10, "mdqa_synth/distractors": 10}
    assert not estimate_writing(both).requests


def test_an_export_builds_the_same_rows_without_a_network(tmp_path: Path) -> None:
    with llm_server(once(Reply(completion("no")))) as server:
        one = examples(tmp_path / "here")
        have_written(server, one)
    export(AnswerStore(tmp_path / "here" / "answers.sqlite"), tmp_path / "answers.jsonl")
    AnswerStore(tmp_path / "there" / "answers.sqlite").keep_all(exported(tmp_path / "answers.jsonl"))
    there = examples(tmp_path / "there")
    assert every_example(there) == every_example(one)
    assert there.description() == one.description()
    assert one.description()["rejected_answers"]["not JSON"] > 0


def test_a_changed_check_judges_stored_answers_and_asks_for_no_more_than_it_must(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with llm_server() as server:
        have_written(server, examples(tmp_path, variant="llm_padding"))
        before = len(server.log)
        have_written(server, examples(tmp_path, variant="llm_padding"))
        assert len(server.log) == before
        monkeypatch.setattr("builders.writing.checks._ANSWER_WORDS", 0)
        with pytest.raises(WriterError, match="other answer"):
            have_written(server, examples(tmp_path, variant="llm_padding", train=1, validation=0))
        asked = server.log[before:]
        assert all("That cannot be used: the answer must have" in body["messages"][3]["content"] for body in asked[:2])
        monkeypatch.undo()
        have_written(server, examples(tmp_path, variant="llm_padding"))
        assert len(server.log) == before + len(asked)


def test_more_examples_leave_the_first_as_they_are_and_ask_only_for_the_rest(tmp_path: Path) -> None:
    with llm_server(once(Reply(completion("no")))) as server:
        few, many = examples(tmp_path), examples(tmp_path, train=20)
        have_written(server, few)
        have_written(server, many)
        assert len(server.log) == len(AnswerStore(tmp_path / "answers.sqlite"))
    assert every_example(few)[:8] == every_example(many)[:8]
    assert every_example(few)[-2:] == every_example(many)[-2:]


def command(folder: Path, url: str, *arguments: object, train: int = 8) -> list[object]:
    """The command line with what `examples` has for its options."""
    sizes = ("--max-tokens", 1024, "--train", train, "--validation", 2, "--workers", 1)
    asked = ("--model", "m", "--endpoint", url, "--store", folder / "answers.sqlite")
    return ["build", "mdqa_synth", "llm_haystack", *sizes, *asked, *arguments]


def writing(
    folder: Path, url: str, *arguments: object, cwd: Path | None = None, train: int = 8
) -> contextlib.AbstractContextManager["subprocess.Popen[str]"]:
    """The command, running."""
    (cwd or folder).mkdir(parents=True, exist_ok=True)
    return started("-m", "builders", *command(folder, url, *arguments, train=train), cwd=cwd or folder)


def test_the_second_of_two_builds_into_one_folder_pays_for_nothing(tmp_path: Path) -> None:
    with llm_server(lambda number, body: replace(well(number, body), seconds=0.02)) as server:
        with writing(tmp_path, server.url, cwd=tmp_path) as one:
            wait_until(lambda: server.log, one)
            with writing(tmp_path, server.url, cwd=tmp_path) as other:
                said = other.communicate()[1]
            one.communicate()
        assert (one.returncode, other.returncode) == (0, 1)
        assert "another process is building" in said
        requests = [json.dumps(body["messages"]) for body in server.log]
        assert len(requests) == len(set(requests))


@pytest.mark.slow
def test_two_builds_share_a_store(tmp_path: Path, expected: str) -> None:
    with (
        llm_server(lambda number, body: replace(well(number, body), seconds=0.02)) as server,
        writing(tmp_path, server.url, cwd=tmp_path / "one") as one,
        writing(tmp_path, server.url, cwd=tmp_path / "other") as other,
    ):
        said = [running.communicate() for running in (one, other)]
    assert all("10 examples" in out for out, _ in said), said
    requests = [json.dumps(body["messages"]) for body in server.log]
    assert len(requests) == len(set(requests)), "two builds paid for one request"
    rows = [
        (tmp_path / name / "synthctx/mdqa_synth/llm_haystack/train-00000-of-00001.parquet").read_bytes()
        for name in ("one", "other")
    ]
    assert rows[0] == rows[1]
    assert written(examples(tmp_path)) == expected
    assert len(AnswerStore(tmp_path / "answers.sqlite")) == 24


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_no_kill_makes_a_stored_answer_be_asked_for_again(kills: int, tmp_path: Path) -> None:
    moments = random.Random(7)
    file, train = tmp_path / "answers.sqlite", 15 * max(kills, 3)
    resent: list[str] = []

    def key_of(body: dict[str, Any]) -> set[str]:
        asked = {name: value for name, value in body.items() if name != "response_format"}
        return {Request(asked, template).key for template in templates}

    templates = {draft.request.template for draft in drafts(examples(tmp_path / "none"))} | {
        draft.request.template for draft in drafts(examples(tmp_path / "none", variant="llm_padding"))
    }
    with llm_server(lambda number, body: replace(well(number, body), seconds=moments.uniform(0, 0.1))) as server:
        for _ in range(kills):
            stored = {answer.key for answer in AnswerStore(file)} if file.exists() else set()
            sent = len(server.log)
            until = sent + (40 if kills == 1 else moments.randint(1, 40))
            with writing(tmp_path, server.url, "--concurrency", 8, train=train) as running:
                wait_until(lambda: len(server.log) >= until, running)
                running.kill()
            resent += [key for body in server.log[sent:] for key in key_of(body) & stored]
        stored = {answer.key for answer in AnswerStore(file)}
        sent = len(server.log)
        with writing(tmp_path, server.url, "--concurrency", 8, train=train) as running:
            assert f"{train + 2} examples" in running.communicate()[0]
        resent += [key for body in server.log[sent:] for key in key_of(body) & stored]
    assert len(stored) > 30
    assert resent == []


def drafts(one: Examples) -> list[Any]:
    """The units, each at the first request that has no answer."""
    from builders.writing.requests import Editor

    editor = Editor("m")
    return list(Pass(editor, {}).drafts(one.expression.units()))


def test_ctrl_c_keeps_what_is_under_way(tmp_path: Path) -> None:
    with (
        llm_server(lambda number, body: replace(well(number, body), held=number > 5)) as server,
        writing(tmp_path, server.url, "--concurrency", 8, train=50) as running,
    ):
        wait_until(lambda: len(server.log) == 14, running)  # 6 that were answered, and 8 that are held
        running.send_signal(signal.SIGINT)
        server.let_go.set()
        _, said = running.communicate()
        assert running.returncode == 130
        assert "interrupted; every answer that came is kept" in said
        assert len(AnswerStore(tmp_path / "answers.sqlite")) == len(server.log) < 25


@pytest.mark.parametrize("echo", ["content", "error"])
def test_the_key_is_never_told(echo: str, tmp_path: Path) -> None:
    def behave(number: int, body: dict[str, Any]) -> Reply:
        if echo == "error" and number > 3:
            return Reply({"error": {"message": f"you said {KEY}"}}, 403)
        written = json.loads(written_by_server(body))
        if "question" in written:
            written["question"] = f"{KEY} {written['question']}"
        return Reply(completion(json.dumps(written), model=f"served for {KEY}"))

    with llm_server(behave) as server:
        ran = process("-m", "builders", *command(tmp_path, server.url, "--concurrency", 2), cwd=tmp_path)
        assert all(KEY in head for head in server.headers)
    said = ran.stdout + ran.stderr
    assert (ran.returncode == 0) == (echo == "content"), said
    assert "***" in said or echo == "content"
    assert KEY not in said
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file
    if echo == "content":
        import pyarrow.parquet as pq

        (file,) = tmp_path.glob("synthctx/mdqa_synth/llm_haystack/train-*.parquet")
        assert KEY not in str(pq.read_table(file).to_pylist())


ADDRESSES = [
    "http://me:hunter2@127.0.0.1:1/v1",
    "http://127.0.0.1:1/v1?key=hunter2",
    "hunter2@host",
    "localhost:8000/v1",
]


@pytest.mark.parametrize("url", ADDRESSES)
def test_an_address_that_holds_a_secret_or_is_none_is_refused(url: str, tmp_path: Path) -> None:
    ran = synthctx(*command(tmp_path, url), cwd=tmp_path)
    said = ran.stdout + ran.stderr
    assert "--endpoint: expected an address" in said
    assert "hunter2" not in said


def test_a_key_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-of-the-file\n")
    with llm_server() as server:
        have_written(server, examples(tmp_path), api_key_file=file)
        assert all("Bearer sk-of-the-file\r\n" in head for head in server.headers)
    file.write_text("one\ntwo")
    with pytest.raises(UsageError, match=r"--api-key-file .*key: expected one key, on one line, in ASCII"):
        have_written(server, examples(tmp_path / "other"), api_key_file=file)


@pytest.mark.slow
def test_the_gibberish_of_a_real_server_ends_in_a_summary(tmp_path: Path) -> None:
    """transformers' own server, with a tiny model: it can copy, and has never learned to have_written."""
    model = str(make_tiny(tmp_path / "tiny", max_position_embeddings=4096))
    with serve_tiny(tmp_path) as url:
        options = ("--max-tokens", 1024, "--train", 1, "--validation", 0, "--pool-size", 0, "--concurrency", 4)
        asked = ("--model", model, "--endpoint", url, "--store", tmp_path / "answers.sqlite")
        ran = process("-m", "builders", "build", "mdqa_synth", "llm_haystack", *options, *asked, cwd=tmp_path)
    assert ran.returncode == 1
    *before, last = said = ran.stderr.splitlines()
    assert re.match(
        r"synthctx: these examples could not be written, .* mdqa_synth/train/000000: .* 9 (not JSON|cut off)", last
    ), said
    assert all(line.startswith("mdqa_synth llm_haystack: 0 of 1 done, ") for line in before), said
    stored = list(AnswerStore(tmp_path / "answers.sqlite"))
    assert len(stored) == 9
    assert all(answer.prompt_tokens > 100 and answer.endpoint == url for answer in stored)
