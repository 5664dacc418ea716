"""BABILong (Kuratov et al. 2024): facts of the bAbI tasks among the sentences of books. Files are those of its data sets: data/qa1/4k.json.

Source: github.com/booydar/babilong, babilong/metrics.py and scripts/run_model_on_babilong.py
"""

import re
from collections.abc import Mapping
from typing import Any

from synthctx_data.errors import UsageError
from training.benchmarks.entries import Entry

METRIC = "accuracy"
_TASK = re.compile(r"qa(?:[1-9]|1\d|20)")
_LENGTH = re.compile(r"(\d+)([kM])")
_ROOMS = "bathroom bedroom garden hallway kitchen office"
_LABELS = {
    **dict.fromkeys(["qa1", "qa2", "qa3", "qa4", "qa11", "qa12", "qa13"], _ROOMS),
    **dict.fromkeys(["qa6", "qa9", "qa17", "qa18"], "no yes"),
    "qa5": "bill fred jeff mary apple football milk",
    "qa7": "none one three two",
    "qa8": "apple football milk nothing",
    "qa10": "maybe no yes",
    "qa14": "bedroom cinema kitchen office park school",
    "qa15": "cat mouse sheep wolf",
    "qa16": "gray green white yellow",
    "qa19": "e,e e,n e,s n,e n,n n,w s,e s,s s,w w,n w,s w,w",
    "qa20": "bedroom bored garden hungry kitchen thirsty tired",
}
_OURS = """\
Facts are hidden in the text below. Answer the question behind it from these facts alone, with a word or two and nothing else.

<context>
{context}
</context>

Question: {question}"""
_ANSWER_TOKENS = 20
_ONE_LABEL = 3  # characters of a target with a comma that is one label, such as "n,e"


def row(entry: Entry) -> dict[str, Any]:
    """The row of an entry, of the task and the length that the path of its file names.

    Raises: UsageError if it names none.
    """
    names = [part.split(".", 1)[0] for part in entry.file.parts]
    tasks = [name for name in names if _TASK.fullmatch(name)]
    lengths = [found for name in names if (found := _LENGTH.fullmatch(name))]
    if not tasks or not lengths:
        raise UsageError(
            f"--data: expected the task and the length of BABILong in the path, such as babilong:data/qa1/4k.json, got {entry.file}"
        )
    asked = entry.prompt(tasks[-1], _OURS, context=entry.text("input").strip(), question=entry.text("question"))
    return entry.row(
        tasks[-1],
        asked,
        [entry.text("target")],
        _ANSWER_TOKENS,
        question=entry.text("question"),
        num_tokens=int(lengths[-1][1]) * (1024 if lengths[-1][2] == "k" else 1024**2),
    )


def score(row: Mapping[str, Any], prediction: str) -> float:
    """1 if the first sentence of the prediction names the label of the answer, and no other that the question does not name."""
    said = prediction.lower().split(".")[0].split("<context>")[0].split("<example>")[0]
    asked, target = row["question"].lower(), row["answers"][0].lower()
    named = {label for label in _LABELS[row["task"]].split() if label in said and label not in asked}
    several = "," in target and len(target) > _ONE_LABEL
    return float(named == set(target.split(",") if several else [target]))
