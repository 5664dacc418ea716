"""What would take all memory, or for ever, is refused in one line; what would be missed in silence is said."""

import gzip
import os
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from synthctx_data import corpus_files, tokens
from synthctx_data.corpora import read_corpus
from synthctx_data.errors import CorpusError, TokenizerError, UsageError
from synthctx_data.files import expanded, parse_json, parse_yaml, read_yaml
from tests.commands import started, synthctx, wait_until

GIB = 2**30


@pytest.mark.parametrize("rows", [10**12, 10**18, 10**30])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_more_rows_than_anybody_builds_are_refused(tmp_path: Path, split: str, rows: int) -> None:
    ran = synthctx("build", "mdqa_synth", "symbolic_padding", f"--{split}", rows, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"synthctx: --{split}: expected less than or equal to 100000000, got")


def bomb() -> str:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    return "\n".join(levels)


@pytest.mark.parametrize("text", [bomb(), "a: &a [*a]", "[" * 10_000, "{a: " * 5_000])
def test_yaml_that_grows_without_measure_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises((ValueError, yaml.YAMLError)):
        parse_yaml(text)
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"^--prices: expected a table, and .*p\.yaml cannot be read"):
        read_yaml(tmp_path / "p.yaml", "--prices: expected a table")


def test_yaml_with_aliases_is_read() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {<<: {d: 3}}") == {"a": [1, 2], "b": [1, 2], "c": {"d": 3}}
    assert parse_yaml("") is None


def test_json_that_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        parse_json("[" * 200_000)


def test_a_pipe_in_place_of_options_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.yaml")
    with pytest.raises(UsageError, match="it is no file"):
        read_yaml(tmp_path / "p.yaml", "--config: expected options")


def _gzip(file: Path, start: bytes, piece: bytes, times: int) -> None:
    with gzip.open(file, "wb", compresslevel=1) as to:
        to.write(start)
        for _ in range(times):
            to.write(piece)


