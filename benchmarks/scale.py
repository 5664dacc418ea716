"""Measures how a build grows: python benchmarks/scale.py [tokens|rows|workers|ray] ...

tokens: CPU seconds of a million tokens, from 4,096 to 1,048,576 tokens a row, after the first rows. rows: the same at 4,096 tokens, for
rows far behind the first. workers: seconds of a build by one process and by two. ray: by two processes, and by two CPUs of a Ray cluster
here, which must be started before (ray start --head --num-cpus 2).
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builders import find_task
from builders.build import build_variant
from builders.examples import Examples
from builders.shards import Build, examples_of
from synthctx_data.options import Options

VARIANTS = (  # with the tokens that are made before the measure begins: until then, most pages of a made-up world are new
    ("mdqa_synth", "templated_haystack", 48_000_000),
    ("musique_synth", "templated_haystack", 48_000_000),
    ("mdqa_synth", "symbolic_haystack", 2_000_000),
)
LENGTHS = (4096, 32768, 131072, 1048576)
STARTS = (0, 10_000, 100_000, 500_000)
_TOKENS = 12_000_000  # that are made for each figure
_ROWS = 600
_SHARD = 2**24


def cost(task: str, variant: str, tokens: int, start: int, before: int, rows: int) -> float:
    """CPU seconds of a million tokens, in some rows after `before` others, which begin with `start`."""
    whole = start + before + rows
    examples = Examples(find_task(task), variant, Options(max_tokens=tokens, train=whole, validation=0))
    for index in range(start, start + before):
        examples.make("train", index)
    began, made = time.process_time(), 0
    for index in range(start + before, whole):
        made += examples.make("train", index).num_tokens
    return (time.process_time() - began) / made * 1e6


def seconds(tokens: int, rows: int, workers: int, ray: str | None) -> float:
    """Seconds of a build of templated rows."""
    options = Options(max_tokens=tokens, train=rows, validation=0)
    with tempfile.TemporaryDirectory() as folder:
        build = Build(
            "mdqa_synth", "templated_haystack", options, Path(folder) / "mdqa_synth", max(rows * tokens // _SHARD, 2)
        )
        examples_of(build)
        began = time.perf_counter()
        build_variant(build, workers, ray)
        return time.perf_counter() - began


def fresh(call: Callable[..., float], *arguments: object) -> float:
    """The figure of a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, arguments)


def say(what: str, **figures: Any) -> None:
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    print(json.dumps({"what": what, **rounded}), flush=True)


def by_tokens() -> None:
    for task, variant, before in VARIANTS:
        found = {n: fresh(cost, task, variant, n, 0, max(before // n, 1), max(_TOKENS // n, 6)) for n in LENGTHS}
        say(
            f"{task}/{variant}",
            **{f"{n:,}": value for n, value in found.items()},
            ratio=max(found.values()) / min(found.values()),
        )


def by_rows() -> None:
    for task, variant, _ in VARIANTS:
        found = {n: fresh(cost, task, variant, LENGTHS[0], n, _ROWS, _ROWS) for n in STARTS}
        say(
            f"{task}/{variant}",
            **{f"from row {n:,}": value for n, value in found.items()},
            ratio=max(found.values()) / min(found.values()),
        )


def by_workers() -> None:
    for _ in range(2):
        one, two = (seconds_of(workers) for workers in (1, 2))
        say("workers", one=one, two=two, ratio=one / two)


def by_ray() -> None:
    for _ in range(2):
        two, ray = seconds_of(2), seconds_of(2, os.environ.get("RAY_ADDRESS", "auto"))
        say("ray", processes=two, ray=ray, ratio=ray / two)


def seconds_of(workers: int, ray: str | None = None) -> float:
    return seconds(32768, 512 * 48, workers, ray)  # 48 shards of 16.8 million tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = {"tokens": by_tokens, "rows": by_rows, "workers": by_workers, "ray": by_ray}
    parser.add_argument("kinds", nargs="*", choices=[*kinds, []], default=["tokens", "rows", "workers"])
    for kind in parser.parse_args().kinds:
        kinds[kind]()


if __name__ == "__main__":
    main()
