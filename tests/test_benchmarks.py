"""Benchmarks of others: their files are read as they publish them, and predictions are scored as they score them."""

import gzip
import http.server
import json
import resource
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthctx_data.errors import DatasetError, SynthctxError, UsageError
from synthctx_data.row_checks import documents_of
from synthctx_data.tokens import BUNDLED
from tests.commands import process
from tests.hub import Blob, Repo, environment, hub_server
from tests.tiny import make_tiny
from training.answer_scores import tokens
from training.benchmarks.catalog import Benchmark, benchmark_in, read_prompts
from training.benchmarks.nolima import _Book
from training.evaluate import evaluate
from training.options import BENCHMARKS, EvaluateOptions
from training.predictions import read_predictions
from training.turns import load_tokenizer, prompt_ids, render_prompt

RULER = {
    "index": 0,
    "input": "A special magic number is hidden within the following text. Six of them: clove 7, mint 9. What is it for clove?",
    "outputs": ["7", "9"],
    "length": 900,
    "answer_prefix": " The special magic number for clove is",
}
BABILONG = {"input": "Mary went to the office.", "question": "Where is Mary?", "target": "office"}
LONGBENCH = {
    "dataset": "hotpotqa",
    "context": "Ada was born in {input}.",
    "input": "Where was Ada born?",
    "answers": ["London", "the city"],
}
HELMET_RAG = {
    "question": "Who?",
    "answers": ["Ada Lovelace"],
    "ctxs": [{"title": "Ada", "text": "Ada Lovelace wrote."}],
}
HELMET_KV = {"question": "k1", "context": '{"k1": "v1"}', "answer": "v1", "num_kvs": 1}
CHAT = [
    {"role": "user", "content": "Write a poem"},
    {"role": "assistant", "content": "Roses"},
    {"role": "user", "content": "Prepend Xy to it"},
]
MRCR = {"prompt": json.dumps(CHAT), "answer": "XyRoses", "random_string_to_prepend": "Xy", "n_needles": 2}
NOLIMA = {
    "id": "0401",
    "needle": "Actually, {CHAR} lives next to the {1}.",
    "questions": {"onehop": "Which character has been to {2}?"},
    "tests": {"T1": {"input_args": ["Semper Opera", "Dresden"]}},
    "character_set": ["Yuki", "Stuart", "Caleb"],
}


def write(place: Path, *entries: dict) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return place


def only(name: str, file: Path, **prompts: str) -> dict:
    return Benchmark(name, str(file)).rows(prompts)[0]