BOMBS = {
    "bomb.jsonl.gz": lambda file: _gzip(file, b'{"text": "', b"word " * 200_000, 40),
    "bomb.txt.gz": lambda file: _gzip(file, b"", b"word " * 200_000, 40),
    "bomb.json.gz": lambda file: _gzip(file, b"[", b'"word", ' * 100_000, 40),
    "bomb.parquet": lambda file: pq.write_table(pa.table({"text": pa.array(["word " * 2_000_000] * 256)}), file),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_unpacks_to_much_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(corpus_files, "_MOST_FILE", 2**24)
    BOMBS[name](tmp_path / name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with pytest.raises(CorpusError, match=r"expected (rows of )?at most [\d,]+ bytes"):
        read_corpus([str(tmp_path / name)])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < GIB


def test_a_parquet_file_of_rows_as_usual_is_read_in_batches(tmp_path: Path) -> None:
    texts = [f"Passage {i} says {i * i}." for i in range(3000)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "texts.parquet", row_group_size=2000)
    assert [document.text for document in read_corpus([str(tmp_path / "texts.parquet")]).documents] == texts


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in" / "closed").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("Some text with words.")
    (tmp_path / "in" / "closed" / "b.txt").write_text("Other text with words.")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read all
    corpus = read_corpus([str(tmp_path / "in")])
    assert len(corpus.documents) == 1
    (note,) = corpus.passed.notes()
    assert note == f"folders that cannot be read, passed over: 1 ({tmp_path / 'in' / 'closed'})"
    with pytest.raises(CorpusError, match="closed cannot be read"):
        read_corpus([str(tmp_path / "in" / "closed")])


@pytest.mark.parametrize("path", ["~nosuchuser/x", "a\0b", "x" * 5000])
def test_what_cannot_be_a_path_is_told(path: str) -> None:
    with pytest.raises(UsageError, match=r"^expected a path, got"):
        expanded(path)


def test_sigterm_ends_a_build_cleanly(tmp_path: Path) -> None:
    command = (
        "build",
        "mdqa_synth",
        "symbolic_haystack",
        "--max-tokens",
        8192,
        "--train",
        600,
        "--shards",
        30,
        "--workers",
        2,
    )
    staging = tmp_path / "synthctx" / "mdqa_synth" / ".symbolic_haystack.partial"
    with started("-m", "builders", *command, cwd=tmp_path) as running:
        wait_until(lambda: list(staging.glob("train-*.parquet")), running)
        os.killpg(running.pid, signal.SIGTERM)
        _, said = running.communicate()
    assert running.returncode == 128 + signal.SIGTERM
    assert said.startswith("synthctx: interrupted; what is done lies in ")
    assert not list(staging.glob(".*.parquet.*"))


CARDS = [
    "license: 5",
    "license: [[a]]",
    "license: {a: b}",
    "dataset_info: [{config_name: x, splits: 5}]",
    "dataset_info: [{config_name: x, splits: [a]}]",
    "dataset_info: [{config_name: x, splits: [{num_examples: many}]}]",
    "dataset_info: 5",
    "configs: [x]",
    "configs: [{config_name: 5}]",
    "2020-01-01: x",
    "- a",
    "a: " + "[" * 5_000,
]


@pytest.mark.parametrize("head", CARDS)
def test_a_card_of_another_form_is_found_before_the_build(tmp_path: Path, head: str) -> None:
    card = tmp_path / "synthctx" / "mdqa_synth" / "README.md"
    card.parent.mkdir(parents=True)
    card.write_text(f"---\n{head}\n---\nMine.\n")
    sizes = ("--max-tokens", 512, "--train", 2, "--validation", 1, "--workers", 1)
    ran = synthctx("build", "mdqa_synth", "symbolic_padding", *sizes, cwd=tmp_path)
    assert ran.returncode == 1
    assert "README.md to begin with YAML that lists configs" in ran.stderr
    assert "mend or remove it" in ran.stderr
    assert [file.name for file in card.parent.rglob("*")] == ["README.md"]


@pytest.mark.parametrize("head", ["", "---\n---\n", "---\nlicense: mit\n---\n", "---\nconfigs:\n---\n"])
def test_a_card_of_somebody_else_is_brought_up_to_date(tmp_path: Path, head: str) -> None:
    card = tmp_path / "synthctx" / "mdqa_synth" / "README.md"
    card.parent.mkdir(parents=True)
    card.write_text(f"{head}Mine.\n")
    sizes = ("--max-tokens", 512, "--train", 2, "--validation", 1, "--workers", 1)
    assert synthctx("build", "mdqa_synth", "symbolic_padding", *sizes, cwd=tmp_path).returncode == 0
    assert "config_name: symbolic_padding" in card.read_text()
    assert "Mine." in card.read_text()


TEMPLATES = [
    "{{ 'a'|center(9999999999) }}",
    "{{ '%9999999999d'|format(1) }}",
    "{{ '{:>9999999999}'.format('x') }}",
    "{{ messages|tojson(indent=999999999) }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
    "{{ 'a' * 2000000 }}",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_chat_template_without_measure_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    monkeypatch.setattr(tokens, "_PROBE_SECONDS", 1)
    shutil.copytree(tokens.BUNDLED, tmp_path / "t")
    (tmp_path / "t" / "chat_template.jinja").write_text(template)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with pytest.raises(TokenizerError, match=r"chat template"):
        tokens.load_counter(str(tmp_path / "t"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < 1.5 * GIB
    tokens.load_counter(None).conversation("a", "b")


def test_a_key_file_without_an_end_is_refused(tmp_path: Path) -> None:
    command = ("--max-tokens", 512, "--train", 2, "--validation", 1, "--endpoint", "http://127.0.0.1:9/v1")
    ran = synthctx(
        "build", "mdqa_synth", "llm_padding", "--model", "m", *command, "--api-key-file", "/dev/zero", cwd=tmp_path
    )
    assert ran.returncode == 2
    assert "expected one key, on one line" in ran.stderr
    assert not list(tmp_path.rglob("*.sqlite"))


@pytest.mark.parametrize("content", ["", "[" * 100_000, "NaN\n", '{"task": 1}\n', "x" * 20_000_000])
def test_what_is_no_export_makes_no_store(tmp_path: Path, content: str) -> None:
    (tmp_path / "e.jsonl").write_text(content)
    ran = synthctx("answers", "import", "new.sqlite", "e.jsonl", cwd=tmp_path)
    assert ran.returncode == 1
    assert "synthctx answers export" in ran.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["e.jsonl"]


def test_a_cell_of_a_table_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\n" + "a " * 5_000_000)
    with pytest.raises(CorpusError, match="field larger than field limit"):
        read_corpus([str(tmp_path / "a.tsv")])
