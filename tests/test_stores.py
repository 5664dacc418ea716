"""Stores such as S3: what is built, read and pushed there is what would be here, whatever the store does meanwhile."""

import gzip
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from s3fs import S3FileSystem

import synthctx as api
from builders.build import build_part, build_variant
from builders.parts import Part
from builders.shards import Build
from synthctx_data import locks
from synthctx_data.errors import ConflictError, SynthctxError, UsageError
from synthctx_data.options import Options
from synthctx_data.places import at, here, reached
from tests.commands import process, started, synthctx, wait_until
from tests.hub import environment, hub_server
from tests.stores import BUCKET, Store, store

PLACE = f"s3://{BUCKET}/sets"
OPTIONS = Options(max_tokens=1024, train=30, validation=5)
SIZES = ("--max-tokens", 1024, "--train", 30, "--validation", 5, "--shards", 5)
COMMAND = ("build", "mdqa_synth", "symbolic_haystack", *SIZES)


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    with store() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SYNTHCTX_CACHE", str(tmp_path / "cache"))
        S3FileSystem.clear_instance_cache()  # its clients have the address of an earlier store
        yield running


def job(folder: Path | str) -> Build:
    return Build("mdqa_synth", "symbolic_haystack", OPTIONS, at(folder) / "mdqa_synth", 5)


def files(build: Build) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in build.target.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    build = job(tmp_path_factory.mktemp("here"))
    build_variant(build)
    return files(build)


