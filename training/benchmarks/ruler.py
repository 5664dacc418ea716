"""RULER (Hsieh et al. 2024): needles in haystacks, variable tracking, word counts and questions, as its `prepare.py` writes them.

Source: github.com/NVIDIA/RULER, scripts/data/synthetic and scripts/eval/synthetic/constants.py
"""

import re
from collections.abc import Mapping
from typing import Any

from training.benchmarks.entries import Entry

METRIC = "string_match"
# What the prompt of a kind of task says, the task, and the most tokens of its answer.
_KINDS = (
    ("special magic", "niah", 128),
    ("variables that are assigned the value", "vt", 30),
    ("most common words", "cwe", 120),
    ("most frequently appeared", "fwe", 50),
    ("based on the given documents", "qa", 32),
)
_TASK = re.compile(r"niah_\w+|vt|cwe|fwe|qa_\d+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f]")


def row(entry: Entry) -> dict[str, Any]:
    """The row of an entry. The words that begin the answer, which RULER puts behind the prompt of every model, are its `prefill`."""
    asked = entry.text("input")
    said = asked[-2000:] + asked[:2000]  # not in the haystack
    kind, most = next(((kind, most) for words, kind, most in _KINDS if words in said), ("", 0))
    if not kind:
        entry.refuse("input", "a prompt of niah, vt, cwe, fwe or qa")
    names = [entry.file.name.split(".", 1)[0], entry.file.parent.name]
    return entry.row(
        next((name for name in names if _TASK.fullmatch(name)), kind),
        asked,
        entry.texts("outputs"),
        most,
        kind=kind,
        prefill="" if entry.values.get("answer_prefix") is None else entry.text("answer_prefix"),
        num_tokens=entry.number_of("length"),
    )


def score(row: Mapping[str, Any], prediction: str) -> float:
    """The share of the answers that stand in the prediction; of questions, 1 if one of them does. Case does not count."""
    said = _UNPRINTABLE.sub("\n", prediction.strip()).lower()
    found = [answer.lower() in said for answer in row["answers"]]
    return float(any(found)) if row["kind"] == "qa" else sum(found) / len(found)
