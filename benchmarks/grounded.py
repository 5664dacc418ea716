"""Measures grounded variants on 10,000 passages: python benchmarks/grounded.py

Each task in a process of its own: CPU seconds until the first request of each of 1,100 units is known, with the index of the passages, and
the peak memory; and the CPU time of judging one answer, with what follows from it, where every answer is there. Answers are those of the
test server.
"""

import json
import multiprocessing
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from builders import TASKS
from builders.examples import Examples
from builders.writing.requests import Editor, Pass
from builders.writing.store import Answer
from synthctx_data.options import Options
from tests.llm_server import write

PASSAGES, SENTENCES, WORDS = 10_000, 10, 14


def write_corpus(file: Path) -> None:
    drawn = random.Random(0)

    def word() -> str:
        return "".join(drawn.choice("bcdfglmnprst") + drawn.choice("aeiou") for _ in range(drawn.randint(1, 4)))

    words = [word() for _ in range(30_000)]
    names = [f"{word()}{word()} {word()}{word()}".title() for _ in range(30_000)]  # each in some three passages

    def sentence() -> str:
        said = drawn.choices(words, k=WORDS)
        return " ".join([said[0].title(), *said[1:4], drawn.choice(names), *said[4:], f"{word()}{word()}{word()}."])

    rows = ({"title": f"Note {i}", "text": " ".join(sentence() for _ in range(SENTENCES))} for i in range(PASSAGES))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


class Answering(dict[str, Answer]):
    """Answers, made when they are first looked up. It keeps the seconds that making them takes."""

    seconds = 0.0

    def give(self, draft: Any) -> None:
        while draft.request:
            request = draft.request
            if request.key not in self:
                started = time.process_time()
                text = write(dict(request.body))
                self[request.key] = Answer(
                    request.key, request.template, request.unit, text, "stop", "m", "m", "m", 0, 0, 0.0
                )
                self.seconds += time.process_time() - started
            draft.give(self[request.key])


def measure(task: str, corpus: str) -> tuple[float, float, float]:
    started = time.process_time()
    options = Options(corpus=(corpus,), model="m", train=1000, validation=100, max_tokens=8192)
    expression: Any = Examples(TASKS[task], "grounded_haystack", options).expression
    next(expression.nearest("the first question needs the index"))
    drafts = list(Pass(Editor("m"), {}).drafts(expression.units()))
    planned = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answers, started = Answering(), time.process_time()
    for draft in drafts:
        answers.give(draft)
    return planned, peak, 1000 * (time.process_time() - started - answers.seconds) / len(answers)


def main() -> None:
    print("| task | planned, s | peak MB | ms / answer |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.jsonl"
        write_corpus(corpus)
        for task in TASKS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                planned, peak, each = pool.apply(measure, (task, str(corpus)))
            print(f"| `{task}` | {planned:.1f} | {peak:.0f} | {each:.2f} |", flush=True)


if __name__ == "__main__":
    main()
