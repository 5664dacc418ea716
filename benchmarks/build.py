"""Measures building: python benchmarks/build.py [--corpus nq-open-oracle.jsonl.gz] [--examples 1400] [--max-tokens 32768]

For every variant, in a process of its own: million tokens a CPU-second (start-up and Parquet writing included), peak memory, and
the speed of the whole build as a ratio of one pass of the tokenizer over the same text, measured in the same process.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

VARIANTS = (
    "mdqa_synth/templated_haystack",
    "mdqa_synth/templated_padding",
    "mdqa_synth/symbolic_haystack",
    "mdqa_synth/symbolic_padding",
    "mdqa_synth/real_haystack",
    "musique_synth/templated_haystack",
    "musique_synth/symbolic_haystack",
    "summhay_synth/templated_haystack",
    "summhay_synth/symbolic_haystack",
)
_PASS_TOKENS = 4_000_000  # tokenized again for the ratio: more would only take longer


def measure(address: str, examples: int, max_tokens: int, corpus: str | None) -> dict[str, Any]:
    """Builds one variant in this process, which must be fresh, and says what it cost."""
    from builders.build import build_variant
    from builders.shards import Build
    from synthctx_data.dataset import Address, find_variants
    from synthctx_data.options import Options
    from synthctx_data.tokens import load_counter

    task, variant = address.split("/")
    validation = max(examples // 10, 1)
    real = variant.startswith("real")
    options = Options(
        max_tokens=max_tokens,
        train=max(examples - validation, 1),
        validation=validation,
        corpus=(corpus,) if real and corpus else (),
    )
    with tempfile.TemporaryDirectory() as folder:
        build_variant(Build(task, variant, options, Path(folder)))
        seconds = time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows = (
            [row for _, row in find_variants(Address(folder, variant))[0].rows()]
            if examples * max_tokens < 10**8
            else []
        )
    tokens = sum(row["num_tokens"] for row in rows) or examples * max_tokens
    return {
        "variant": address,
        "tokens": tokens,
        "million tokens / CPU s": round(tokens / seconds / 1e6, 2),
        "build / one tokenizer pass": round(tokens / seconds / _pass_speed(load_counter(), rows), 2) if rows else None,
        "peak MB": round(peak),
    }


def _pass_speed(counter: Any, rows: list[dict[str, Any]]) -> float:
    """Tokens a CPU-second of the tokenizer alone, a prompt at a time."""
    tokens, started = 0, time.process_time()
    for row in rows:
        tokens += counter.raw(row["prompt"][0]["content"])
        if tokens > _PASS_TOKENS:
            break
    return tokens / (time.process_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", help="questions of MDQA for its real variant, which is left out without")
    parser.add_argument("--examples", type=int, default=1400)
    parser.add_argument("--max-tokens", type=int, default=32768)
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    options = parser.parse_args()
    for variant in options.variants:
        if "/real" in variant and not options.corpus:
            continue
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            job = (variant, options.examples, options.max_tokens, options.corpus)
            print(json.dumps(pool.apply(measure, job)), flush=True)


if __name__ == "__main__":
    main()
