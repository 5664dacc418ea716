"""Counts needles that come twice in a million rows of every made-up variant, without building them: python benchmarks/needles.py"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from hashlib import blake2b

from builders import TASKS, find_task
from builders.examples import Examples
from synthctx_data.example import Concept
from synthctx_data.options import Options

_KINDS = {
    "templated_padding": ({}, {"insight_wording": "identical"}),
    "symbolic_padding": ({}, {"key_style": "integer"}, {"key_style": "word"}),
}


def identity(concept: Concept) -> bytes:
    """A hash of what a row asks of which needles, as `synthctx check` compares it."""
    asked = [concept.question] if concept.cites else []
    text = "\n".join([*asked, *(needle.sentence for needle in concept.needles)])
    return blake2b(text.encode(), digest_size=12).digest()


def repeated(task: str, variant: str, options: Options) -> int:
    """The number of rows whose needles stand in an earlier row."""
    expression = Examples(find_task(task), variant, options).expression
    rows = options.train or 0
    return rows - len({identity(expression.concept("train", index)) for index in range(rows)})


def _row(task: str, variant: str, options: Options) -> str:
    begun = time.process_time()
    found = repeated(task, variant, options)
    changed = {
        name: value for name, value in options.changed().items() if name not in ("train", "validation", "max_tokens")
    }
    seconds = time.process_time() - begun
    return f"| `{task}/{variant}` | {changed or ''} | {options.train:,} | {found} | {seconds:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--max-tokens", type=int, default=4096)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    jobs = [
        (task.name, variant, Options(train=asked.rows, validation=0, max_tokens=asked.max_tokens, **other))
        for task in TASKS.values()
        for variant, several in _KINDS.items()
        for other in several
        if not other or {*other} <= task.variant(variant).reads
    ]
    print("| variant | options | rows | repeated | CPU s |\n|---|---|---|---|---|")
    with ProcessPoolExecutor(asked.workers) as pool:
        for line in pool.map(_row, *zip(*jobs, strict=True)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
