"""The recall and RAG rows of HELMET (Yen et al. 2025): keys and values in JSON, and questions on passages of Wikipedia.

Its RULER rows are read as those of ruler. Demonstrations of RAG lie in a file of their own and are left out: all is asked without one.

Source: github.com/princeton-nlp/HELMET, data.py and utils.py
"""

from collections.abc import Mapping
from typing import Any

from synthctx_data.corpora import encodes
from synthctx_data.metrics import normalize_answer
from training.benchmarks.entries import Entry

METRIC = "substring_em"
_RAG = """\
{context}

Answer the question below from the documents above. Give the answer alone, in a few words.

Question: {question}"""
_RECALL = """\
{context}

Give the value of the key below in the JSON object above, and nothing else.

Key: {question}"""
_RAG_TOKENS, _RECALL_TOKENS = 20, 100


def row(entry: Entry) -> dict[str, Any]:
    """The row of an entry: of json_kv if it has a context, else of RAG, with its passages in order."""
    question = entry.text("question")
    if "ctxs" not in entry.values:
        asked = entry.prompt("json_kv", _RECALL, context=entry.text("context"), question=question)
        return entry.row("json_kv", asked, entry.texts("answer"), _RECALL_TOKENS)
    try:
        parts = [(one["title"], one["text"]) for one in entry.values["ctxs"]]
    except (TypeError, KeyError):
        parts = []
    if not parts or not all(isinstance(text, str) and encodes(text) for part in parts for text in part):
        entry.refuse("ctxs", "passages, each with title and text")
    passages = [f"Document (Title: {title}): {text}" for title, text in parts]
    asked = entry.prompt("rag", _RAG, context="\n\n".join(passages), question=question)
    return entry.row("rag", asked, entry.texts("answers"), _RAG_TOKENS)


def score(row: Mapping[str, Any], prediction: str) -> float:
    """1 if the prediction holds one of the answers, all of them normalised; else 0."""
    said = normalize_answer(prediction)
    return float(any(normalize_answer(answer) in said for answer in row["answers"]))