@pytest.mark.parametrize(
    ("name", "file", "entry", "scores"),
    [
        ("ruler", "niah_single_1/validation.jsonl", RULER, {"it is 7": 0.5, "7, 9": 1.0, "8": 0.0, "": 0.0}),
        (
            "ruler",
            "qa_1/validation.jsonl",
            {
                **RULER,
                "input": "Answer the question based on the given documents. Who?",
                "outputs": ["Ada", "the Countess"],
            },
            {"ADA LOVELACE": 1.0, "a countess": 0.0, "It was the countess": 1.0},
        ),
        (
            "babilong",
            "data/qa1/4k.json",
            BABILONG,
            # Only the first sentence counts, and it may name one room alone.
            {"In the Office. Or the garden": 1.0, "office or garden": 0.0, "He left. office": 0.0},
        ),
        (
            "babilong",
            "data/qa8/1k.json",
            {**BABILONG, "question": "What is Mary carrying?", "target": "apple,milk"},
            {"milk and apple": 1.0, "milk": 0.0, "milk, apple, football": 0.0},
        ),
        (
            "babilong",
            "data/qa3/1k.json",
            {**BABILONG, "question": "Where was the apple before the kitchen?", "target": "garden"},
            {"Before the kitchen it was in the garden": 1.0},  # what the question names counts for nothing
        ),
        (
            "longbench",
            "hotpotqa.jsonl",
            LONGBENCH,
            {"London": 1.0, "in London": 2 / 3, "City": 1.0, "": 0.0, "the": 0.0},
        ),
        (
            "longbench",
            "triviaqa.jsonl",
            {**LONGBENCH, "dataset": "triviaqa_e"},
            {"\nLondon\nPassage: and so on": 1.0, "no\nLondon": 0.0},
        ),
        ("helmet", "nq.jsonl", HELMET_RAG, {"I say: ada\nlovelace!": 1.0, "Lovelace": 0.0}),
        ("helmet", "kv.jsonl", HELMET_KV, {"The value is v1": 1.0, "v2": 0.0}),
        ("mrcr", "2needle.jsonl", MRCR, {"XyRoses": 1.0, "Roses": 0.0, "XyRose": 2 * 4 / 9, "Xy": 0.0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_predictions_are_scored_as_the_benchmark_scores_them(
    tmp_path: Path, name: str, file: str, entry: dict, scores: dict[str, float]
) -> None:
    benchmark = Benchmark(name, str(write(tmp_path / file, entry)))
    (row,) = benchmark.rows({})
    assert {said: benchmark.score(row, said)[benchmark.metric] for said in scores} == pytest.approx(scores)


def test_the_same_entries_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    entries = [{**RULER, "index": i} for i in range(3)]
    lines = write(tmp_path / "a.jsonl", *entries)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.read_bytes()))
    (tmp_path / "c.json").write_text(json.dumps(entries))
    (tmp_path / "d.json").write_text(json.dumps({"data": entries}))
    (tmp_path / "e.json").write_text(lines.read_text())
    pq.write_table(pa.Table.from_pylist(entries), tmp_path / "f.parquet")
    (tmp_path / "notes.txt").write_text("not read")
    files = [file for file in sorted(tmp_path.iterdir()) if file.suffix != ".txt"]
    read = [[{**row, "id": ""} for row in Benchmark("ruler", str(file)).rows({})] for file in files]
    assert all(rows == read[0] for rows in read)
    assert len(read[0]) == 3
    together = Benchmark("ruler", str(tmp_path)).rows({}, limit=8)
    assert [row["id"].split(".")[0] for row in together] == [*"abcdef", *"ab"]  # in turn
    assert benchmark_in("ruler:x.jsonl") == Benchmark("ruler", "x.jsonl")
    assert benchmark_in("synthctx/mdqa_synth:real_haystack") is None
    assert all(Benchmark(name, "x").metric for name in BENCHMARKS)


def test_rows_have_what_the_benchmark_says_of_them(tmp_path: Path) -> None:
    row = only("ruler", write(tmp_path / "niah_multikey_2" / "validation.jsonl", RULER))
    assert (row["task"], row["num_tokens"], row["answer_tokens"]) == ("niah_multikey_2", 900, 128)
    assert only("ruler", write(tmp_path / "mine.jsonl", RULER))["task"] == "niah"
    row = only("babilong", write(tmp_path / "qa2" / "16k.json", BABILONG))
    assert (row["task"], row["num_tokens"], row["answer_tokens"]) == ("qa2", 16384, 20)
    row = only("mrcr", write(tmp_path / "m.jsonl", MRCR))
    assert (row["task"], row["prompt"]) == ("2 needles", CHAT)
    row = only("longbench", write(tmp_path / "l.jsonl", LONGBENCH))
    assert "{input}" in row["prompt"][0]["content"]  # the text is left as it is, whatever it holds
    row = only("longbench", tmp_path / "l.jsonl", hotpotqa="{context}|{input}|{other}")
    assert row["prompt"][0]["content"] == "Ada was born in {input}.|Where was Ada born?|{other}"
    long = write(tmp_path / "long.jsonl", RULER, {**RULER, "length": 1800})
    assert len(Benchmark("ruler", str(long)).rows({}, longest=900)) == 1


def test_a_model_goes_on_behind_the_words_that_begin_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = load_tokenizer(str(make_tiny(tmp_path / "tiny")))
    words = sorted(word for word in tokenizer.get_vocab() if word.isalpha() and len(word) > 4)[:40]
    text = f"special magic {' '.join(words[:20])} 7 {' '.join(words[20:])} 9 ."
    rows = [
        {**RULER, "input": text, "outputs": [answer], "answer_prefix": f" {key}"}
        for key, answer in ((words[19], "7"), (words[-1], "9"))
    ]
    rows.append({**rows[0], "outputs": ["8"], "length": 400})
    write(tmp_path / "niah_single_1" / "validation.jsonl", *rows)
    row = Benchmark("ruler", str(tmp_path / "niah_single_1")).rows({})[0]
    assert tokenizer.decode(prompt_ids(tokenizer, row)).endswith(words[19])
    assert len(prompt_ids(tokenizer, row)) > len(prompt_ids(tokenizer, {**row, "prefill": ""}))
    options = EvaluateOptions(model="tiny", data="ruler:niah_single_1", max_new_tokens=1, resamples=20, output="out")
    summary = evaluate(options)
    assert (
        summary["task"]["niah_single_1"]["string_match"].mean
        == summary["all"]["all"]["string_match"].mean
        == pytest.approx(2 / 3)
    )
    assert {tokens: means["string_match"].mean for tokens, means in summary["tokens"].items()} == {
        "512": 0.0,
        "1024": 1.0,
    }
    assert (tmp_path / "out" / "tokens.png").exists()
    kept = (tmp_path / "out" / "predictions.jsonl").read_text()
    evaluate(options)
    assert (tmp_path / "out" / "predictions.jsonl").read_text() == kept
    write(tmp_path / "niah_single_1" / "validation.jsonl", *rows[::-1])
    with pytest.raises(SynthctxError, match="data was"):
        evaluate(options)


def test_files_that_differ_in_little_are_read_and_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "marked.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(RULER).encode())
    assert only("ruler", tmp_path / "marked.jsonl")["answers"] == ["7", "9"]
    for i in range(40):
        write(tmp_path / "many" / f"{i:02}.jsonl", RULER, RULER)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 20, limits[1]))
    try:
        assert len(Benchmark("ruler", "many").rows({}, limit=50)) == 50
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    write(tmp_path / "qa3" / "0k.json", BABILONG)
    monkeypatch.chdir(tmp_path / "qa3")  # the folder that names the task
    (row,) = Benchmark("babilong", "0k.json").rows({})
    assert (row["task"], tokens(row)) == ("qa3", "0")
    row = only("ruler", write(tmp_path / "vt" / "qa_1" / "niah_single_2.jsonl.gz.jsonl", RULER))
    assert (row["task"], row["kind"]) == ("niah_single_2", "niah")
    system = [{"role": "system", "content": "Be brief."}]
    chats = [{**MRCR, "prompt": json.dumps([*system, {"role": "user", "content": asked}])} for asked in ("a", "b")]
    contexts = {documents_of(row) for row in Benchmark("mrcr", str(write(tmp_path / "m.jsonl", *chats))).rows({})}
    assert len(contexts) == 2


