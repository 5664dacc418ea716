"""The Croissant metadata of a data set: its configs, files and columns, as search engines and other loaders read them.

It describes a folder that was built. The Hub makes its own for what is pushed, at /api/datasets/NAME/croissant.

Source: the Croissant format, version 1.0 (docs.mlcommons.org/croissant).
"""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from synthctx_data import CONTENT_VERSION
from synthctx_data.schema import MEANINGS, SCHEMA
from synthctx_data.task import Task

_FORMAT = "http://mlcommons.org/croissant/1.0"
_TERMS = (
    "citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes isLiveDataset jsonPath key md5 "
    "parentField path recordSet references regex repeated replace samplingRate separator source subField transform"
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS.split()},
}
_LICENSES = {
    "apache-2.0": "https://spdx.org/licenses/Apache-2.0.html",
    "cc-by-4.0": "https://spdx.org/licenses/CC-BY-4.0.html",
    "cc-by-sa-3.0": "https://spdx.org/licenses/CC-BY-SA-3.0.html",
}
_SPLIT = r"^(?:.*/)?(\w+)-\d+-of-\d+\.parquet$"


def croissant(task: Task, configs: Iterable[str], licenses: Iterable[str], citation: str) -> dict[str, Any]:
    """The metadata of a task's configs, as JSON-LD. Files are named relative to the file that holds it."""
    names = list(configs)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _FORMAT,
        "name": task.name,
        "version": CONTENT_VERSION,
        "description": f"Long contexts for synthetic context extension, in {len(names)} variants. {task.asks}",
        "license": [_LICENSES.get(one, one) for one in licenses],
        "citeAs": citation,
        "keywords": ["long-context", "synthetic", "needle-in-a-haystack", "question answering"],
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": f"{name}/files",
                "name": f"files of {name}",
                "encodingFormat": "application/x-parquet",
                "includes": f"{name}/*.parquet",
            }
            for name in names
        ],
        "recordSet": [_records(name) for name in names],
    }


def _records(config: str) -> dict[str, Any]:
    files = {"fileSet": {"@id": f"{config}/files"}}
    split = {
        "@type": "cr:Field",
        "@id": f"{config}/split",
        "name": "split",
        "description": "train or validation, from the name of the file",
        "dataType": "sc:Text",
        "source": {**files, "extract": {"fileProperty": "fullpath"}, "transform": {"regex": _SPLIT}},
    }
    return {
        "@type": "cr:RecordSet",
        "@id": config,
        "name": config,
        "key": {"@id": f"{config}/id"},
        "field": [split, *(_field(config, column, files) for column in SCHEMA)],
    }


def _field(config: str, column: pa.Field, files: dict[str, Any]) -> dict[str, Any]:
    """A column. One that holds several structs has a sub-field for each part of them."""
    many = pa.types.is_list(column.type)
    inner = column.type.value_type if many else column.type
    name = f"{config}/{column.name}"
    source = {**files, "extract": {"column": column.name}}
    made = {"@type": "cr:Field", "@id": name, "name": column.name, "description": MEANINGS[column.name]}
    made |= {"repeated": True} if many else {}
    if not pa.types.is_struct(inner):
        return {**made, "dataType": _type(inner), "source": source}
    parts = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{part.name}",
            "name": part.name,
            "dataType": _type(part.type),
            "source": {**source, "transform": {"jsonPath": part.name}},
        }
        for part in inner
    ]
    return {**made, "subField": parts}


def _type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
