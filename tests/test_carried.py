"""Files on their way to machines that have none of them: what is built there is what is built here."""

import contextlib
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from builders import carried, find_task
from builders.carried import carry, unpack
from builders.examples import Examples
from builders.writing.sample import load_sample
from builders.writing.store import AnswerStore
from synthctx_data.errors import BuildError
from synthctx_data.options import Options


class Cluster:
    """The memory of a cluster: pieces by number, and how often each was fetched."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.fetched: Counter[int] = Counter()

    def put(self, piece: bytes) -> int:
        self.pieces.append(piece)
        return len(self.pieces) - 1

    def get(self, number: int) -> bytes:
        self.fetched[number] += 1
        return self.pieces[number]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another machine's folder for temporary files."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    return tmp_path / "elsewhere"


def test_a_build_elsewhere_has_the_rows_of_one_here(tmp_path: Path, machine: Path) -> None:
    for name in ("one/a.md", "two/a.md", "two/deep/b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        texts = (f"The river {name} {i} flows past mill {i * i}. " * 9 for i in range(60))
        (tmp_path / name).write_text("\n\n".join(texts))
    cluster = Cluster()
    with contextlib.chdir(tmp_path):
        options = Options(max_tokens=1024, train=4, validation=1, corpus=("one", "two"))
        here = Examples(find_task("mdqa_synth"), "templated_haystack", options)
        rows, identity = [here.make("train", i) for i in range(4)], here.description()
        sent, luggage = carry(options, cluster.put)
    for folder in ("one", "two"):
        shutil.rmtree(tmp_path / folder)
    for _ in range(3):
        there = Examples(find_task("mdqa_synth"), "templated_haystack", unpack(sent, luggage, cluster.get))
        assert [there.make("train", i) for i in range(4)] == rows
        assert there.description() == identity
    assert set(cluster.fetched.values()) == {1}
    assert len(cluster.pieces) == 3


def test_large_files_go_in_pieces(tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried, "_PIECE", 7)
    file = tmp_path / "texts.txt"
    file.write_bytes(os.urandom(100))
    cluster = Cluster()
    sent, luggage = carry(Options(corpus=(str(file),)), cluster.put)
    (place,) = unpack(sent, luggage, cluster.get).corpus
    assert Path(place).read_bytes() == file.read_bytes()
    assert Path(place).is_relative_to(machine)
    assert len(cluster.pieces) == 15


def test_a_store_is_carried_as_it_is_at_that_moment(tmp_path: Path, machine: Path) -> None:
    store = AnswerStore(tmp_path / "answers.sqlite")
    answer = next(iter(load_sample().values()))
    store.keep(answer)  # which stands in the file beside it
    cluster = Cluster()
    sent, luggage = carry(Options(store=str(tmp_path / "answers.sqlite")), cluster.put)
    place = unpack(sent, luggage, cluster.get).store
    assert place
    assert list(AnswerStore(Path(place), read=True)) == [answer]


def test_names_of_the_hub_and_of_stores_stay(machine: Path) -> None:
    options = Options(corpus=("me/questions", "s3://bucket/texts"), tokenizer="me/model")
    sent, luggage = carry(options, Cluster().put)
    assert unpack(sent, luggage, Cluster().get) == sent == options


def test_a_folder_of_somebody_else_is_not_read(tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "texts.txt").write_text("A text.")
    cluster = Cluster()
    sent, luggage = carry(Options(corpus=(str(tmp_path / "texts.txt"),)), cluster.put)
    (machine / "synthctx-77").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 77)
    with pytest.raises(BuildError, match=r"expected .* to be a folder of this user, and it is another's"):
        unpack(sent, luggage, cluster.get)
