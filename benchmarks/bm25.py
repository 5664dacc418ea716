"""Measures BM25 over many passages: python benchmarks/bm25.py [--passages 1000000]

Passages of 100 words, drawn from 200,000 by Zipf's law, are read as a corpus, indexed, and asked 20 questions.
"""

import argparse
import json
import resource
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

from synthctx_data.corpora import read_corpus
from synthctx_data.distractors import Bm25
from synthctx_data.seeding import rng

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=1_000_000)
    passages = parser.parse_args().passages
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder) / "passages.jsonl", passages)
        started = time.perf_counter()
        documents = read_corpus([folder]).documents
        read = time.perf_counter()
        ranker = Bm25(documents)
        ranker.scores("w1")
        indexed = time.perf_counter()
        for i in range(_QUESTIONS):
            question = " ".join(documents[i * len(documents) // _QUESTIONS].text.split()[:9])
            list(islice(ranker.order(question, rng("benchmark", i)), _TAKEN))
        answered = time.perf_counter()
    print(
        json.dumps(
            {
                "passages": len(documents),
                "read s": round(read - started, 1),
                "index s": round(indexed - read, 1),
                "s / question": round((answered - indexed) / _QUESTIONS, 3),
                "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }
        )
    )


if __name__ == "__main__":
    main()
