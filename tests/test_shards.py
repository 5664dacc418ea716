import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.build import build_variant
from builders.shards import Build, ranges
from synthctx_data.errors import BudgetError, ConflictError
from synthctx_data.manifest import read_manifest
from synthctx_data.options import Options
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


@pytest.mark.parametrize(("task", "variant"), VARIANTS, ids=IDS)
def test_any_number_of_workers_and_shards_gives_the_same_rows(tmp_path: Path, task: str, variant: str) -> None:
    options = options_for(task, variant, train=9, validation=3)
    one = digest(made(tmp_path / "1", variant, options, task=task))
    assert one == digest(made(tmp_path / "2", variant, options, shards=3, workers=2, task=task))
    assert one == digest(made(tmp_path / "3", variant, options, shards=9, workers=3, task=task))


@pytest.mark.parametrize("seed", ["0", "12345"])
def test_a_second_process_with_another_hash_seed_gives_the_same_files(tmp_path: Path, seed: str) -> None:
    target = made(tmp_path / "here", "real_haystack", options_for("mdqa_synth", "real_haystack"))
    command = [sys.executable, "-m", "builders", "build", "mdqa_synth", "real_haystack", "--corpus", str(CORPUS)]
    command += ["--max-tokens", "1024", "--train", "12", "--validation", "4", "--output", str(tmp_path / "there")]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True)
    there = tmp_path / "there" / "mdqa_synth" / "real_haystack"
    for file in target.iterdir():
        assert (there / file.name).read_bytes() == file.read_bytes()


def _interruptible() -> None:
    """A shell's background jobs ignore the signal of Ctrl-C, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(folder: Path, workers: int, max_tokens: int = 32768) -> subprocess.Popen:
    command = [sys.executable, "-m", "builders", "build", "mdqa_synth", "symbolic_haystack", "--output", str(folder)]
    command += [
        "--train",
        "300",
        "--validation",
        "10",
        "--shards",
        "30",
        "--workers",
        str(workers),
        "--max-tokens",
        str(max_tokens),
    ]
    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_interruptible,  # noqa: PLW1509
    )


def wait_for_shards(folder: Path, count: int) -> list[Path]:
    deadline = time.monotonic() + 60
    while len(found := list(folder.glob("train-*.parquet"))) < count:
        assert time.monotonic() < deadline, "no shard was written"
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path: Path, workers: int, how: signal.Signals) -> None:
    staging = tmp_path / "mdqa_synth" / ".symbolic_haystack.partial"
    target = tmp_path / "mdqa_synth" / "symbolic_haystack"
    process = start(tmp_path, workers)
    wait_for_shards(staging, 3)
    os.killpg(process.pid, how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (1 if how == signal.SIGINT else -how)
    if how == signal.SIGINT:
        assert said.decode().splitlines()[-1].startswith("synthctx: interrupted; what is done lies in ")
        assert "Traceback" not in said.decode()
        assert not list(staging.glob("*.tmp"))
    assert not target.exists()
    kept = {file: file.stat().st_mtime_ns for file in staging.glob("*.parquet")}
    assert 0 < len(kept) < 31
    again = start(tmp_path, workers)
    again.communicate(timeout=120)
    assert again.returncode == 0
    assert not staging.exists()
    for file, written in kept.items():
        assert (target / file.name).stat().st_mtime_ns == written
    options = Options(train=300, validation=10)
    whole = made(tmp_path / "whole", options=options, workers=2)
    assert digest(target) == digest(whole)
    assert not list(target.glob("*.tmp"))


def test_a_killed_worker_does_not_stop_a_build(tmp_path: Path) -> None:
    process = start(tmp_path, workers=2)
    wait_for_shards(tmp_path / "mdqa_synth" / ".symbolic_haystack.partial", 2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("needs /proc")
    worker = next(
        int(pid) for pid in children.read_text().split() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(worker, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    rows = sum(pq.read_metadata(f).num_rows for f in (tmp_path / "mdqa_synth" / "symbolic_haystack").glob("*.parquet"))
    assert rows == 310


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
    options = options_for("summhay_synth", "real_haystack")
    with pytest.raises(BudgetError):
        made(tmp_path, "real_haystack", options.model_copy(update={"max_tokens": 1024}), task="summhay_synth")
    assert (tmp_path / ".real_haystack.partial").exists()
    made(tmp_path, "real_haystack", options, task="summhay_synth")


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


def test_a_second_build_of_the_same_variant_is_turned_away(tmp_path: Path) -> None:
    process = start(tmp_path, 1)
    wait_for_shards(tmp_path / "mdqa_synth" / ".symbolic_haystack.partial", 1)
    second = start(tmp_path, 1)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "another process is building" in said.decode()
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    process = start(tmp_path, workers=2)
    wait_for_shards(tmp_path / "mdqa_synth" / ".symbolic_haystack.partial", 1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("needs /proc")
    pids = children.read_text().split()
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
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
        f"'--output', {str(tmp_path)!r}, '--workers', '{workers}']; from builders.commands.build import main;\n"
        "if __name__ == '__main__': main()"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=Path(__file__).parent.parent,
                         env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)})  # fmt: skip
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("synthctx: OSError: [Errno 27] ")
    assert {file.name for file in tmp_path.rglob("*") if file.is_file()} == {
        "script.py",
        "build.json",
        ".symbolic_haystack.lock",
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_gives_the_same_rows(tmp_path: Path) -> None:
    import ray

    ray.init(num_cpus=2, include_dashboard=False)
    try:
        by_ray = made(tmp_path / "ray", shards=4, ray="auto")
    finally:
        ray.shutdown()
    assert digest(by_ray) == digest(made(tmp_path / "here"))
