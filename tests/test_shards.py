import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.build import build_variant
from builders.shards import Build, corpus_of, examples_of, ranges, write_shard
from synthctx_data.errors import BudgetError, ConflictError, UsageError
from synthctx_data.manifest import read_manifest
from synthctx_data.options import Options
from tests.commands import ROOT, process, started, synthctx, wait_until
from tests.conftest import CORPUS, IDS, VARIANTS, options_for

OPTIONS = Options(max_tokens=1024, train=30, validation=5)


def digest(folder: Path) -> dict[str, str]:
    """sha256 of the rows of every split, in their order, whatever files they are in."""
    digests = {}
    for split in ("train", "validation"):
        digest = hashlib.sha256()
        for file in sorted(folder.glob(f"{split}-*.parquet")):
            for row in pq.read_table(file).to_pylist():
                digest.update(repr(row).encode())
        digests[split] = digest.hexdigest()
    return digests


def made(
    folder: Path,
    variant: str = "symbolic_haystack",
    options: Options = OPTIONS,
    shards: int | None = None,
    task: str = "mdqa_synth",
    **how: object,
) -> Path:
    job = Build(task, variant, options, folder, shards)
    build_variant(job, **how)
    return job.target


@given(st.integers(0, 300), st.integers(1, 40))
def test_ranges_share_all_numbers_evenly(size: int, count: int) -> None:
    parts = ranges(size, count)
    assert [n for part in parts for n in part] == list(range(size))
    assert not parts or max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(parts)


QUICK = {"mdqa_synth": "real_haystack", "musique_synth": "templated_padding", "summhay_synth": "symbolic_haystack"}
EACH = [pytest.param(*one, marks=() if QUICK[one[0]] == one[1] else pytest.mark.slow) for one in VARIANTS]


@pytest.mark.parametrize(("task", "variant"), EACH, ids=IDS)
def test_any_number_of_workers_and_shards_gives_the_same_rows(tmp_path: Path, task: str, variant: str) -> None:
    options = options_for(task, variant, train=9, validation=3)
    one = digest(made(tmp_path / "1", variant, options, task=task))
    assert one == digest(made(tmp_path / "2", variant, options, shards=3, workers=2, task=task))
    assert one == digest(made(tmp_path / "3", variant, options, shards=9, workers=3, task=task))


@pytest.mark.parametrize("seed", ["12345", pytest.param("0", marks=pytest.mark.slow)])
def test_a_second_process_with_another_hash_seed_gives_the_same_files(tmp_path: Path, seed: str) -> None:
    target = made(tmp_path / "here", "real_haystack", options_for("mdqa_synth", "real_haystack"))
    sizes = ("--max-tokens", 1024, "--train", 12, "--validation", 4, "--workers", 1)
    command = ("build", "mdqa_synth", "real_haystack", "--corpus", CORPUS, *sizes, "--output", tmp_path / "there")
    ran = process("-m", "builders", *command, cwd=tmp_path, PYTHONHASHSEED=seed)
    assert ran.returncode == 0, ran.stderr
    there = tmp_path / "there" / "mdqa_synth" / "real_haystack"
    for file in target.iterdir():
        assert (there / file.name).read_bytes() == file.read_bytes()


def start(folder: Path, workers: int) -> contextlib.AbstractContextManager["subprocess.Popen[str]"]:
    """A build of 31 shards, running."""
    sizes = ("--train", ROWS["train"], "--validation", ROWS["validation"], "--shards", 30, "--max-tokens", 8192)
    command = ("build", "mdqa_synth", "symbolic_haystack", *sizes, "--workers", workers, "--output", folder)
    return started("-m", "builders", *command, cwd=folder)


def shards(folder: Path) -> list[Path]:
    """Those that a build has written by now."""
    return list((folder / "mdqa_synth" / ".symbolic_haystack.partial").glob("train-*.parquet"))


