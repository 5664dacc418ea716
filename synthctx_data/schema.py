"""The Arrow schema of a row, and tables of examples."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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
