"""The store of answers: what is kept stays kept, through kills, between processes, and on the way through an exported file."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from builders.writing.store import Answer, AnswerStore, Request, export, exported
from synthctx_data.errors import DatasetError, UsageError
from tests.tiny import ENVIRONMENT

_KEEPING = """
import itertools, sys
from pathlib import Path
from builders.writing.store import Answer, AnswerStore

store = AnswerStore(Path(sys.argv[1]))
for i in itertools.count(int(sys.argv[2]), int(sys.argv[3])):
    kept = store.keep(Answer(f"{i:08}", "t", "u", f"written by {sys.argv[2]} " + "x" * 2000, "stop", "m", "m", "e", 1, 2, 0.5))
    print(kept.key, kept.text.split()[2], flush=True)
"""


def answer(key: str, text: str = "yes") -> Answer:
    return Answer(key, "template", "unit", text, "stop", "asked", "model", "http://localhost", 10, 2, 1.25)


def test_the_same_request_has_the_same_key_however_it_is_put() -> None:
    one = Request({"model": "m", "messages": [{"role": "user", "content": "é"}]}, "t")
    other = Request({"messages": [{"content": "é", "role": "user"}], "model": "m"}, "t")
    assert one.key == other.key
    assert len({one.key, Request(one.body, "u").key, Request({**one.body, "model": "n"}, "t").key}) == 3


def test_the_first_answer_is_kept_and_both_get_it(tmp_path: Path) -> None:
    first, second = (AnswerStore(tmp_path / "answers.sqlite") for _ in range(2))
    assert first.get("a") is None
    assert first.keep(answer("a")) == answer("a")
    assert second.keep(answer("a", "no")) == second.get("a") == answer("a")
    assert len(second) == 1


def test_what_was_kept_outlives_a_kill(tmp_path: Path) -> None:
    file, seen = tmp_path / "answers.sqlite", {}
    for kill in range(3):
        command = [sys.executable, "-c", _KEEPING, str(file)]
        both = [
            subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
            for arguments in (("0", "2"), ("0", "3"))
        ]
        for process, lines in zip(both, random.Random(kill).sample(range(20, 200), 2), strict=True):
            assert process.stdout is not None
            for _ in range(lines):
                key, writer = process.stdout.readline().split()
                assert seen.setdefault(key, writer) == writer
        for process in both:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    store = AnswerStore(file)
    assert all((kept := store.get(key)) and kept.text.split()[2] == writer for key, writer in seen.items())


def test_a_request_is_asked_by_one_store_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (AnswerStore(tmp_path / "answers.sqlite") for _ in range(2))
    assert first.claim("a")
    assert first.claim("a")
    assert not second.claim("a")
    assert second.claim("b")
    first.give_up("a")
    assert second.claim("a")
    now = time.time()
    monkeypatch.setattr("builders.writing.store.time.time", lambda: now + 50)
    second.renew()  # of a process that lives on
    monkeypatch.setattr("builders.writing.store.time.time", lambda: now + 100)
    assert not first.claim("a")
    monkeypatch.setattr("builders.writing.store.time.time", lambda: now + 200)  # of one that was killed
    assert first.claim("a")


def test_the_claim_of_a_process_that_was_killed_does_not_count(tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path; from builders.writing.store import AnswerStore;"
        f"AnswerStore(Path({str(tmp_path / 'a')!r})).claim('a'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, env=ENVIRONMENT)
    store = AnswerStore(tmp_path / "a")
    assert not store.claim("a")  # which finds that nobody asks
    assert store.claim("a")


def _damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096:] = random.Random(0).randbytes(len(content) - 4096)
    file.write_bytes(content)


def _other_columns(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DROP TABLE answers")
        connection.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, x)")


def _other_values(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE answers SET prompt_tokens = 'many'")


@pytest.mark.parametrize("change", [_damage, _other_columns, _other_values])
def test_a_store_that_is_damaged_or_foreign_is_told(tmp_path: Path, change: Callable[[Path], None]) -> None:
    file = tmp_path / "answers.sqlite"
    with closing(AnswerStore(file)) as store:
        store.keep_all(answer(f"{i:03}", "x" * 500) for i in range(50))
        store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    change(file)
    with pytest.raises(DatasetError, match=r"answers.sqlite: expected a store of answers that can be read"):
        list(AnswerStore(file, read=True))


def test_a_store_that_is_only_read_may_lie_on_a_read_only_medium(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "answers.sqlite"
    with closing(AnswerStore(file)) as store:
        store.keep(answer("a"))
    there = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    monkeypatch.setattr("builders.writing.store.os.access", lambda *_: False)
    assert list(AnswerStore(file, read=True)) == [answer("a")]
    assert there == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_an_export_replaces_files_alone(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    {"link": lambda: place.symlink_to("/dev/null"), "fifo": lambda: os.mkfifo(place), "folder": place.mkdir}[kind]()
    before = place.lstat()
    with pytest.raises(UsageError, match="is a link, a folder or a device"):
        export([answer("a")], place)
    assert place.lstat() == before
    assert list(tmp_path.iterdir()) == [place]


def test_an_export_is_the_store(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "a.sqlite")
    answers = [answer(f"{i:03}", text) for i, text in enumerate(["", "line\nbreak", "\u2028 \ud7ff é", '{"json": 1}'])]
    assert store.keep_all(reversed(answers)) == 4
    assert export(store, tmp_path / "a.jsonl") == 4
    other = AnswerStore(tmp_path / "b.sqlite")
    assert other.keep_all(exported(tmp_path / "a.jsonl")) == 4
    assert list(other) == answers
    assert other.keep_all(exported(tmp_path / "a.jsonl")) == 0
    export(other, tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_broken_export_is_imported_not_at_all(tmp_path: Path) -> None:
    store, file = AnswerStore(tmp_path / "a.sqlite"), tmp_path / "a.jsonl"
    export([answer("a"), answer("b")], file)
    good = file.read_text()
    for changes in (
        {"text": None},
        {"unit": 5},
        {"prompt_tokens": "x"},
        {"prompt_tokens": 10**30},
        {"prompt_tokens": -1},
        {"key": None},
    ):
        file.write_text(good + json.dumps({**json.loads(good.splitlines()[0]), "key": "c", **changes}) + "\n")
        with pytest.raises(DatasetError, match=f"line 3: expected an answer .*: {next(iter(changes))}: "):
            store.keep_all(exported(file))
    file.write_text(good + '{"key": "c"}\n')
    with pytest.raises(DatasetError, match="line 3: expected an answer"):
        store.keep_all(exported(file))
    assert len(store) == 0
    with pytest.raises(DatasetError, match="expected a file"):
        store.keep_all(exported(tmp_path / "none.jsonl"))
    assert store.keep(replace(answer("d"))) == answer("d")


@pytest.mark.parametrize("kind", ["text", "other", "newer", "folder"])
def test_what_is_no_store_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "answers.sqlite"
    if kind == "folder":
        file.mkdir()
    elif kind == "text":
        file.write_text("no database, but long enough to be looked at as one" * 10)
    else:
        connection = sqlite3.connect(file)
        connection.execute("CREATE TABLE mine (x)" if kind == "other" else "PRAGMA user_version = 99")
        connection.commit()
        connection.close()
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(DatasetError, match="expected a store of answers"):
        AnswerStore(file)
    assert before is None or file.read_bytes() == before
