"""The world's passages and questions as a corpus that builders read, and the F1 of guessing."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.miniature.passages import Passage, is_worded, make_passages
from synthctx_data.files import write_text
from synthctx_data.metrics import answer_f1
from synthctx_data.seeding import rng

_RIVALS = 4  # further passages for a question, which state the same relation of other subjects


def write_corpus(file: Path, questions: int, name: str, wording: int | None = None) -> Path:
    """The file of a corpus of questions with passages. All passages have different subjects, so none contradict each other.

    With a `wording`, all questions have the wording of this number for their relation.
    """
    if file.exists():
        return file
    stream = rng("mini", "corpus", name)
    known: set[str] = set()
    rows: list[dict[str, Any]] = []
    while len(rows) < questions:
        gold, *rivals = make_passages(stream, 1 + _RIVALS, known)
        if wording is not None and not is_worded(gold.asks[0], gold.title, wording):
            continue
        known.update(passage.title for passage in (gold, *rivals))
        asked = gold.asks[0]
        contexts = [{**_document(one), "isgold": one is gold} for one in (gold, *rivals)]
        rows.append(
            {"question": asked.question, "answers": [asked.answer], "ctxs": contexts, "relation": asked.relation}
        )
    write_text(file, "".join(json.dumps(row) + "\n" for row in rows))
    return file


def _document(passage: Passage) -> dict[str, Any]:
    said = {ask.relation: ask.answer for ask in passage.asks}
    return {"title": passage.title, "text": passage.text, "said": said}


def guessing(corpus: Path, rows: Iterable[Mapping[str, Any]]) -> list[float]:
    """The F1 of guessing for each row of a real variant: the mean over all objects of the asked relation in its context."""
    read = [json.loads(line) for line in corpus.read_text().splitlines()]
    said = {f"{one['title']}\n{one['text']}": one["said"] for row in read for one in row["ctxs"]}
    relation = {row["question"]: row["relation"] for row in read}
    scores = []
    for row in rows:
        text, asked = row["prompt"][0]["content"], relation[row["question"]]
        documents = (said.get(text[one["start"] : one["end"]], {}) for one in row["documents"])
        objects = [document[asked] for document in documents if asked in document]
        scores.append(sum(answer_f1(one, row["answers"]) for one in objects) / max(len(objects), 1))
    return scores