def test_a_chat_of_several_turns_is_rendered_whole(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(make_tiny(tmp_path / "tiny")))
    said = render_prompt(tokenizer, only("mrcr", write(tmp_path / "m.jsonl", MRCR)))
    assert [said.find(turn["content"]) for turn in CHAT] == sorted(said.find(turn["content"]) for turn in CHAT)
    assert -1 not in [said.find(turn["content"]) for turn in CHAT]


class Recording(http.server.BaseHTTPRequestHandler):
    """An endpoint that keeps what it is asked."""

    asked: list[dict] = []

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [{"message": {"role": "assistant", "content": "7"}}]}).encode())

    def log_message(self, *arguments: object) -> None:
        pass


def test_an_endpoint_is_asked_for_as_many_tokens_as_the_row_says_and_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "r.jsonl", RULER)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recording) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        evaluate(
            EvaluateOptions(
                model="m", data="ruler:r.jsonl", endpoint=f"http://127.0.0.1:{server.server_port}/v1", output="out"
            )
        )
        server.shutdown()
    (request,) = Recording.asked
    assert request["messages"][-1] == {"role": "assistant", "content": RULER["answer_prefix"]}
    assert (request["max_tokens"], request["continue_final_message"], request["add_generation_prompt"]) == (
        128,
        True,
        False,
    )
    assert read_predictions(tmp_path / "out" / "predictions.jsonl") == {"r.jsonl-0": "7"}