ROWS = {"train": 210, "validation": 7}
INTERRUPTIONS = [
    (2, signal.SIGINT),
    pytest.param(1, signal.SIGINT, marks=pytest.mark.slow),
    pytest.param(1, signal.SIGKILL, marks=pytest.mark.slow),
    pytest.param(2, signal.SIGKILL, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("workers", "how"), INTERRUPTIONS)
def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path: Path, workers: int, how: signal.Signals) -> None:
    staging = tmp_path / "mdqa_synth" / ".symbolic_haystack.partial"
    target = tmp_path / "mdqa_synth" / "symbolic_haystack"
    with start(tmp_path, workers) as running:
        wait_until(lambda: len(shards(tmp_path)) >= 3, running)
        os.killpg(running.pid, how)
        _, said = running.communicate()
    assert running.returncode == (130 if how == signal.SIGINT else -how)
    if how == signal.SIGINT:
        assert said.splitlines()[-1].startswith("synthctx: interrupted; what is done lies in ")
        assert "Traceback" not in said
        assert not list(staging.glob(".*.parquet.*"))
    assert not target.exists()
    kept = {file: file.stat().st_mtime_ns for file in staging.glob("*.parquet")}
    assert 0 < len(kept) < 31
    with start(tmp_path, workers) as again:
        again.communicate()
    assert again.returncode == 0
    assert not staging.exists()
    for file, written in kept.items():
        assert (target / file.name).stat().st_mtime_ns == written
    whole = made(tmp_path / "whole", options=Options(**ROWS, max_tokens=8192))
    assert digest(target) == digest(whole)
    assert {file.suffix for file in target.iterdir()} == {".json", ".parquet", ".png"}


def test_a_killed_worker_does_not_stop_a_build(tmp_path: Path) -> None:
    with start(tmp_path, workers=2) as running:
        for killed in range(1, 4):
            wait_until(lambda killed=killed: len(shards(tmp_path)) >= 4 * killed, running)
            os.kill(workers_of(running)[0], signal.SIGKILL)
        _, said = running.communicate()
    assert running.returncode == 0, said
    there = tmp_path / "mdqa_synth" / "symbolic_haystack"
    assert digest(there) == digest(made(tmp_path / "whole", options=Options(**ROWS, max_tokens=8192)))


def test_workers_that_are_killed_again_and_again_end_a_build_with_one_line(tmp_path: Path) -> None:
    with start(tmp_path, workers=2) as running:
        wait_until(lambda: shards(tmp_path), running)
        while running.poll() is None:
            for worker in workers_of(running):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            time.sleep(0.02)
        _, said = running.communicate()
    assert running.returncode == 1
    last = said.splitlines()[-1]  # above it, there are lines of progress where a machine is slow
    assert re.fullmatch(
        r"synthctx: 3 worker processes in turn were killed while they wrote train-.* by SIGKILL\).*", last
    )
    assert shards(tmp_path)


def workers_of(running: "subprocess.Popen[str]") -> list[int]:
    """The worker processes of a build, the oldest first."""
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    if not children.exists():
        pytest.skip("needs /proc")

    def is_worker(pid: str) -> bool:
        with contextlib.suppress(OSError):
            return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

    return [int(pid) for pid in children.read_text().split() if is_worker(pid)]


def test_a_torn_shard_is_written_again_and_the_others_stay(tmp_path: Path) -> None:
    job = Build("mdqa_synth", "symbolic_haystack", OPTIONS, tmp_path, 3)
    build_variant(job)
    kept = {file.name: file.read_bytes() for file in job.target.glob("*.parquet")}
    job.target.rename(job.staging)
    first, second = (job.staging / f"train-0000{i}-of-00003.parquet" for i in (0, 1))
    first.write_bytes(first.read_bytes()[:5000])
    second.write_bytes(b"")
    written = {file: file.stat().st_mtime_ns for file in job.staging.glob("*.parquet") if file not in (first, second)}
    build_variant(job)
    assert kept == {file.name: file.read_bytes() for file in job.target.glob("*.parquet")}
    assert all((job.target / file.name).stat().st_mtime_ns == time for file, time in written.items())


def test_a_finished_variant_is_left_alone(tmp_path: Path) -> None:
    target = made(tmp_path)
    written = {file: file.stat().st_mtime_ns for file in target.iterdir()}
    assert build_variant(Build("mdqa_synth", "symbolic_haystack", OPTIONS, tmp_path)) is False
    assert written == {file: file.stat().st_mtime_ns for file in target.iterdir()}


