"""The checkpoints of a run, and the one that the run resumes from."""

import json
import re
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

_NAME = re.compile(r"checkpoint-(\d+)")
_STATE = ("optimizer.pt", "scheduler.pt")  # DeepSpeed has folders of its own for these


def checkpoints(output: Path) -> list[Path]:
    """The folders of the checkpoints, the latest first."""
    found = [(int(match[1]), path) for path in output.glob("checkpoint-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def last_checkpoint(output: Path) -> str | None:
    """The latest whole checkpoint; None if there is none.

    A crash of the machine may leave files empty, even if a file that was written after them is whole.
    """
    return next((str(folder) for folder in checkpoints(output) if _is_whole(folder)), None)


def _is_whole(folder: Path) -> bool:
    try:
        json.loads((folder / "trainer_state.json").read_text())["global_step"]
        with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
            weights.keys()
    except (OSError, ValueError, TypeError, KeyError, SafetensorError):
        return False
    archives = [*folder.rglob("*.pt"), *folder.rglob("*.pth")]
    if not all(zipfile.is_zipfile(archive) for archive in archives) or not list(folder.glob("rng_state*.pth")):
        return False
    deepspeed = any(folder.glob("global_step*"))
    return deepspeed or all((folder / name).is_file() for name in _STATE)
