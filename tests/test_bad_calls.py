"""A table of calls that cannot be answered: each ends with one line that says what was expected, and never blames synthctx."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from builders.build import build_variant
from builders.shards import Build
from synthctx_data.options import Options
from tests.commands import call, script, synthctx

TABLE = Path(__file__).with_name("data") / "bad_calls.yaml"
CALLS: list[dict[str, Any]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
_LONGEST = 700  # characters of a line that people read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a built set, built/mdqa_synth, and a corpus, texts.txt."""
    here = tmp_path_factory.mktemp("calls")
    build_variant(
        Build(
            "mdqa_synth", "symbolic_haystack", Options(max_tokens=512, train=9, validation=3), here / "built/mdqa_synth"
        )
    )
    (here / "texts.txt").write_text("\n\n".join(f"The mill of {i} stands at river {i * i}. " * 9 for i in range(40)))
    with patch.dict(os.environ, {"HF_HUB_OFFLINE": "1"}):
        yield here


@pytest.mark.parametrize("one", CALLS, ids=[one["call"][:80] for one in CALLS])
def test_a_bad_call_is_told_in_one_line(folder: Path, one: dict[str, Any]) -> None:
    for name, content in one.get("files", {}).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogateescape"))
    command, *words = shlex.split(one["call"])
    app = None if command == "synthctx" else script(words.pop(0))
    environment = {name: str(value) for name, value in one.get("environment", {}).items()}
    ran = call(app, *words, cwd=folder, **environment) if app else synthctx(*words, cwd=folder, **environment)
    last = ran.stderr.splitlines()[-1] if ran.stderr else ""
    assert ran.returncode in (1, 2), ran.stdout + ran.stderr
    assert re.match(r"\w+: ", last), ran.stderr
    assert re.search(one["says"], last), last
    assert "fault of synthctx" not in last
    assert "Traceback" not in ran.stderr
    assert len(last) <= _LONGEST
