"""Worker processes end with the command that started them, however it ends."""

import os
import time
from pathlib import Path

import pytest

from tests.commands import started, synthctx, wait_until


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="expected Linux, where /proc names child processes")
def test_a_killed_check_leaves_no_process(tmp_path: Path) -> None:
    sizes = ("--max-tokens", 32768, "--train", 400, "--validation", 0)
    assert synthctx("build", "mdqa_synth", "templated_padding", *sizes, cwd=tmp_path).returncode == 0
    with started("-m", "builders", "check", "synthctx/mdqa_synth", "--workers", 2, cwd=tmp_path) as running:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        wait_until(
            lambda: len(children.read_text().split()) >= 3, running
        )  # two workers, and what counts their resources
        pids = children.read_text().split()
        running.kill()
        for _ in range(600):
            if not any(map(_lives, pids)):
                return
            time.sleep(0.1)
    raise AssertionError(f"{[pid for pid in pids if _lives(pid)]} of {pids} still live")


def _lives(pid: str) -> bool:
    """True if a process is there, and has not only ended without being fetched."""
    try:
        os.kill(int(pid), 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