def test_another_configuration_is_refused_and_named(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(ConflictError, match=r"seed 0 there, 1 asked for"):
        made(tmp_path, options=Options(max_tokens=1024, train=30, validation=5, seed=1))
    unfinished = tmp_path / ".templated_padding.partial"
    unfinished.mkdir()
    for name in ("build.json", "train-00000-of-00001.parquet"):
        shutil.copy(tmp_path / "symbolic_haystack" / name, unfinished)
    with pytest.raises(ConflictError, match=r"variant 'symbolic_haystack' there, 'templated_padding' asked for"):
        made(tmp_path, "templated_padding")


def test_a_build_that_came_to_no_shard_does_not_stand_in_the_way_of_another(tmp_path: Path) -> None:
    options = options_for("mdqa_synth", "real_haystack")
    with pytest.raises(BudgetError):  # the corpus is too small
        made(tmp_path, "real_haystack", options.model_copy(update={"max_tokens": 131072}))
    assert (tmp_path / ".real_haystack.partial").exists()
    made(tmp_path, "real_haystack", options)


def test_a_damaged_variant_is_refused_and_the_damage_named(tmp_path: Path) -> None:
    job = Build("mdqa_synth", "symbolic_haystack", OPTIONS, tmp_path, 2)
    build_variant(job)
    (shard,) = job.target.glob("train-00001-*")
    whole = shard.read_bytes()
    for damage, message in (
        (whole[:5000], "does not open"),
        (None, "does not open"),
        (smaller(shard), "expected 15 examples"),
    ):
        shard.unlink()
        if damage is not None:
            shard.write_bytes(damage)
        with pytest.raises(
            ConflictError, match=rf"is damaged.*train-00001.*{message}|is damaged.*{message}.*train-00001"
        ):
            build_variant(job)
        shard.write_bytes(whole)
    (job.target / "build.json").write_text("[]")
    with pytest.raises(ConflictError, match="is missing or does not parse"):
        build_variant(job)


def smaller(shard: Path) -> bytes:
    """The shard without its last row."""
    table = pq.read_table(shard)
    sink = pa.BufferOutputStream()
    pq.write_table(table.slice(0, table.num_rows - 1), sink)
    return sink.getvalue().to_pybytes()


def test_an_empty_folder_is_no_variant(tmp_path: Path) -> None:
    (tmp_path / "symbolic_haystack").mkdir()
    assert len(list(made(tmp_path).glob("*.parquet"))) == 2


@pytest.mark.slow
def test_a_second_build_of_the_same_variant_is_turned_away(tmp_path: Path) -> None:
    with start(tmp_path, 1) as running:
        wait_until(lambda: shards(tmp_path), running)
        second = synthctx("build", "mdqa_synth", "symbolic_haystack", "--output", tmp_path, cwd=tmp_path)
        assert second.returncode == 1
        assert "another process is building" in second.stderr
        running.communicate()
        assert running.returncode == 0


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    with start(tmp_path, workers=2) as running:
        wait_until(lambda: shards(tmp_path), running)
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        if not children.exists():
            pytest.skip("needs /proc")
        pids = children.read_text().split()
        running.kill()
        running.communicate()
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            time.sleep(0.05)


def test_a_folder_whose_name_looks_like_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert made(Path("run:1"), options=Options(max_tokens=512, train=3, validation=1)).exists()


def test_the_manifest_says_how_to_build_it_and_nothing_of_this_machine(tmp_path: Path) -> None:
    target = made(tmp_path, "real_haystack", options_for("mdqa_synth", "real_haystack"))
    text = (target / "build.json").read_text()
    assert str(CORPUS.parent) not in text
    assert read_manifest(target)["max_tokens"] == 1024
    assert len(read_manifest(target)["fingerprint"]) == 16


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_leaves_no_half_written_file(tmp_path: Path, workers: int) -> None:
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "sys.argv[1:] = ['build', 'mdqa_synth', 'symbolic_haystack', '--train', '40', '--shards', '2',"
        f"'--output', {str(tmp_path)!r}, '--workers', '{workers}']; from builders.commands import main;\n"
        "if __name__ == '__main__': main()"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    ran = process(script, cwd=ROOT)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("synthctx: OSError: [Errno 27] ")
    assert {file.name for file in tmp_path.rglob("*") if file.is_file()} == {
        "script.py",
        "build.json",
        ".symbolic_haystack.lock",
        ".took.jsonl",
    }


@pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1:99999", "127.0.0.1:1", "ray://127.0.0.1:1"])
def test_an_address_without_a_ray_cluster_is_refused_at_once(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match=r"--ray.*(expected auto, HOST:PORT|nothing answers there)"):
        made(tmp_path, ray=address)


@pytest.mark.slow
def test_ray_gives_the_same_files_whatever_is_killed(tmp_path: Path) -> None:
    """The head was started in another folder, and paths are relative. Workers are lost, and then the head."""
    corpus, port = tmp_path / "texts.txt", free_port()
    corpus.write_text("\n\n".join(f"Passage {i} says {i * i}. " * 20 for i in range(200)))
    command = (
        "build",
        "mdqa_synth",
        "templated_haystack",
        "--corpus",
        "texts.txt",
        "--max-tokens",
        4096,
        "--train",
        1500,
    )
    sizes = ("--validation", 2, "--shards", 30, "--output")
    there = tmp_path / "ray" / "mdqa_synth"
    ray = ("--ray", f"127.0.0.1:{port}")
    with ray_head(port) as head, started("-m", "builders", *command, *sizes, "ray", *ray, cwd=tmp_path) as running:
        for killed in (1, 2):
            wait_until(lambda killed=killed: len(list(there.glob(".*/train*.parquet"))) >= killed, running)
            kill(f"raylet.*{head}", "ray::shard_task")
        wait_until(lambda: len(list(there.glob(".*/train*.parquet"))) >= 4, running)
        for part in ("gcs_server", "raylet"):
            kill(f"{part}.*{head}")
        _, said = running.communicate()
        assert running.returncode == 1
        last = said.splitlines()[-1]
        assert re.fullmatch(
            r"synthctx: --ray \S+: (the head|the connection|3 workers in turn).* [Ww]hat is done is kept.*", last
        )
    with ray_head(port):
        ran = process("-m", "builders", *command, *sizes, "ray", *ray, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
    assert process("-m", "builders", *command, *sizes, "here", cwd=tmp_path).returncode == 0
    files = [
        {file.name: file.read_bytes() for file in (tmp_path / place).rglob("*.parquet")} for place in ("ray", "here")
    ]
    assert files[0] == files[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def ray_head(port: int) -> Iterator[str]:
    """The head of a Ray cluster, started in a folder of its own, which names its processes: others may run here."""
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        ray = Path(sys.executable).with_name("ray")
        memory = (
            "--object-store-memory",
            "200000000",
            "--num-cpus",
            "2",
            "--include-dashboard=false",
            "--disable-usage-stats",
        )
        address = ("--node-ip-address", "127.0.0.1", "--port", str(port), "--temp-dir", folder)
        subprocess.run([ray, "start", "--head", *memory, *address], cwd=folder, check=True, capture_output=True)
        try:
            yield folder
        finally:
            kill(f"raylet.*{folder}", "ray::")
            kill(folder)


def kill(pattern: str, children: str = "") -> None:
    """Kills the processes whose command lines match a pattern, or those of their children that match another."""
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False).stdout.split()
    for pid in found:
        command = ["pkill", "-KILL", "-P", pid, "-f", children] if children else ["kill", "-KILL", pid]
        subprocess.run(command, check=False, capture_output=True)


def test_a_corpus_that_changes_while_it_is_built_from_ends_the_build(tmp_path: Path) -> None:
    """Each process reads the corpus: none may read another one than the manifest names."""
    corpus = tmp_path / "texts.txt"
    corpus.write_text("\n\n".join(f"Passage {i} says {i * i}. " * 20 for i in range(200)))
    options = Options(max_tokens=1024, train=40, validation=0, corpus=(str(corpus),))
    build = Build("mdqa_synth", "templated_haystack", options, tmp_path / "mdqa_synth", 4)
    began = replace(build, corpus=corpus_of(build))
    assert began.corpus
    corpus.write_text("\n\n".join(f"Passage {i} says {i * i * i}. " * 20 for i in range(200)))
    for known in (examples_of, corpus_of):
        known.cache_clear()  # as in another process
    build.staging.mkdir(parents=True)
    with pytest.raises(ConflictError, match="a file changed while the variant was built"):
        write_shard(began, build.planned[0], lambda rows: None)
