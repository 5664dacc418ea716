"""Texts from outside: none commands the terminal, none tells a secret."""

import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from synthctx_data.errors import UsageError
from synthctx_data.shown import SafeConsole, hidden, public_address, require_environment, visible
from tests.commands import call, script, synthctx

ESCAPE = "\x1b"
HOSTILE = [
    f"{ESCAPE}[2J",
    f"{ESCAPE}]52;c;cm0gLXJmIH4K{ESCAPE}\\",
    f"{ESCAPE}]8;;http://evil.example{ESCAPE}\\click{ESCAPE}]8;;{ESCAPE}\\",
    "\x9b2J",
    "\u202egnp.exe",
    "\u2066a\u2069",
    "\r hidden",
    "\x08\x08",
    "\u200bz\u2060w\ufeff",
    "\U000e0041",
]


def printed(what: object) -> str:
    to = io.StringIO()
    SafeConsole(file=to, width=60, force_terminal=True, highlight=False, markup=False).print(what)
    return to.getvalue()


@given(st.text())
def test_what_is_visible_has_no_character_that_commands(text: str) -> None:
    shown = visible(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert visible(shown) == shown
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_console_lets_it_through(hostile: str) -> None:
    table = Table("a", "b")
    table.add_row(hostile, Text(hostile, "bold red"))
    for what in (hostile, Text(f"x{hostile}", "green"), table):
        left = re.sub(r"\x1b\[[\d;]*m", "", printed(what))  # rich's own colours
        assert not re.search(
            "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0041]", left
        )


def test_show_and_errors_are_safe(tmp_path: Path) -> None:
    rows = []
    for i in range(12):
        others = [
            {"title": f"t{i}{j}", "text": f"{''.join(HOSTILE)} cat " + f"w{i}x{j} " * 60, "isgold": False}
            for j in range(4)
        ]
        gold = {"title": f"g{i}", "text": f"{''.join(HOSTILE)} zebra{i} " + f"v{i} " * 60, "isgold": True}
        rows.append({"question": f"what is {i}?", "answers": [f"zebra{i}"], "ctxs": [gold, *others]})
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sizes = ("--max-tokens", 2048, "--train", 2, "--validation", 1, "--workers", 1)
    assert synthctx("build", "mdqa_synth", "real_haystack", "--corpus", "q.jsonl", *sizes, cwd=tmp_path).returncode == 0
    for ran in (
        synthctx("show", "synthctx/mdqa_synth:real_haystack", cwd=tmp_path),
        synthctx("show", f"no{HOSTILE[0]}/where:v", cwd=tmp_path),
        synthctx(f"{HOSTILE[0]}list", cwd=tmp_path),
    ):
        assert ran.stdout + ran.stderr
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", ran.stdout + ran.stderr)


def test_secrets_are_cut_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-s3cr3t-0123456789")
    monkeypatch.setenv("HF_TOKEN", "none")
    said = hidden("key Bearer sk-s3cr3t-0123456789 at https://me:hunter2@hub.example/x, none of http://token@h")
    assert said == "key Bearer *** at https://***@hub.example/x, none of http://***@h"
    assert "hunter2" not in printed("https://me:hunter2@hub.example/x")


@pytest.mark.parametrize("url", ["ftp://x", "", "http://", "http://[::1", "http://a:99999", "http://a\n", "sk-123"])
def test_what_is_no_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        public_address(url, "--endpoint")
    assert "sk-123" not in str(caught.value)


def test_an_address_with_a_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--endpoint: expected an address without .* such as http://h/v1;"):
        public_address("http://user:hunter2@h/v1", "--endpoint")
    command = ("--model", "x", "--data", "nothing/here:v", "--endpoint", "http://user:hunter2@127.0.0.1:1/v1")
    ran = call(script("training/evaluate.py"), *command, cwd=tmp_path)
    assert ran.returncode == 2
    assert "hunter2" not in ran.stdout + ran.stderr
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"hunter2" in file.read_bytes()]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("HF_ENDPOINT", value)
            for value in ("", "foo", "file:///x", "http://[::1", "http://h:99999", "http://h:1\nX: y")
        ),
        ("HF_HUB_ETAG_TIMEOUT", "abc"),
        ("HF_HUB_DOWNLOAD_TIMEOUT", "-1"),
        ("SSL_CERT_FILE", "/nowhere/at/all"),
    ],
)
def test_an_odd_environment_is_told_at_once(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}: expected"):
        require_environment({name: value})
    ran = synthctx("list", cwd=tmp_path, **{name: value})
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"synthctx: {name}: expected")