def test_a_set_in_a_store_is_the_set_here(there: Store, tmp_path: Path) -> None:
    assert synthctx(*COMMAND, "--output", "sets", cwd=tmp_path).returncode == 0
    ran = synthctx(*COMMAND, "--output", PLACE, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert f'synthctx.load("{PLACE}/mdqa_synth:symbolic_haystack")' in ran.stdout
    assert files(job(PLACE)) == files(job(tmp_path / "sets"))
    again = synthctx(*COMMAND, "--output", PLACE, cwd=tmp_path)
    assert "were there already" in again.stdout
    assert len(there.written(".parquet")) == 10
    address = f"{PLACE}/mdqa_synth:symbolic_haystack"
    for command in (("check",), ("show", "--split", "validation", "--index", 3)):
        shown = [
            synthctx(command[0], place, *command[1:], cwd=tmp_path).stdout
            for place in (address, "sets/mdqa_synth:symbolic_haystack")
        ]
        assert shown[0] == shown[1] != ""
    loaded = [api.load(place, "train")[:] for place in (address, str(tmp_path / "sets/mdqa_synth:symbolic_haystack"))]
    assert loaded[0] == loaded[1]


@pytest.mark.parametrize("fault", ["busy", "slow", "cut"])
def test_a_store_that_fails_now_and_then_gets_the_same_files(
    there: Store, undisturbed: dict[str, bytes], fault: str, tmp_path: Path
) -> None:
    count = 0

    def sometimes(method: str, path: str) -> str:
        nonlocal count
        count += 1
        return fault if count % 7 == 0 else ""

    there.fault = sometimes
    ran = synthctx(*COMMAND, "--output", PLACE, "--workers", 1, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert synthctx("check", f"{PLACE}/mdqa_synth", cwd=tmp_path).returncode == 0
    there.fault = lambda method, path: ""
    assert {name: data for name, data in files(job(PLACE)).items() if name in undisturbed} == undisturbed


def test_keys_that_expire_lose_nothing_that_was_done(there: Store, tmp_path: Path) -> None:
    there.fault = lambda method, path: "expired" if len(there.written(".parquet")) >= 4 else ""
    ran = synthctx(*COMMAND, "--output", PLACE, "--workers", 1, cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "expired" in ran.stderr
    assert "what is done is kept" in ran.stderr
    there.fault = lambda method, path: ""
    with pytest.raises(UsageError, match=r"expected a finished variant in .*, and symbolic_haystack is not"):
        api.check(f"{PLACE}/mdqa_synth:symbolic_haystack")
    with patch.object(locks, "_DEAD_SECONDS", 0.5):  # of the lease that could not be given up
        assert synthctx(*COMMAND, "--output", PLACE, "--workers", 1, cwd=tmp_path).returncode == 0
    assert sorted(there.written(".parquet")) == sorted({*there.written(".parquet")})


def test_two_drivers_that_race_double_nothing(there: Store, tmp_path: Path) -> None:
    sizes = ("--max-tokens", 2048, "--train", 3000, "--validation", 5, "--shards", 20, "--workers", 1)
    more = ("-m", "builders", "build", "mdqa_synth", "symbolic_haystack", *sizes, "--output", PLACE)
    with started(*more, cwd=tmp_path) as first:
        wait_until(lambda: bool(there.written(".parquet")), first)
        second = process(*more, cwd=tmp_path)
        _, said = first.communicate()
    assert first.returncode == 0, said
    assert second.returncode == 1
    assert "another process is building" in second.stderr
    assert sorted(there.written(".parquet")) == sorted({*there.written(".parquet")})


def test_parts_in_a_store_make_the_files_of_one_build(there: Store, undisturbed: dict[str, bytes]) -> None:
    missing = [len(build_part(job(PLACE), Part(number, 3))) for number in (2, 3, 1)]
    assert missing[0] > missing[1] > missing[2] == 0
    assert files(job(PLACE)) == undisturbed
    assert [file.name for file in job(PLACE).folder.iterdir()] == ["symbolic_haystack"]


def test_another_configuration_is_refused(there: Store) -> None:
    build_part(job(PLACE), Part(1, 3))
    other = Build("mdqa_synth", "symbolic_haystack", OPTIONS.model_copy(update={"seed": 1}), job(PLACE).folder, 5)
    with pytest.raises(ConflictError, match="another configuration"):
        build_variant(other)


def test_a_lease_has_one_holder_and_outlives_none(there: Store) -> None:
    folder, holders = at(PLACE), []
    with patch.multiple(locks, _RENEW_SECONDS=0.1, _DEAD_SECONDS=1.0, _LOOK_SECONDS=0.05):
        one = locks._Lease(folder, ".lock")
        one.take(0)
        with pytest.raises(locks.HeldError):
            locks._Lease(folder, ".lock").take(0)
        one._ended.set()  # as if it had been killed

        def contend() -> None:
            lease = locks._Lease(folder, ".lock")
            try:
                lease.take(0)
                holders.append(lease)
            except locks.HeldError:
                pass

        rivals = [threading.Thread(target=contend) for _ in range(4)]
        for rival in rivals:
            rival.start()
        for rival in rivals:
            rival.join()
        assert len(holders) == 1
        holders[0].give_up()
        one.give_up()
        locks._Lease(folder, ".lock").take(0)


def test_a_corpus_in_a_store_is_the_corpus_here(there: Store, tmp_path: Path) -> None:
    for name in ("one/a.md", "one/b.txt", "two/a.md"):
        text = "\n\n".join(f"The river {name} {i} flows past mill {i * i}. " * 9 for i in range(60))
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        (at(PLACE) / name).write_text(text)
    packed = gzip.compress(b'{"text": "A line about one river only."}\n')
    (tmp_path / "c.jsonl.gz").write_bytes(packed)
    (at(PLACE) / "c.jsonl.gz").write_bytes(packed)
    common = ("build", "mdqa_synth", "templated_haystack", *SIZES)
    for output, root in (("here", tmp_path), ("there", PLACE)):
        corpora = [word for name in ("one", "two", "c.jsonl.gz") for word in ("--corpus", f"{root}/{name}")]
        ran = synthctx(*common, *corpora, "--output", output, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
    built = [sorted((tmp_path / name).rglob("templated_haystack/*.*")) for name in ("here", "there")]
    pairs = [(a.read_bytes(), b.read_bytes()) for a, b in zip(*built, strict=True) if a.suffix in (".parquet", ".json")]
    assert len(pairs) == 11
    assert all(a == b for a, b in pairs)
    gets = len(there.log)
    assert here(f"{PLACE}/one") == here(f"{PLACE}/one")
    assert not [path for method, path in there.log[gets:] if method == "GET" and path.endswith("a.md")]


def test_a_set_in_a_store_is_pushed(there: Store, tmp_path: Path) -> None:
    assert synthctx(*COMMAND, "--output", PLACE, cwd=tmp_path).returncode == 0
    push = ("-m", "builders", "push", f"{PLACE}/mdqa_synth", "--repo", "me/set")
    with hub_server() as hub:
        ran = process(*push, cwd=tmp_path, **environment(hub, tmp_path))
        assert ran.returncode == 0, ran.stderr
        assert "unchanged" in process(*push, cwd=tmp_path, **environment(hub, tmp_path)).stdout
        assert process("-m", "builders", "check", "me/set", cwd=tmp_path, **environment(hub, tmp_path)).returncode == 0


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s33://bucket/x", "expected a folder, or an address such as s3://bucket/folder"),
        ("gs://bucket/x", r'pip install "synthctx\[gcs\]"'),
        ("hf://datasets/me/x", "synthctx push --from-variant"),
        ("s3://", "expected a folder, or an address|expected s3:// to be a place"),
        (
            "s3://no-such-bucket/x",
            "no-such-bucket/x to be a place that can be reached.*bucket does not exist",
        ),
        ("http://127.0.0.1:1/x", "to be a place that can be reached, and it cannot be"),
    ],
)
def test_what_cannot_be_written_is_told_in_one_line(there: Store, tmp_path: Path, place: str, said: str) -> None:
    ran = synthctx(*COMMAND, "--output", place, cwd=tmp_path)
    assert ran.returncode in (1, 2)
    assert ran.stderr.count("\n") == 1
    with pytest.raises(SynthctxError):
        api.check(f"{place}/mdqa_synth:symbolic_haystack")
    assert re.search(said, ran.stderr), ran.stderr
    assert [file.name for file in tmp_path.iterdir()] == []


def test_errors_of_a_place_here_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), reached(tmp_path):
        (tmp_path / "none").read_bytes()


def test_what_is_not_finished_is_not_read(there: Store) -> None:
    build_part(job(PLACE), Part(1, 3))
    for read in (api.load, api.check):
        with pytest.raises(UsageError, match=r"expected a finished variant in .*, and symbolic_haystack is not"):
            read(f"{PLACE}/mdqa_synth:symbolic_haystack")
