"""Sets of which something is missing, or whose rows lack something: `synthctx check` says what, and `show` and `push` do not choke."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.build import build_variant
from builders.shards import Build
from synthctx_data.options import Options
from synthctx_data.schema import SCHEMA
from tests.commands import Ran, synthctx

VARIANT = "symbolic_haystack"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "mdqa_synth"
    build_variant(Build("mdqa_synth", VARIANT, Options(max_tokens=1024, train=9, validation=3), folder, 3))
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "mdqa_synth")) / VARIANT


def check(folder: Path) -> Ran:
    return synthctx("check", folder.parent, cwd=folder.parent.parent)


def test_a_whole_set_is_compared_with_its_manifest(folder: Path) -> None:
    ran = check(folder)
    assert ran.returncode == 0, ran.stdout
    assert f"fingerprint {json.loads((folder / 'build.json').read_text())['fingerprint']}" in " ".join(
        ran.stdout.split()
    )
    (folder / "build.json").unlink()
    assert "not compared: there is no build.json" in check(folder).stdout


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a split": (
        lambda f: [one.unlink() for one in f.glob("validation-*")],
        "promises 3 rows of validation, and the files have 0",
    ),
    "a shard": (lambda f: (f / "train-00001-of-00003.parquet").unlink(), "train-00001-of-00003.parquet is missing"),
    "a shard named twice": (
        lambda f: shutil.copy(f / "train-00001-of-00003.parquet", f / "train-00001-of-00004.parquet"),
        "promises 9 rows of train, and the files have 12",
    ),
    "a shard of another split": (
        lambda f: (f / "train-00001-of-00003.parquet").rename(f / "test-00001-of-00003.parquet"),
        "promises 0 rows of test, and the files have 3",
    ),
    "a shard in place of another": (
        lambda f: shutil.copy(f / "train-00001-of-00003.parquet", f / "train-00002-of-00003.parquet"),
        "row 6 of train is",
    ),
}


@pytest.mark.parametrize("damage", FILES)
def test_missing_files_are_faults(folder: Path, damage: str) -> None:
    change, said = FILES[damage]
    change(folder)
    ran = check(folder)
    assert ran.returncode == 1
    assert said in " ".join(ran.stdout.split())


ENTRIES = {
    "task": ("musique_synth", "where musique_synth/symbolic_haystack/"),
    "variant": ("symbolic_padding", "is that of the variant 'symbolic_padding'"),
    "train": (10, "promises 10 rows of train"),
    "fingerprint": ("0123456789abcdef", "its fingerprint 0123456789abcdef is not that of its other entries"),
    "seed": (1, "was changed: its fingerprint"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_manifest_of_something_else_is_a_fault(folder: Path, name: str) -> None:
    value, said = ENTRIES[name]
    manifest = {**json.loads((folder / "build.json").read_text()), name: value}
    (folder / "build.json").write_text(json.dumps(manifest))
    ran = check(folder)
    assert ran.returncode == 1
    assert said in " ".join(ran.stdout.split())


FORMS = {
    "depth": [5, None],
    "max_tokens": ["1024", [1024], 0, None],
    "task": [None, 3],
    "mixture": [{}, [3], [{"made": {"variant": 5}}], [{"made": {"mixture": [5]}}]],
    "budgets": [["a"], [0, 0]],
    "questions": [0],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FORMS.items() for value in values])
def test_a_manifest_of_another_form_is_told(folder: Path, name: str, value: Any) -> None:
    manifest = {**json.loads((folder / "build.json").read_text()), name: value}
    (folder / "build.json").write_text(json.dumps(manifest))
    ran = check(folder)
    assert ran.returncode == 1
    assert f"build.json to be what synthctx wrote, and it is not: {name}" in ran.stderr


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "no JSON", "3"])
def test_a_manifest_that_is_none_is_told(folder: Path, content: str) -> None:
    (folder / "build.json").write_text(content)
    assert "it is no JSON object" in check(folder).stderr


def put(row: dict[str, Any], path: str, value: Any) -> None:
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in way:
        row = row[part]
    row[last] = value  # type: ignore[index]


LACKING = ["id", "answers", "question", "num_tokens", "needles", "documents", "prompt", "writer", "answers.0"]
LACKING += ["needles.0", "documents.0", "needles.0.start", "prompt.0", "prompt.0.content", "completion.0.role"]


@pytest.mark.parametrize(("path", "value"), [*((path, None) for path in LACKING), ("prompt", []), ("completion", [])])
@pytest.mark.parametrize("command", ["check", "show"])
def test_rows_that_lack_something_are_told(folder: Path, command: str, path: str, value: Any) -> None:
    change_first(folder, path, value)
    place = folder.parent if command == "check" else f"{folder.parent}:{VARIANT}"
    ran = synthctx(command, place, cwd=folder.parent)
    assert ran.returncode == 1
    assert "train-00000-of-00003.parquet is damaged: expected " in ran.stderr
    assert path.split(".", maxsplit=1)[0] in ran.stderr


@pytest.mark.parametrize("document", [-1, 999])
def test_a_needle_in_no_document_is_told(folder: Path, document: int) -> None:
    change_first(folder, "needles.0.document", document)
    assert "needle 0 is" in " ".join(check(folder).stdout.split())
    ran = synthctx("show", f"{folder.parent}:{VARIANT}", cwd=folder.parent)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"needle 0 is in document {document} of" in ran.stderr


def test_a_pipe_in_place_of_a_shard_is_told(folder: Path) -> None:
    shard = folder / "train-00000-of-00003.parquet"
    shard.unlink()
    os.mkfifo(shard)
    for command, place in (("check", folder.parent), ("show", f"{folder.parent}:{VARIANT}")):
        assert "to be a file" in synthctx(command, place, cwd=folder.parent).stderr


def change_first(folder: Path, path: str, value: Any) -> None:
    file = folder / "train-00000-of-00003.parquet"
    rows = pq.read_table(file).to_pylist()
    put(rows[0], path, value)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), file)
