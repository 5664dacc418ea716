"""A working directory with a tiny model, and a data set under its tokenizer."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from builders import TASKS
from builders.build import build_variant
from builders.hub.card import update_card
from builders.shards import Build
from synthctx_data.options import Options
from tests.commands import ROOT, call, script
from training.tiny import make_tiny

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
RECIPE = ROOT / "training" / "recipes" / "tiny_mdqa_symbolic_padding.yaml"
DATA = "synthctx/mdqa_synth:symbolic_padding"


def make_place(place: Path, train: int, validation: int) -> Path:
    """The directory: the model in `tiny`, the data where DATA says."""
    tokenizer = str(make_tiny(place / "tiny"))
    options = Options(max_tokens=600, tokenizer=tokenizer, key_style="word", train=train, validation=validation)
    job = Build("mdqa_synth", "symbolic_padding", options, place / "synthctx" / "mdqa_synth")
    build_variant(job)
    update_card(TASKS["mdqa_synth"], job)
    return place


def finetuned(place: Path, output: str) -> Path:
    """The directory, with an adapter by the README's recipe in `output`."""
    options = ("--config", RECIPE, "--model", "tiny", "--output", output, "--no-gradient-checkpointing")
    ran = call(script("training/finetune.py"), *options, cwd=place)
    assert ran.returncode == 0, ran.stderr
    return place


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def served(place: Path) -> Iterator[str]:
    """The base URL of transformers' own server, with the tiny model in it."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "transformers"), "serve", "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(command, cwd=place, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()
