"""Rewards for reinforcement learning on rows, as TRL's trainers call them: lists in, a number in [0, 1] for each completion out.

    GRPOTrainer(model=..., reward_funcs=[answer_reward, evidence_reward], train_dataset=synthctx.load("PLACE:VARIANT"), ...)

No reward is raised by saying a thing twice, by citing all documents, or by copying the context: such completions get what they would by
chance, and that is taken off.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from synthctx_data.evidence import answer_behind_evidence
from synthctx_data.example import is_citation
from synthctx_data.metrics import answer_f1, citations, set_score
from training.answer_text import bare_answer

Completion = str | Sequence[Mapping[str, str]]
_QUOTE = re.compile(r'^[^\S\n]*"(.+)"[^\S\n]*$', re.MULTILINE)
_ROW = ("prompt", "answers", "documents", "needles")  # columns that a reward reads; TRL keeps `completion` to itself


def answer_reward(prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> list[float]:
    """The F1 of each answer, by words; of rows that cite documents, the F1 of the citations above that of citing all of them.

    What follows "Answer:" is the answer, if that is there. Thoughts are left out.

    Raises: KeyError if the rows lack columns of synthctx.
    """
    return [
        _citations(row, text)
        if is_citation(row["answers"][0])
        else answer_f1(answer_behind_evidence(text), row["answers"])
        for row, text in _pairs(prompts, completions, columns)
    ]


def evidence_reward(prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> list[float]:
    """How well the lines that each completion quotes are its needles, above what quoting all documents gets.

    This is for rows that ask for evidence (build --completion evidence). A quotation is a line in double quotes. Precision is the share
    of the quoted characters that lie in a needle; what the context does not hold, word for word, lies in none. Recall is the share of the
    needles whose answer is quoted. The reward is their harmonic mean.

    Raises: KeyError if the rows lack columns of synthctx.
    """
    return [_evidence(row, text) for row, text in _pairs(prompts, completions, columns)]


def _pairs(
    prompts: Sequence[Any], completions: Sequence[Completion], columns: Mapping[str, Sequence[Any]]
) -> list[tuple[dict[str, Any], str]]:
    """Each row, with the text of its completion."""
    names = [name for name in _ROW if name != "prompt"]
    rows = zip(*(columns[name] for name in names), strict=True)
    return [
        ({"prompt": prompt, **dict(zip(names, values, strict=True))}, bare_answer(_text(completion)))
        for prompt, values, completion in zip(prompts, rows, completions, strict=True)
    ]


def _text(completion: Completion) -> str:
    return completion if isinstance(completion, str) else completion[-1]["content"]


def _citations(row: Mapping[str, Any], text: str) -> float:
    gold = citations(row["answers"][0])
    every = set_score(frozenset(range(1, len(row["documents"]) + 1)), gold).f1
    return _above(set_score(citations(text), gold).f1, every)


def _evidence(row: Mapping[str, Any], text: str) -> float:
    prompt = row["prompt"][0]["content"]
    held: set[int] = set()  # characters of the prompt that are quoted
    strange = 0  # quoted characters that it does not hold
    for quoted in dict.fromkeys(" ".join(found[1].split()) for found in _QUOTE.finditer(text)):
        found = re.search(r"\s+".join(map(re.escape, quoted.split())), prompt) if quoted else None
        strange += 0 if found else len(quoted)
        held.update(range(*found.span()) if found else ())
    documents = {i for one in row["documents"] for i in range(one["start"], one["end"])}
    return _above(_overlap(row, held, strange), _overlap(row, documents, 0))


def _overlap(row: Mapping[str, Any], held: set[int], strange: int) -> float:
    needles = row["needles"]
    inside = {i for one in needles for i in range(one["start"], one["end"])}
    right = len(held & inside)
    if not right:
        return 0.0
    precision = right / (len(held) + strange)
    recall = sum(held.issuperset(range(one["answer_start"], one["answer_end"])) for one in needles) / len(needles)
    return 2 * precision * recall / (precision + recall)


def _above(score: float, chance: float) -> float:
    """A score as its distance from chance to 1; 0 below chance."""
    return max(score - chance, 0.0) / (1 - chance) if chance < 1 else 0.0
