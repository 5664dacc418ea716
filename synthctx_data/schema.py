"""The Arrow schema of a row, and tables of examples."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from synthctx_data.errors import DatasetError
from synthctx_data.example import Example, PlacedNeedle, Step
from synthctx_data.wording import shared_words

_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
_SPAN_FIELDS = ("start", "end")
_SOURCE_FIELDS = ("source", "license")
_NEEDLE_FIELDS = ("document", "hop", "start", "end", "answer_start", "answer_end")

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", pa.list_(_MESSAGE)),
        ("completion", pa.list_(_MESSAGE)),
        ("question", pa.string()),
        ("answers", pa.list_(pa.string())),
        ("decomposition", pa.list_(pa.struct([(name, pa.string()) for name in Step._fields]))),
        ("documents", pa.list_(pa.struct([(name, pa.int32()) for name in _SPAN_FIELDS]))),
        ("needles", pa.list_(pa.struct([(name, pa.int32()) for name in _NEEDLE_FIELDS]))),
        ("sources", pa.list_(pa.struct([(name, pa.string()) for name in _SOURCE_FIELDS]))),
        ("num_tokens", pa.int32()),
        ("shared_words", pa.float32()),
        ("concept_expression", pa.string()),
        ("context_diversity", pa.string()),
        ("writer", pa.string()),
    ]
)

MEANINGS = {
    "id": "TASK/VARIANT/SPLIT/INDEX",
    "prompt": "chat messages: one of the user, with the documents and the question",
    "completion": "chat messages: one of the assistant, with the right answer",
    "question": "the question",
    "answers": "every answer that is right",
    "decomposition": "the questions of the hops, with their answers; empty for questions of one hop",
    "documents": "where each document stands in the user's message, in characters from 0, the end not included",
    "needles": "for each hop or insight: its document and where needle and answer stand, in characters of the user's message",
    "sources": "the distinct sources of the documents, with their licences, where they are known",
    "num_tokens": "tokens of the whole training sequence, under the tokenizer that the set was built for",
    "shared_words": "the share of the question's words, names aside, that its needles' documents hold, in [0, 1]",
    "concept_expression": "how real the needles are: real, grounded, llm, templated or symbolic",
    "context_diversity": "what stands around the needles: haystack or padding",
    "writer": "the language model that wrote the needles or the question; empty where none did",
}  # of each column, in a few words

_MAY_LACK = {"shared_words"}  # columns of which a row may have no value
_FILLED = ("prompt", "completion")  # columns of lists that hold something in every row


def require_values(rows: pa.RecordBatch | pa.Table, place: str) -> None:
    """Raises: DatasetError if a row lacks a value that every row has, however deep in it. `place` names the rows in the message."""
    for name in SCHEMA.names:
        column = rows.column(name)
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        lacking = "" if name in _MAY_LACK else _lacking(column, name)
        if not lacking and name in _FILLED and len(column) and pc.min(pc.list_value_length(column)).as_py() == 0:
            lacking = f"a message in {name}"
        if lacking:
            raise DatasetError(
                f"{place} is damaged: expected {lacking} in every row, and one has none; build the data set again"
            )


def _lacking(values: pa.Array, name: str) -> str:
    """The name of a value that is null somewhere; empty if none is."""
    if values.null_count:
        return name
    if pa.types.is_list(values.type):
        return _lacking(values.flatten(), name)
    if pa.types.is_struct(values.type):
        inner = (
            _lacking(values.field(i), f"{name}.{values.type.field(i).name}") for i in range(values.type.num_fields)
        )
        return next(filter(None, inner), "")
    return ""


def to_table(examples: Sequence[Example]) -> pa.Table:
    """An Arrow table of SCHEMA, with a row for each example."""
    columns = [
        pa.array([example.id for example in examples], pa.string()),
        _messages("user", [example.prompt for example in examples]),
        _messages("assistant", [example.completion for example in examples]),
        pa.array([example.question for example in examples], pa.string()),
        pa.array([example.answers for example in examples], pa.list_(pa.string())),
        _texts("decomposition", Step._fields, [example.steps for example in examples]),
        _records(_SPAN_FIELDS, [np.frombuffer(example.edges, np.intc) for example in examples]),
        _records(_NEEDLE_FIELDS, [np.ravel([_flat(needle) for needle in example.needles]) for example in examples]),
        _texts("sources", _SOURCE_FIELDS, [example.sources for example in examples]),
        pa.array([example.num_tokens for example in examples], pa.int32()),
        pa.array(map(_shared_words, examples), pa.float32()),
        pa.array([example.concept_expression for example in examples], pa.string()),
        pa.array([example.context_diversity for example in examples], pa.string()),
        pa.array([example.writer for example in examples], pa.string()),
    ]
    return pa.table(columns, schema=SCHEMA)


def _shared_words(example: Example) -> float | None:
    edges = example.edges
    holding = [edges[2 * needle.document : 2 * needle.document + 2] for needle in example.needles]
    return shared_words(example.question, [example.prompt[start:end] for start, end in holding])


def _flat(needle: PlacedNeedle) -> tuple[int, ...]:
    return (needle.document, needle.hop, *needle.span, *needle.answer)


def _messages(role: str, contents: Sequence[str]) -> pa.Array:
    """A column of conversations of one message each."""
    fields = [pa.array([role] * len(contents), pa.string()), pa.array(contents, pa.string())]
    messages = pa.StructArray.from_arrays(fields, fields=list(_MESSAGE))
    return pa.ListArray.from_arrays(pa.array(range(len(contents) + 1), pa.int32()), messages)


def _texts(column: str, names: Sequence[str], rows: Sequence[Sequence[Sequence[str]]]) -> pa.Array:
    """A column of lists of records of texts."""
    records = [[dict(zip(names, record, strict=True)) for record in row] for row in rows]
    return pa.array(records, SCHEMA.field(column).type)


def _records(names: Sequence[str], rows: Sequence[NDArray[np.int_ | np.intc]]) -> pa.Array:
    """A column of lists of records of integers, made of flat rows: dictionaries would cost more than making the examples."""
    width = len(names)
    offsets = np.cumsum([0, *(len(row) // width for row in rows)], dtype=np.int32)
    flat = np.concatenate([np.empty(0, np.int32), *rows]).astype(np.int32)
    fields = [pa.array(np.ascontiguousarray(flat[i::width])) for i in range(width)]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(fields, names=list(names)))
