"""Builds in parts: whoever writes which part, in whatever order, the files are those of one build."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.build import build_part, build_variant, finish
from builders.parts import Part, parse_part
from builders.shards import Build, plan_shards
from synthctx_data.errors import ConflictError, UsageError
from synthctx_data.options import Options
from tests.commands import started, synthctx, wait_until

OPTIONS = Options(max_tokens=1024, train=30, validation=5)
SIZES = ("--max-tokens", 8192, "--train", 210, "--validation", 7, "--shards", 30, "--output", "big")
COMMAND = ("build", "mdqa_synth", "symbolic_haystack", *SIZES)


def job(folder: Path) -> Build:
    return Build("mdqa_synth", "symbolic_haystack", OPTIONS, folder, 7)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_parts_in_any_order_make_the_files_of_one_build(tmp_path: Path, count: int) -> None:
    build_variant(job(tmp_path / "whole"))
    parts = [Part(number, count) for number in range(count, 0, -1)]
    missing = [len(build_part(job(tmp_path / "parts"), part)) for part in parts]
    assert missing == sorted(missing, reverse=True)
    assert missing[-1] == 0
    assert files(job(tmp_path / "parts").target) == files(job(tmp_path / "whole").target)
    assert build_part(job(tmp_path / "parts"), parts[0]) == []
    assert [file.name for file in (tmp_path / "parts").iterdir() if "part" in file.name] == []


@given(st.integers(1, 50), st.integers(1, 60))
def test_every_shard_belongs_to_one_part(shards: int, count: int) -> None:
    planned = plan_shards("train", 200, shards)
    divided = [shard.name for number in range(1, count + 1) for shard in Part(number, count).of(planned)]
    assert sorted(divided) == sorted(shard.name for shard in planned)


@pytest.mark.parametrize("text", ["", "3", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1 / 2", "٣/٤"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--part: expected K/N with K from 1 to N, such as 3/16"):
        parse_part(text)


def test_parts_of_other_options_do_not_mix(tmp_path: Path) -> None:
    build_part(job(tmp_path), Part(1, 2))
    other = Build("mdqa_synth", "symbolic_haystack", OPTIONS.model_copy(update={"seed": 1}), tmp_path, 7)
    for call in (lambda: build_part(other, Part(2, 2)), lambda: finish(other), lambda: build_variant(other)):
        with pytest.raises(ConflictError, match="seed 0 there, 1 asked for"):
            call()


def test_finish_says_what_is_missing_and_builds_nothing(tmp_path: Path) -> None:
    assert synthctx(*COMMAND, "--part", "1/2", cwd=tmp_path).stdout.endswith(
        "part 1 of 2 is done; 18 of 37 shards are missing\n"
    )
    ran = synthctx("finish", *COMMAND[1:], cwd=tmp_path)
    assert ran.returncode == 1
    assert "18 of 37 are missing (train-00001-of-00030.parquet, train-00003-of-00030.parquet, " in ran.stderr
    assert synthctx(*COMMAND, "--part", "2/2", cwd=tmp_path).returncode == 0
    assert synthctx("finish", *COMMAND[1:], cwd=tmp_path).returncode == 0
    assert synthctx("check", "big/mdqa_synth", cwd=tmp_path).returncode == 0


def test_parts_at_once_one_of_which_is_killed(tmp_path: Path) -> None:
    def part(number: int) -> contextlib.AbstractContextManager["subprocess.Popen[str]"]:
        return started("-m", "builders", *COMMAND, "--workers", 1, "--part", f"{number}/3", cwd=tmp_path)

    staging = tmp_path / "big" / "mdqa_synth" / ".symbolic_haystack.partial"
    with part(1) as one, part(2) as two, part(3) as three:
        wait_until(lambda: len(list(staging.glob("train-*.parquet"))) > 3, two)
        whole = synthctx(*COMMAND, cwd=tmp_path)
        assert whole.returncode == 1
        assert "another process is building" in whole.stderr
        os.killpg(two.pid, signal.SIGKILL)
        for running in (one, two, three):
            running.communicate()
        assert (one.returncode, two.returncode, three.returncode) == (0, -signal.SIGKILL, 0)
    with part(2) as again:
        out, said = again.communicate()
    assert "217 examples" in out, said
    alone = Build(
        "mdqa_synth", "symbolic_haystack", Options(max_tokens=8192, train=210, validation=7), tmp_path / "alone", 30
    )
    build_variant(alone)
    there = files(tmp_path / "big" / "mdqa_synth" / "symbolic_haystack")
    assert {name: there[name] for name in files(alone.target)} == files(alone.target)