def test_a_file_on_the_hub_is_read_and_read_again_once_it_changes(tmp_path: Path) -> None:
    code = "from training.benchmarks.catalog import benchmark_in as b; r = b('ruler:hf://datasets/them/ruler/niah_single_2/a.jsonl').rows({})"
    said = [json.dumps({**RULER, "outputs": [answer]}).encode() for answer in ("7", "9")]
    with hub_server() as hub:
        hub.repos["them/ruler"] = Repo(private=False)
        for content, answer in zip(said, ("7", "9"), strict=True):
            hub.repos["them/ruler"].commit("main", "rows", {"niah_single_2/a.jsonl": Blob(len(content), content)})
            ran = process(
                "-c", f"{code}; print(r[0]['task'], r[0]['answers'])", cwd=tmp_path, **environment(hub, tmp_path)
            )
            assert ran.stdout == f"niah_single_2 ['{answer}']\n", ran.stderr


def slow_placement(tokens: list[str], needle: str, room: int, depth: float) -> str:
    """NoLiMa's rule, in words: of the tokens with a line end (and the first), take the first at or after the depth; end the line there."""
    ends = [0, *(i for i, token in enumerate(tokens) if "\n" in token)]
    line = next(i for i in ends if i / (room + 1) >= depth)
    start = line - round(room * depth)
    before, behind = "".join(tokens[start : line + 1]), "".join(tokens[line + 1 : start + room])
    return before[: max(before.rfind("\n"), 0)] + " " + needle + "\n" + behind


def test_needles_of_nolima_go_where_its_program_puts_them(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(BUNDLED))
    book = tmp_path / "haystack" / "rand_shuffle" / "rand_book_1.txt"
    book.parent.mkdir(parents=True)
    book.write_text("\n".join(f"Line {i} of a book that goes on {'and on ' * (i % 7)}" for i in range(900)))
    ids = tokenizer(book.read_text(), add_special_tokens=False)["input_ids"]
    tokens = [tokenizer.decode([one]) for one in ids]
    for room in (250, 1000):
        opened = _Book(book, room, tokenizer)
        for depth in (0, 0.04, 0.5, 0.96, 1):
            assert opened.around("NEEDLE", depth) == slow_placement(tokens, "NEEDLE", room, depth)
    needles = tmp_path / "needlesets" / "needle_set.json"
    needles.parent.mkdir()
    needles.write_text(json.dumps([NOLIMA]))
    benchmark = Benchmark("nolima", str(tmp_path))
    rows = benchmark.nolima_rows({}, None, 250, lambda: tokenizer)
    assert len(rows) == 26
    assert benchmark.nolima_rows({}, 5, 250, lambda: tokenizer) == rows[:5]
    for row in rows:
        (name,) = row["answers"]
        said = row["prompt"][0]["content"]
        assert f"{name} lives next to the Semper Opera." in said
        assert "Which character has been to Dresden?" in said
        assert [benchmark.score(row, text)["accuracy"] for text in (f"It is {name}.", name.lower())] == [1.0, 0.0]
    assert {row["answers"][0] for row in rows} == {"Yuki", "Stuart", "Caleb"}
    known = benchmark.identity()
    needles.write_text(json.dumps([NOLIMA, NOLIMA]))
    with pytest.raises(DatasetError, match="and two give 0401_T1_onehop"):
        benchmark.nolima_rows({}, None, 250, lambda: tokenizer)
    needles.write_text(
        json.dumps([{**NOLIMA, "tests": {"T": {"input_args": ["a", "b"], "gold_answers": "Dresden"}}, "needle": "{1}"}])
    )
    (row, *_) = benchmark.nolima_rows({}, 1, 250, lambda: tokenizer)
    assert row["answers"] == ["Dresden"]
    for wrong, says in (({"id": "-1x"}, "expected id to be"), ({"questions": {"q": None}}, "expected tests to be")):
        needles.write_text(json.dumps([{**NOLIMA, **wrong}]))
        with pytest.raises(DatasetError, match=says):
            benchmark.nolima_rows({}, 1, 250, lambda: tokenizer)
    needles.write_text(json.dumps([NOLIMA]))
    assert benchmark.identity() == known
    book.write_text(book.read_text().replace("Line 7 ", "Line 9 "))
    assert benchmark.identity() != known
    with pytest.raises(UsageError, match="expected a book of as many tokens"):
        benchmark.nolima_rows({}, None, 100_000, lambda: tokenizer)


