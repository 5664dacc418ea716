"""Where heads look in the prompt while a model writes its own answer and the right one."""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase as Tokenizer

from analysis.attention import Call
from analysis.attention_scores import answer_rows, needle_columns, read_rows
from analysis.engine.conditions import ConditionAnswers, highest_heads
from analysis.heads import TRACE, Head, HeadScores
from analysis.options import TraceOptions
from analysis.self_check import evaluating
from analysis.spans import Tokens, characters_of, tokens_of, whole_needle
from synthctx_data.command import err, out, progress_bar, table
from synthctx_data.errors import SynthctxError, UsageError, first_line
from synthctx_data.files import write_json
from training.run_folder import default_folder

OWN, RIGHT = "own", "right"  # the answers that a row is read with
_ROWS = 4  # that are traced if none are named
_SPOTS = 64  # the tokens of the prompt that are kept, for each head and each token of an answer
_PARTS = ("id", "question", "right", "all_right", "own", "message", "documents", "needles", "answers")
_LEAST = 0.001  # of a head's attention
Row = dict[str, Any]
Trace = dict[str, Any]


def trace_folder(options: TraceOptions) -> Path:
    """The folder of the traces: `output`, or else one named after model, data and split."""
    return Path(options.output) if options.output else default_folder("traces", options)


def trace_heads(options: TraceOptions) -> Trace:
    """The traces of some rows, as trace.json has them: `heads` as "LAYER-HEAD", and `rows`, each as `trace_row` gives it.

    Raises: UsageError if model, data, rows or scores cannot be found; ConflictError if the folder holds the answers of another run.
    """
    scores, output = HeadScores.load(options.heads), trace_folder(options)
    heads = highest_heads(scores, options.top)
    answers = ConditionAnswers(options, output, {}, partial(_chosen, options))
    answers.require_shape(scores, "--heads")
    named = [f"{layer}-{head}" for layer, head in heads]
    known = _known(output / TRACE, named)
    own = answers.answers("none")
    missing = [row for row in answers.rows if row["id"] not in known]
    about = {"of": scores.about}

    def found() -> Trace:
        return {"about": about, "heads": named, "rows": [known[key] for key in sorted(known)]}

    with progress_bar("tracing", len(missing)) as advance:
        for row in missing:
            known[row["id"]] = trace_row(*answers.loaded, row, own[row["id"]], heads)
            write_json(output / TRACE, found())  # so that a kill loses one
            advance(1)
    answers.finish(TRACE, found())
    return found()


def _chosen(options: TraceOptions, rows: Iterable[Row]) -> Iterable[Row]:
    """The rows that are asked for, in the order of the data set."""
    if not options.rows:
        return islice(rows, options.limit or _ROWS)
    wanted = {*options.rows}
    found = [(number, row) for number, row in enumerate(rows) if {str(number), row["id"]} & wanted]
    missing = sorted(wanted - {str(number) for number, _ in found} - {row["id"] for _, row in found})
    if missing:
        raise UsageError(
            f"--rows: expected ids or numbers of rows of the {options.split} split of {options.data}, got {missing[0]!r}"
        )
    return [row for _, row in found]


def trace_row(model: Any, tokenizer: Tokenizer, row: Row, own: str, heads: Sequence[Head]) -> Trace:
    """The trace of a row: its text and spans, and under `answers` where the heads look, for the model's `own` answer and the right one.

    Each answer has its `tokens`, and `attention`[token][head]: the share on the `needles`, in [0, 1], and `spots`, the tokens of the
    prompt with most attention as [start, end, share], in characters of the user's message. An own answer that is empty, or that the
    chat template changes, is left out.
    """
    right = tokens_of(tokenizer, row)
    read = {RIGHT: (row, right)}
    if own.strip():
        answered = {**row, "completion": [{"role": "assistant", "content": own}]}
        try:
            read[OWN] = answered, tokens_of(tokenizer, answered)
        except SynthctxError as error:
            err.print(f"{row['id']}: the model's own answer is not traced: {first_line(error)}", soft_wrap=True)
    questions = [question for _, question in read.values()]
    most = right.prompt - 1  # columns from there on are not the same tokens for both answers
    with evaluating(model):
        found = read_rows(model, questions, [answer_rows(question) for question in questions], _looks(right, most))
    return {
        "id": row["id"],
        "question": row["question"],
        "right": row["completion"][0]["content"],
        "all_right": row["answers"],
        "own": own,
        "message": row["prompt"][0]["content"],
        "documents": [{name: one[name] for name in ("start", "end")} for one in row["documents"]],
        "needles": [
            {"document": needle["document"], **dict(zip(("start", "end"), whole_needle(needle), strict=True))}
            for needle in row["needles"]
        ],
        "answers": {
            name: _answer(tokenizer, of, question, torch.stack([looks[head] for head in heads], 1))
            for (name, (of, question)), looks in zip(read.items(), found, strict=True)
        },
    }


def _looks(question: Tokens, most: int) -> Any:
    """A function that reduces attention (head, row, key) to its share on the needles, and the tokens with most of it (head, row, ...)."""

    def reduce(call: Call, weights: Tensor, rows: Tensor) -> Tensor:
        inside = weights[..., :most]
        on_needles = (inside @ needle_columns([question], most, inside.device)).sum(-1, keepdim=True)
        highest = inside.topk(min(_SPOTS, most))
        return torch.cat([on_needles, highest.values, highest.indices.float()], -1)

    return reduce


def _answer(tokenizer: Tokenizer, row: Row, question: Tokens, looks: Tensor) -> Trace:
    """An answer's tokens, and their `looks` (token, head, ...), as JSON."""
    inside, texts = characters_of(tokenizer, row)
    attention = []
    for token in looks.tolist():
        of_heads = []
        for needles, *highest in token:
            shares, columns = highest[: len(highest) // 2], highest[len(highest) // 2 :]
            spots = [
                [*inside[int(column)], round(share, 4)]
                for share, column in zip(shares, columns, strict=True)
                if share >= _LEAST and inside[int(column)]
            ]
            of_heads.append({"needles": round(needles, 4), "spots": spots})
        attention.append(of_heads)
    return {"tokens": [texts[i] for i in question.answer], "attention": attention}


def _known(file: Path, heads: Sequence[str]) -> dict[str, Trace]:
    """The rows in a file of traces of the same heads, by id."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        rows = {row["id"]: row for row in found["rows"] if {*_PARTS} <= row.keys()}
        return rows if found["heads"] == heads else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def show_traces(found: Trace, output: Path) -> None:
    """Prints a table of heads: how much of their attention is on the needles while the model writes each answer."""
    rows = [
        (name, *(_said(on_needles(found["rows"], answer, head)) for answer in (OWN, RIGHT)))
        for head, name in enumerate(found["heads"])
    ]
    out.print(table({"head": "left", "own answers: on needles": "right", "right answers: on needles": "right"}, rows))
    out.print(f"{output}: {TRACE}", soft_wrap=True)
    out.print(f"To see it on the text:  python analysis/report.py {output}", soft_wrap=True)


def on_needles(rows: Sequence[Trace], answer: str, head: int) -> float | None:
    """The mean share of a head's attention on the needles, over all tokens of the answers of a kind; None if there are none."""
    shares = [
        token[head]["needles"] for row in rows for token in row["answers"].get(answer, {"attention": []})["attention"]
    ]
    return fmean(shares) if shares else None


def _said(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
