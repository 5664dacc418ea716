"""Measures a corpus that lies ready: python benchmarks/corpora.py [--passages 1000000]

Passages of 100 words, drawn from 200,000 by Zipf's law, are read and indexed by one process. Two others then map them: each is asked 20
questions, and takes the 400 nearest passages of each. Every figure is of a process of its own.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

from synthctx_data.corpora import Corpus
from synthctx_data.distractors import Bm25, Pool
from synthctx_data.layout import Layout
from synthctx_data.ready_corpus import ready_corpus
from synthctx_data.seeding import rng
from synthctx_data.tokens import load_counter

_WORDS, _BATCH, _QUESTIONS, _TAKEN = 200_000, 10_000, 20, 400


def write_corpus(path: Path, passages: int) -> None:
    """A file of JSON lines with so many passages."""
    random = np.random.default_rng(0)
    words = np.array([f"w{i:x}" for i in range(_WORDS)])
    ends = np.cumsum(1 / np.arange(1, _WORDS + 1))
    with path.open("w") as lines:
        for start in range(0, passages, _BATCH):
            size = min(_BATCH, passages - start)
            drawn = np.searchsorted(ends, random.random((size, 100)) * ends[-1])
            for number, row in enumerate(words[drawn], start):
                lines.write(json.dumps({"title": f"Passage {number}", "text": " ".join(row)}) + "\n")


def corpus_of(folder: str) -> tuple[Corpus, Layout]:
    layout = Layout("mdqa_synth", load_counter(None))
    return ready_corpus(layout, [folder], "text", False), layout


def measure(folder: str) -> dict[str, float]:
    """Seconds until the corpus and its index are there, and for each question and its passages; and the memory of this process, in MB."""
    started = time.perf_counter()
    corpus, layout = corpus_of(folder)
    read = time.perf_counter()
    ranker, pool = Bm25(corpus.documents), Pool(layout, corpus.documents)
    ranker.scores("w1")
    indexed = time.perf_counter()
    for i in range(_QUESTIONS):
        question = " ".join(corpus.documents[i * len(corpus.documents) // _QUESTIONS].text.split()[:9])
        order = ranker.order(question, rng("benchmark", i))
        list(islice(pool.pages(order, ["no such answer"]), _TAKEN))
    answered = time.perf_counter()
    return {
        "read, s": round(read - started, 1),
        "index, s": round(indexed - read, 1),
        "s / question": round((answered - indexed) / _QUESTIONS, 3),
        "peak of the process, MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "of it its own, MB": round(_own() / 1024),
    }


def _own() -> int:
    """The kilobytes of this process that no file holds."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=1_000_000)
    passages = parser.parse_args().passages
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SYNTHCTX_CACHE"] = str(Path(folder, "cache"))
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        write_corpus(corpus / "passages.jsonl", passages)
        for name in ("first", "second", "third"):
            with multiprocessing.get_context("spawn").Pool(1) as fresh:
                print(
                    json.dumps({"process": name, "passages": passages, **fresh.apply(measure, (str(corpus),))}),
                    flush=True,
                )
        stored = sum(file.stat().st_size for file in Path(folder, "cache").rglob("*") if file.is_file())
        print(json.dumps({"stored, MB": round(stored / 1e6)}))


if __name__ == "__main__":
    main()