@pytest.mark.parametrize(
    ("name", "file", "entry", "says"),
    [
        (
            "ruler",
            "a.jsonl",
            {"input": "no such task", "outputs": ["1"], "length": 1},
            "expected input to be a prompt of niah, vt",
        ),
        ("ruler", "a.jsonl", {**RULER, "outputs": []}, "expected outputs to be one or more texts"),
        ("ruler", "a.jsonl", {**RULER, "length": "long"}, "expected length to be a whole number, got 'long'"),
        ("ruler", "a.jsonl", {"text": "x"}, "expected input to be a text, and there are only text"),
        ("babilong", "mine.json", BABILONG, "expected the task and the length of BABILong in the path"),
        ("longbench", "a.jsonl", {**LONGBENCH, "dataset": "gov_report"}, "expected dataset to be one of narrativeqa"),
        ("helmet", "a.jsonl", {**HELMET_RAG, "ctxs": ["text"]}, "expected ctxs to be passages"),
        ("ruler", "a.jsonl", {**RULER, "outputs": [""]}, "expected outputs to be one or more texts"),
        ("ruler", "a.jsonl", {**RULER, "length": True}, "expected length to be a whole number"),
        ("ruler", "a.jsonl", {**RULER, "answer_prefix": ["a"]}, "expected answer_prefix to be a text"),
        ("helmet", "a.jsonl", {**HELMET_RAG, "ctxs": [{"title": None, "text": "x"}]}, "expected ctxs to be passages"),
        ("longbench", "a.jsonl", {**LONGBENCH, "context": "\ud800"}, "expected context to be a text"),
        (
            "mrcr",
            "a.jsonl",
            {**MRCR, "prompt": '[{"role": "user", "content": null}]'},
            "expected prompt to be the messages",
        ),
        ("mrcr", "a.jsonl", {**MRCR, "prompt": "hello"}, "expected prompt to be the messages of a chat"),
        ("mrcr", "a.jsonl", {**MRCR, "prompt": json.dumps(CHAT[:2])}, "that end with the user's"),
    ],
)
def test_an_entry_of_another_form_is_named(tmp_path: Path, name: str, file: str, entry: dict, says: str) -> None:
    with pytest.raises(SynthctxError, match=says):
        Benchmark(name, str(write(tmp_path / file, entry))).rows({})


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for name, content, says in (
        ("a.jsonl", b"{not json}\n", "a.jsonl: expected jsonl that can be read"),
        ("b.jsonl.gz", b"not gzip", "b.jsonl.gz: expected jsonl.gz"),
        ("c.json", b"[1, 2]", "expected a JSON object for each entry, got '1'"),
        ("c1.json", b'{"data": null}', "expected a list of entries, got 'None'"),
        ("c2.json", b"[" * 100_000, "c2.json: expected json that can be read"),
        ("d.parquet", b"PAR", "d.parquet: expected parquet"),
        ("e.jsonl", b"\xff\xfe\n", "e.jsonl: expected jsonl"),
        ("f.jsonl", b"\n", "expected rows of ruler in .*, found none"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=says):
            Benchmark("ruler", str(tmp_path / name)).rows({})
    with pytest.raises(UsageError, match="there is no "):
        Benchmark("ruler", str(tmp_path / "absent")).rows({})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="expected files of ruler"):
        Benchmark("ruler", str(tmp_path / "empty")).rows({})
    (tmp_path / "prompts.json").write_text('{"qa1": "no place for a text"}')
    prompts = read_prompts(str(tmp_path / "prompts.json"))
    babilong = write(tmp_path / "qa1" / "1k.json", BABILONG)
    with pytest.raises(UsageError, match=r"expected \{context\} in the prompt for 'qa1'"):
        only("babilong", babilong, **prompts)
    with pytest.raises(UsageError, match="expected a prompt for 'qa1', got those for qa2"):
        only("babilong", babilong, qa2="{context} {question}")
