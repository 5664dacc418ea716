"""`synthctx push` against a Hub that really listens, and what the world's clients then read from it."""

import atexit
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import constants

from builders import TASKS
from builders.build import build_variant
from builders.hub.card import CARD, read_card, update_card
from builders.shards import Build
from synthctx_data.dataset import find_variants, parse_address
from synthctx_data.manifest import computed_fingerprint
from synthctx_data.options import Options
from synthctx_data.survey import Survey
from tests.commands import Ran, process, started, synthctx, wait_until
from tests.conftest import CORPORA, IDS, VARIANTS, options_for
from tests.hub import TOKEN, Hub, Repo, environment, hub_server
from tests.llm_server import llm_server

pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=:DeprecationWarning"
)  # of httpx2, of huggingface_hub's calls
SMALL = Options(max_tokens=512, train=6, validation=3)
INTERRUPTED = (130, "synthctx: interrupted; the same command goes on from there, and sends nothing twice\n")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as listening:
        yield listening


@contextlib.contextmanager
def reached(hub: Hub, home: Path) -> Iterator[None]:
    """This Hub is the one that huggingface_hub knows here; it reads the environment only once, when it is imported."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
    settings = {"ENDPOINT": hub.url, "HUGGINGFACE_CO_URL_TEMPLATE": template, "HF_HUB_OFFLINE": False}
    with patch.multiple(constants, **settings, HF_HUB_DISABLE_XET=True, HF_TOKEN_PATH=str(home / "hf" / "token")):
        yield


def push(hub: Hub, folder: Path, *arguments: object, token: str = TOKEN) -> Ran:
    """Calls the command; whatever happens, the token is not in what it says."""
    with reached(hub, folder.parent):
        ran = synthctx("push", folder, *arguments, cwd=folder.parent.parent, HF_TOKEN=token)
    assert TOKEN not in ran.stdout + ran.stderr
    return ran


def start(hub: Hub, folder: Path, *arguments: str) -> contextlib.AbstractContextManager["subprocess.Popen[str]"]:
    """The command, running."""
    command = ("-m", "builders", "push", folder, *arguments)
    return started(*command, cwd=folder.parent.parent, **environment(hub, folder.parent))


def end(running: "subprocess.Popen[str]", how: signal.Signals) -> tuple[int, str]:
    """The exit code and the last words of a command that is sent a signal."""
    running.send_signal(how)
    _, said = running.communicate()
    return running.returncode, said


def pushed(hub: Hub, folder: Path, *arguments: object) -> str:
    ran = push(hub, folder, *arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def refused(hub: Hub, folder: Path, *arguments: object, token: str = TOKEN) -> str:
    """The one line that the command ends with."""
    ran = push(hub, folder, *arguments, token=token)
    assert ran.returncode != 0
    (line,) = [line for line in ran.stderr.splitlines() if line.strip()]
    assert line.startswith("synthctx: ")
    return line


def run(code: str, hub: Hub, home: Path, token: str = TOKEN) -> "subprocess.CompletedProcess[str]":
    """Runs Python in a process of its own, as a user of the Hub."""
    return process("-c", code, cwd=home, **environment(hub, home, token))


def made(
    folder: Path, variant: str, options: Options = SMALL, task: str = "mdqa_synth", shards: int | None = None
) -> Path:
    """A folder with the variant in it, beside those that it has."""
    job = Build(task, variant, options, folder / "synthctx" / task, shards)
    if job.folder.exists():
        build_variant(job)
        update_card(TASKS[task], job)
    else:
        shutil.copytree(made_once(variant, options, task, shards), job.folder)
    return job.folder


@cache
def made_once(variant: str, options: Options, task: str, shards: int | None) -> Path:
    """A folder with this variant alone, to be copied."""
    place = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, place)
    job = Build(task, variant, options, Path(place) / task, shards)
    build_variant(job)
    update_card(TASKS[task], job)
    return job.folder


def contents(hub: Hub, repo: Repo, revision: str = "main") -> dict[str, bytes]:
    commit = repo.find(revision)
    assert commit
    return {path: hub.objects[b.sha256] if b.sha256 else b.data for path, b in commit.tree.items()}


def shards_of(contents_: dict[str, bytes], variant: str) -> dict[str, bytes]:
    return {
        path: data for path, data in contents_.items() if path.startswith(f"{variant}/") and path.endswith(".parquet")
    }


def local_shards(folder: Path, variant: str) -> dict[str, bytes]:
    return {f"{variant}/{file.name}": file.read_bytes() for file in (folder / variant).glob("*.parquet")}


def hashes(folder: Path, variant: str) -> dict[str, str]:
    survey = Survey()
    for split, row in find_variants(parse_address(str(folder)), [variant])[0].rows():
        survey.add(split, row)
    return {name: split.hash for name, split in survey.splits.items()}


# --- every variant of every task


ONE = "mdqa_synth"
QUICK = ("real_haystack", "symbolic_padding")
each_task = pytest.mark.parametrize(
    "everything", [pytest.param(task, marks=() if task == ONE else pytest.mark.slow) for task in TASKS], indirect=True
)


@pytest.fixture(scope="module")
def everything(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Hub, Path, str]]:
    """A Hub with every variant of a task, the directory from which they were pushed, and the task."""
    home, task = tmp_path_factory.mktemp("everything"), request.param
    with hub_server() as listening:
        for variant in TASKS[task].variants:
            made(home, variant, options_for(task, variant, train=4, validation=2), task)
        pushed(listening, home / "synthctx" / task)
        yield listening, home, task


@each_task
def test_every_file_is_there_byte_for_byte(everything: tuple[Hub, Path, str]) -> None:
    hub, home, task = everything
    there = contents(hub, hub.repos[f"synthctx/{task}"])
    for variant in TASKS[task].variants:
        here = {f"{variant}/{file.name}": file.read_bytes() for file in (home / "synthctx" / task / variant).iterdir()}
        assert {path: data for path, data in there.items() if path.startswith(f"{variant}/")} == here
    data = yaml.safe_load(there[CARD].decode().split("---\n")[1])
    assert [config["config_name"] for config in data["configs"]] == list(TASKS[task].variants)
    assert set(hub.repos[f"synthctx/{task}"].tags) == {"v1.0.0"}


@each_task
def test_a_second_push_sends_nothing(everything: tuple[Hub, Path, str]) -> None:
    hub, home, task = everything
    before = hub.sent()
    said = pushed(hub, home / "synthctx" / task)
    assert said.count(": unchanged\n") == len(TASKS[task].variants)
    assert hub.sent() == before


@each_task
def test_load_dataset_reads_every_variant_plain_and_streaming(everything: tuple[Hub, Path, str]) -> None:
    hub, home, task = everything
    name = f"synthctx/{task}"
    code = f"""
import json
from datasets import disable_progress_bars, load_dataset
from synthctx_data.survey import Survey
disable_progress_bars()
found = {{}}
for variant in {list(TASKS[task].variants)!r}:
    for streaming in (False, True):
        survey = Survey()
        for split, rows in load_dataset({name!r}, variant, streaming=streaming).items():
            for row in rows:
                survey.add(split, row)
        found[f"{{variant}} {{streaming}}"] = {{split: seen.hash for split, seen in survey.splits.items()}}
print(json.dumps(found))
"""
    (home / "elsewhere").mkdir()
    ran = run(code, hub, home / "elsewhere")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert len(found) == 2 * len(TASKS[task].variants)
    card = hub.repos[name].find("main").tree[CARD].data.decode()
    for variant in TASKS[task].variants:
        here = hashes(home / name, variant)
        assert found[f"{variant} False"] == found[f"{variant} True"] == here
        assert all(f"`{one}`" in card for one in here.values())


@pytest.mark.parametrize("everything", [ONE], indirect=True)
def test_data_frames_and_sql_read_through_hf(everything: tuple[Hub, Path, str]) -> None:
    hub, home, _ = everything
    code = """
import duckdb, pandas, polars
from huggingface_hub import HfFileSystem
place = "hf://datasets/synthctx/mdqa_synth@v1.0.0/symbolic_haystack"
shard = f"{place}/train-00000-of-00001.parquet"
duckdb.register_filesystem(HfFileSystem())
print(*pandas.read_parquet(shard)["id"])
print(*polars.read_parquet(shard, use_pyarrow=True)["id"])
print(*(row[0] for row in duckdb.sql(f"select id from '{place}/train-*.parquet' order by id").fetchall()))
"""
    ran = run(code, hub, home)
    ids = " ".join(f"mdqa_synth/symbolic_haystack/train/{i:06d}" for i in range(4))
    assert ran.stdout.splitlines() == [ids] * 3, ran.stderr


STRANGERS = [
    pytest.param(task, variant, marks=() if task == ONE and variant in QUICK else pytest.mark.slow)
    for task, variant in VARIANTS
]


@pytest.mark.parametrize(("everything", "variant"), STRANGERS, ids=IDS, indirect=["everything"])
def test_a_stranger_makes_every_set_again_from_the_card_alone(
    everything: tuple[Hub, Path, str], tmp_path: Path, variant: str
) -> None:
    """The command of the card, in a directory with the corpus that it names, gives rows with the hashes of the card."""
    hub, home, task = everything
    shutil.copy(CORPORA[task], tmp_path)
    card = read_card(contents(hub, hub.repos[f"synthctx/{task}"])[CARD].decode(), CARD)
    block = card.blocks[variant]
    (command,) = re.findall(r"^synthctx (build .*)$", block, re.MULTILINE)
    ran = synthctx(*shlex.split(command), "--workers", 1, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    told = dict(re.findall(r"^\| (train|validation) \|.*`(\w+)` \|$", block, re.MULTILINE))
    assert hashes(tmp_path / "synthctx" / task, variant) == told
    assert local_shards(tmp_path / "synthctx" / task, variant) == local_shards(home / "synthctx" / task, variant)


# --- what is done once, twice, at once, and half


def test_a_reader_that_goes_away_does_not_stop_a_push(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    made(tmp_path, "templated_padding")
    command = shlex.join([sys.executable, "-m", "builders", "push", str(folder)])
    subprocess.run(f"{command} | true", shell=True, env={**os.environ, **environment(hub, tmp_path)}, check=True)
    repo = hub.repos["synthctx/mdqa_synth"]
    assert repo.tags == {"v1.0.0": repo.branches["main"]}
    assert {path.split("/")[0] for path in repo.find("main").tree if "/" in path} == {
        "symbolic_padding",
        "templated_padding",
    }


def test_configs_come_one_commit_each_and_other_files_stay(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    pushed(hub, folder)
    repo = hub.repos["synthctx/mdqa_synth"]
    mine = {"notes.txt": hub.repos["synthctx/mdqa_synth"].find("main").tree[".gitattributes"]}
    repo.commit("main", "a person adds notes", {**repo.find("main").tree, **mine})
    made(tmp_path, "templated_padding")
    made(tmp_path, "symbolic_haystack")
    said = pushed(hub, folder)
    assert re.search(
        r"symbolic_padding: unchanged\n.*templated_padding: added: 6 train \+ 3 validation rows; 5 files",
        said,
        re.DOTALL,
    )
    new = [commit.message for commit in repo.history()][:3]
    assert new == [
        "Version v1.1.0",
        "templated_padding: added: 6 train + 3 validation rows",
        "symbolic_haystack: added: 6 train + 3 validation rows",
    ]
    assert "notes.txt" in repo.find("main").tree
    assert repo.tags["v1.1.0"] == repo.branches["main"]
    assert_whole(hub, repo, folder)


def assert_whole(hub: Hub, repo: Repo, folder: Path) -> None:
    """No commit has half a config, or a card that speaks of others than are there."""
    for commit in repo.history():
        there = contents(hub, repo, commit.sha)
        present = {path.split("/")[0] for path in there if "/" in path}
        for variant in present:
            assert shards_of(there, variant) == local_shards(folder, variant)
        if CARD in there:
            assert set(read_card(there[CARD].decode(), CARD).entries("configs")) == present


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    said = pushed(hub, folder, "--dry-run")
    assert "symbolic_padding: would be added: 6 train + 3 validation rows; 5 files" in said
    assert "synthctx/mdqa_synth would be v1.0.0" in said
    assert hub.sent() == []
    pushed(hub, folder)
    before = hub.sent()
    made(tmp_path, "templated_padding")
    assert "synthctx/mdqa_synth would be v1.1.0" in pushed(hub, folder, "--dry-run")
    assert hub.sent() == before


def test_two_pushes_at_once_both_arrive(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    for variant in ("symbolic_haystack", "templated_padding", "templated_haystack"):
        made(tmp_path, variant)
    configs = [["symbolic_padding", "templated_haystack"], ["symbolic_haystack", "templated_padding"]]
    one, other = ([word for name in mine for word in ("--variant", name)] for mine in configs)
    with start(hub, folder, *one) as first, start(hub, folder, *other) as second:
        for running in (first, second):
            _, said = running.communicate()
            assert running.returncode == 0, said
    repo = hub.repos["synthctx/mdqa_synth"]
    assert {path.split("/")[0] for path in repo.find("main").tree if "/" in path} == {
        one for mine in configs for one in mine
    }
    assert_whole(hub, repo, folder)
    latest = max(repo.tags)
    changelog = contents(hub, repo)["CHANGELOG.md"].decode()
    assert re.findall(r"^## (\S+)$", changelog, re.MULTILINE) == sorted(repo.tags, reverse=True)
    assert contents(hub, repo, latest) == contents(hub, repo)


def test_a_push_killed_in_the_middle_leaves_nothing_and_goes_on(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_haystack", shards=6)
    there = threading.Event()

    def hold(method: str, path: str, number: int) -> int | None:
        if method == "PUT" and sum(one == "PUT" for one, _ in hub.log) > 4:
            there.set()
            return 503
        return None

    hub.fault = hold
    with start(hub, folder) as running:
        wait_until(there.is_set, running)
        end(running, signal.SIGKILL)
    hub.fault = lambda *_: None
    repo = hub.repos["synthctx/mdqa_synth"]
    assert [commit.message for commit in repo.history()] == ["initial commit"]
    stored = set(hub.objects)
    assert stored
    hub.log.clear()
    pushed(hub, folder)
    assert shards_of(contents(hub, repo), "symbolic_haystack") == local_shards(folder, "symbolic_haystack")
    assert not {path.rpartition("/")[2] for method, path in hub.log if method == "PUT"} & stored


def test_ctrl_c_is_one_line(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_haystack")
    there = threading.Event()
    hub.fault = lambda method, path, number: (there.set() or 503) if "/commit/" in path else None
    with start(hub, folder) as running:
        wait_until(there.is_set, running)
        assert end(running, signal.SIGINT) == INTERRUPTED


@pytest.mark.parametrize("status", [409, 503, *(pytest.param(one, marks=pytest.mark.slow) for one in (412, 429, 500))])
@pytest.mark.parametrize("what", ["/commit/main", "/tag/"])
def test_conflicts_and_passing_troubles_are_tried_again(hub: Hub, tmp_path: Path, status: int, what: str) -> None:
    folder = made(tmp_path, "symbolic_padding")
    left = [status, status]
    hub.fault = lambda method, path, number: left.pop() if what in path and left else None
    pushed(hub, folder)
    repo = hub.repos["synthctx/mdqa_synth"]
    assert [commit.message.split(":")[0] for commit in repo.history()] == [
        "Version v1.0.0",
        "symbolic_padding",
        "initial commit",
    ]
    assert repo.tags == {"v1.0.0": repo.branches["main"]}


KINDS = [
    "create",
    "validate-yaml",
    "/refs",
    "/tree/",
    "/preupload/",
    "/objects/batch",
    "PUT",
    "/commit/",
    "/tag/",
    "/revision/",
]


@pytest.mark.parametrize(
    "kind", [pytest.param(one, marks=pytest.mark.slow if i % 2 else ()) for i, one in enumerate(KINDS)]
)
def test_trouble_at_any_one_request_does_not_stop_a_push(hub: Hub, tmp_path: Path, kind: str) -> None:
    left = [503]
    seen = []

    def once(method: str, path: str, number: int) -> int | None:
        there = kind in f"{method} {path}"
        seen.append(there)
        return left.pop() if there and left and kind != "validate-yaml" else None

    hub.fault = once
    folder = made(tmp_path, "symbolic_padding")
    pushed(hub, folder)
    assert any(seen)
    assert hub.repos["synthctx/mdqa_synth"].tags.keys() == {"v1.0.0"}


# --- what people edit


def edit(repo: Repo, old: str, new: str) -> None:
    tree = repo.find("main").tree
    text = tree[CARD].data.decode()
    assert old in text
    edited = text.replace(old, new).encode()
    repo.commit("main", "a person edits the card", {**tree, CARD: type(tree[CARD])(len(edited), edited)})


def test_a_card_edited_on_the_hub_keeps_its_text_and_its_yaml(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    pushed(hub, folder)
    repo = hub.repos["synthctx/mdqa_synth"]
    edit(repo, "# mdqa_synth\n", "# Ours, and better\n")
    edit(repo, "pretty_name: 'synthctx: MDQA'", "pretty_name: Pretty\nannotations_creators: [machine-generated]")
    made(tmp_path, "templated_padding")
    pushed(hub, folder)
    card = read_card(contents(hub, repo)[CARD].decode(), CARD)
    assert "# Ours, and better\n" in card.text
    assert (card.data["pretty_name"], card.data["annotations_creators"]) == ("Pretty", ["machine-generated"])
    assert list(card.blocks) == ["templated_padding", "symbolic_padding"]
    before = hub.sent()
    pushed(hub, folder)
    assert hub.sent() == before


def test_a_card_edited_here_goes_there_and_is_not_lost_to_a_push_from_elsewhere(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path / "one", "symbolic_padding")
    path = folder / CARD
    for title in ("# Mine", "# Mine, twice"):
        path.write_text(re.sub(r"^# .*$", title, path.read_text(), count=1, flags=re.MULTILINE))
        pushed(hub, folder)
        assert f"{title}\n" in contents(hub, hub.repos["synthctx/mdqa_synth"])[CARD].decode()
    pushed(hub, made(tmp_path / "other", "templated_padding"))
    there = contents(hub, hub.repos["synthctx/mdqa_synth"])[CARD].decode()
    assert "# Mine, twice\n" in there
    assert list(read_card(there, CARD).blocks) == ["templated_padding", "symbolic_padding"]


def test_edits_on_both_sides_are_not_lost_without_a_word(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    pushed(hub, folder)
    edit(hub.repos["synthctx/mdqa_synth"], "# mdqa_synth\n", "# Theirs\n")
    path = folder / CARD
    path.write_text(path.read_text().replace("# mdqa_synth\n", "# Mine\n"))
    ran = push(hub, folder)
    assert "edited on the Hub, and that text stays; the one that was edited here" in ran.stderr
    assert "# Theirs\n" in contents(hub, hub.repos["synthctx/mdqa_synth"])[CARD].decode()
    edit(hub.repos["synthctx/mdqa_synth"], "<!-- end of configs -->", "")
    ran = push(hub, folder)
    assert "says nothing of symbolic_padding" in ran.stderr


def test_a_licence_that_a_person_added_stays(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    pushed(hub, folder)
    repo = hub.repos["synthctx/mdqa_synth"]
    edit(repo, "license:\n- apache-2.0", "license: mit")
    pushed(hub, folder)
    assert read_card(contents(hub, repo)[CARD], CARD).data["license"] == ["apache-2.0", "mit"]


def test_the_card_speaks_of_the_repository_that_it_is_in(hub: Hub, tmp_path: Path) -> None:
    pushed(hub, made(tmp_path, "symbolic_padding"), "--repo", "me/needles")
    card = contents(hub, hub.repos["me/needles"])[CARD].decode()
    assert 'load_dataset("me/needles", "symbolic_padding")' in card
    assert "synthctx/mdqa_synth" not in card


def put(repo: Repo, path: str, data: bytes) -> None:
    tree = repo.find("main").tree
    repo.commit("main", "a person adds a file", {**tree, path: type(tree[".gitattributes"])(len(data), data)})


def test_what_other_people_keep_in_the_repository_stays(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    pushed(hub, folder)
    repo = hub.repos["synthctx/mdqa_synth"]
    theirs = {
        "symbolic_padding/NOTES.md": b"a note",
        "web/build.json": b'{"a": 1}',
        "other/build.json": b"no JSON",
        "CHANGELOG.md": b"# History\n\ncaf\xe9\n\n## v9 - mine\n\n- words\n",
    }
    for path, data in theirs.items():
        put(repo, path, data)
    pushed(hub, made(tmp_path / "new", "symbolic_padding", Options(max_tokens=512, train=6, validation=3, seed=1)))
    there = contents(hub, repo)
    for path in ("symbolic_padding/NOTES.md", "web/build.json", "other/build.json"):
        assert there[path] == theirs[path]
    assert there["CHANGELOG.md"].startswith(b"# Changelog\n\n## v2.0.0\n")
    assert there["CHANGELOG.md"].endswith(theirs["CHANGELOG.md"])


def test_a_config_that_was_taken_out_leaves_the_card(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    made(tmp_path, "templated_padding")
    pushed(hub, folder)
    repo = hub.repos["synthctx/mdqa_synth"]
    tree = {path: blob for path, blob in repo.find("main").tree.items() if not path.startswith("templated_padding/")}
    repo.commit("main", "a person takes a config out", tree)
    assert "is v2.0.0" in pushed(hub, folder, "--variant", "symbolic_padding")
    card = read_card(contents(hub, repo)[CARD], CARD)
    assert (
        list(card.blocks) == list(card.entries("configs")) == list(card.entries("dataset_info")) == ["symbolic_padding"]
    )


def test_a_config_without_a_build_json_stays_in_the_card(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    made(tmp_path, "templated_padding")
    pushed(hub, folder, "--variant", "templated_padding")
    repo = hub.repos["synthctx/mdqa_synth"]
    tree = {path: blob for path, blob in repo.find("main").tree.items() if path != "templated_padding/build.json"}
    repo.commit("main", "a person takes its build.json out", tree)
    pushed(hub, folder, "--variant", "symbolic_padding")
    card = read_card(contents(hub, repo)[CARD], CARD)
    assert list(card.blocks) == list(card.entries("configs")) == ["templated_padding", "symbolic_padding"]


def test_a_card_with_a_byte_order_mark_keeps_its_yaml(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    pushed(hub, folder)
    repo = hub.repos["synthctx/mdqa_synth"]
    put(
        repo,
        CARD,
        b"\xef\xbb\xbf" + contents(hub, repo)[CARD].replace(b"\n", b"\r\n").replace(b"synthctx: MDQA", b"Ours"),
    )
    made(tmp_path, "templated_padding")
    pushed(hub, folder)
    card = contents(hub, repo)[CARD].decode()
    assert card.count("pretty_name: Ours") == card.count("pretty_name") == 1
    put(repo, CARD, b"---\n---\ncaf\xe9")
    made(tmp_path, "symbolic_haystack")
    assert "codec can't decode byte 0xe9" in refused(hub, folder)


# --- growth


@pytest.mark.slow
def test_versions_say_what_changed_and_old_ones_load(hub: Hub, tmp_path: Path) -> None:
    small = made(tmp_path / "small", "symbolic_padding")
    grown = made(tmp_path / "grown", "symbolic_padding", Options(max_tokens=512, train=9, validation=3))
    other = made(tmp_path / "other", "symbolic_padding", Options(max_tokens=512, train=9, validation=3, seed=7))
    split = made(
        tmp_path / "split", "symbolic_padding", Options(max_tokens=512, train=9, validation=3, seed=7), shards=2
    )
    for folder, version in ((small, "v1.0.0"), (grown, "v1.1.0"), (other, "v2.0.0"), (split, "v2.0.1")):
        assert f"synthctx/mdqa_synth is {version}:" in pushed(hub, folder)
    code = """
import json
from datasets import disable_progress_bars, load_dataset
disable_progress_bars()
versions = {v: load_dataset("synthctx/mdqa_synth", "symbolic_padding", revision=v) for v in ("v1.0.0", "v1.1.0", "v2.0.0", "v2.0.1")}
print(json.dumps({v: [row["prompt"][0]["content"] for row in rows["train"]] for v, rows in versions.items()}))
"""
    ran = run(code, hub, tmp_path)
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout)
    assert rows["v1.0.0"] == rows["v1.1.0"][:6]
    assert len(rows["v1.1.0"]) == len(rows["v2.0.0"]) == 9
    assert not set(rows["v2.0.0"]) & set(rows["v1.1.0"])
    assert rows["v2.0.1"] == rows["v2.0.0"]
    changelog = contents(hub, hub.repos["synthctx/mdqa_synth"])["CHANGELOG.md"].decode()
    assert re.findall(r"^## (\S+)$", changelog, re.MULTILINE) == ["v2.0.1", "v2.0.0", "v1.1.0", "v1.0.0"]
    assert (
        "`symbolic_padding` replaced: 9 train + 3 validation rows, other rows under the same ids; seed 0 before, 7 now"
        in changelog
    )
    command = ("-m", "builders", "show", "synthctx/mdqa_synth:symbolic_padding@v1.0.0", "--index", 2)
    shown = process(*command, cwd=tmp_path, **environment(hub, tmp_path))
    question = rows["v1.0.0"][2].rpartition("\n\n")[2]
    assert question.strip() in shown.stdout, shown.stderr


def test_fewer_rows_are_another_major_version(hub: Hub, tmp_path: Path) -> None:
    pushed(hub, made(tmp_path / "large", "symbolic_padding"))
    cut = made(tmp_path / "small", "symbolic_padding", Options(max_tokens=512, train=4, validation=3))
    said = pushed(hub, cut)
    assert (
        "cut: 6 train + 3 validation rows before, 4 train + 3 validation rows now, those that are left as they were"
        in said
    )
    assert "is v2.0.0" in said
    assert "--branch: v1.0.0 is a tag of synthctx/mdqa_synth; push to a branch" in refused(
        hub, cut, "--branch", "v1.0.0"
    )


def test_what_is_gone_here_is_gone_there(hub: Hub, tmp_path: Path) -> None:
    pushed(hub, made(tmp_path / "many", "symbolic_padding", shards=3))
    folder = made(tmp_path / "one", "symbolic_padding")
    pushed(hub, folder)
    there = contents(hub, hub.repos["synthctx/mdqa_synth"])
    assert shards_of(there, "symbolic_padding") == local_shards(folder, "symbolic_padding")


def test_another_branch_has_no_version(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    for name in ("--branch", "--revision"):  # which it was called before
        assert "on branch candidate has no version" in pushed(hub, folder, name, "candidate")
    repo = hub.repos["synthctx/mdqa_synth"]
    assert repo.tags == {}
    assert [path for path in repo.find("main").tree if "/" in path] == []
    assert shards_of(contents(hub, repo, "candidate"), "symbolic_padding") == local_shards(folder, "symbolic_padding")


# --- who may see it


def test_a_private_repository_is_unseen_without_the_token(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    pushed(hub, folder, "--private")
    assert hub.repos["synthctx/mdqa_synth"].private
    code = 'from datasets import load_dataset; print(len(load_dataset("synthctx/mdqa_synth", "symbolic_padding")["train"]))'
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert run(code, hub, tmp_path / "a").stdout.strip() == "6"
    assert run(code, hub, tmp_path / "b", token="").returncode != 0
    assert "no token here: call `hf auth login`, or set HF_TOKEN" in refused(hub, folder, token="")
    assert "there is a token here" in refused(hub, folder, token="hf_of_somebody_else")


def test_what_is_to_be_private_is_not_put_where_all_see_it(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    pushed(hub, folder)
    made(tmp_path, "templated_padding")
    before = hub.sent()
    assert "--private: synthctx/mdqa_synth is there already, and public" in refused(hub, folder, "--private")
    assert not [one for one in hub.sent()[len(before) :] if "commit" in one]


# --- what is refused


def test_a_folder_with_faults_is_refused_without_force(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding", Options(max_tokens=512, train=60, validation=0, depth="0.5"))
    manifest = folder / "symbolic_padding" / "build.json"
    other = {**json.loads(manifest.read_text()), "depth": "uniform"}
    known, other["fingerprint"] = other["fingerprint"], computed_fingerprint(other)
    manifest.write_text(json.dumps(other))
    (folder / CARD).write_text((folder / CARD).read_text().replace(known, other["fingerprint"]))
    ran = push(hub, folder)
    assert ran.returncode == 1
    assert "depths are not uniform" in ran.stdout
    assert "symbolic_padding has faults, and nothing of it was published" in ran.stderr
    assert hub.sent() == []
    pushed(hub, folder, "--force")
    repo = hub.repos["synthctx/mdqa_synth"]
    assert shards_of(contents(hub, repo), "symbolic_padding")
    told = "| faults | found by `synthctx check`: depth (1) |"
    assert told in contents(hub, repo)[CARD].decode()
    assert "symbolic_padding: unchanged" in pushed(hub, folder)
    assert told in contents(hub, repo)[CARD].decode()
    shutil.rmtree(folder)
    pushed(hub, made(tmp_path, "symbolic_padding"))
    assert told not in contents(hub, repo)[CARD].decode()


def test_only_what_belongs_to_a_config_is_sent(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    (folder / "symbolic_padding" / "secret.key").write_text("x")
    (folder / "symbolic_padding" / "more").mkdir()
    (folder / "symbolic_padding" / "dangling").symlink_to("nowhere")
    pushed(hub, folder)
    names = {path.rpartition("/")[2] for path in hub.repos["synthctx/mdqa_synth"].find("main").tree if "/" in path}
    assert names == {
        "build.json",
        "tokens_and_depths.png",
        "train-00000-of-00001.parquet",
        "validation-00000-of-00001.parquet",
    }


def broken(folder: Path, name: str) -> None:
    """Damages a folder in one of the ways that folders are damaged in."""
    card, manifest = folder / CARD, folder / "symbolic_padding" / "build.json"
    text = card.read_text()
    if name == "empty card":
        card.write_text("")
    elif name == "card without comments":
        card.write_text(re.sub(r"<!--.*?-->", "", text))
    elif name == "card without an entry":
        card.write_text(
            text.replace("- config_name: symbolic_padding\n  features", "- config_name: another\n  features")
        )
    elif name == "card of other rows":
        card.write_text(text.replace(json.loads(manifest.read_text())["fingerprint"], "0123456789abcdef"))
    elif name == "manifest of another variant":
        manifest.write_text(manifest.read_text().replace('"symbolic_padding"', '"templated_padding"'))
    elif name == "manifest of odd values":
        manifest.write_text(manifest.read_text().replace('"uniform"', "3"))
    else:
        file = folder / "symbolic_padding" / "train-00000-of-00001.parquet"
        rows = pq.read_table(file)
        at = rows.schema.get_field_index("num_tokens")
        pq.write_table(rows.set_column(at, "num_tokens", rows["num_tokens"].cast("string")), file)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty card", "expected the card to have symbolic_padding among its configs"),
        ("card without comments", "to say how it was built, between the comments"),
        ("card without an entry", "expected the card to have symbolic_padding among its dataset_info"),
        ("card of other rows", "to say how it was built"),
        ("manifest of another variant", "build.json is that of the variant 'templated_padding'"),
        (
            "manifest of odd values",
            "build.json to be what synthctx wrote, and it is not: depth: Input should be a valid string",
        ),
        ("column of another type", "expected num_tokens to be int32, found string"),
    ],
)
def test_a_damaged_folder_is_told_in_one_line_and_sends_nothing(hub: Hub, tmp_path: Path, name: str, said: str) -> None:
    folder = made(tmp_path, "symbolic_padding")
    broken(folder, name)
    assert said in refused(hub, folder)
    assert hub.sent() == []


def test_rows_that_are_not_those_of_the_card_are_refused(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path / "one", "symbolic_padding")
    other = made(tmp_path / "other", "symbolic_padding", Options(max_tokens=512, train=6, validation=3, seed=1))
    name = "symbolic_padding/train-00000-of-00001.parquet"
    shutil.copy(other / name, folder / name)
    for arguments in ((), ("--force",)):
        assert "are not those that were built: their SHA-256 begins" in refused(hub, folder, *arguments)
    assert hub.sent() == []


def test_a_repository_is_for_one_task(hub: Hub, tmp_path: Path) -> None:
    pushed(hub, made(tmp_path, "symbolic_padding"))
    before = hub.sent()
    other = made(tmp_path, "symbolic_padding", SMALL, "summhay_synth")
    assert "one repository is for one task" in refused(hub, other, "--repo", "synthctx/mdqa_synth")
    assert hub.sent() == before


@pytest.mark.slow
def test_the_hubs_own_build_json_tells_check_what_to_expect(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    made(tmp_path, "templated_padding")
    pushed(hub, folder, "--repo", "me/needles")
    ran = process("-m", "builders", "check", "me/needles", cwd=tmp_path, **environment(hub, tmp_path))
    assert ran.returncode == 0, ran.stderr
    assert "not counted again" not in ran.stdout
    for variant in ("templated_padding", "symbolic_padding"):
        assert f"{variant}: 6 train, 3 validation" in ran.stdout
        assert all(one in ran.stdout for one in hashes(folder, variant).values())


def test_bad_input_is_one_clear_line(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    assert "there is no" in refused(hub, tmp_path / "x" / "nowhere")
    assert "expected a variant in" in refused(hub, folder, "--variant", "real_haystack")
    for name in ("a/b/c", "a", "a/b c"):
        assert f"--repo: expected OWNER/NAME, got {name!r}" in refused(hub, folder, "--repo", name)
    assert "--repo: expected OWNER/NAME, got ''" in refused(hub, folder, "--repo", "")
    paid = ("--from-variant", "llm_padding", "--dry-run", "--model", "m")
    assert "--dry-run: a model would be asked, and paid" in refused(hub, folder, *paid)
    own = ("--from-variant", "symbolic_padding")
    assert "--output: it is not read with --from-variant" in refused(hub, folder, *own, "--output=x")
    assert "--max-tokens: it is an option of a build" in refused(hub, folder, "--max-tokens", "512")
    assert "--max-tokens: expected greater than or equal to 128" in refused(hub, folder, *own, "--max-tokens", "9")
    assert "Unknown option: --colour" in refused(hub, folder, "--colour", "red")
    assert "no variant 'symbolic'" in refused(hub, folder, "--from-variant", "symbolic")
    hub.fault = lambda method, path, number: 403 if "create" in path else None
    assert "does not let you change synthctx/mdqa_synth (403" in refused(hub, folder)
    hub.fault = lambda *_: None
    (folder / "symbolic_padding" / "train-00000-of-00001.parquet").unlink()
    assert "build.json promises 6 rows of train, and the files have 0" in refused(hub, folder)
    (folder / CARD).write_text("---\nconfigs: 7\n---\n")
    (folder / "symbolic_padding" / "build.json").unlink()
    assert "expected a build.json" in refused(hub, folder)
    assert hub.sent() == ["POST /api/repos/create"]


def test_a_hub_that_is_away_is_one_clear_line(hub: Hub, tmp_path: Path) -> None:
    folder = made(tmp_path, "symbolic_padding")
    away = Hub()
    away.url = "http://127.0.0.1:9"
    assert "http://127.0.0.1:9 cannot be reached" in refused(away, folder)


# --- built on the way


LARGE = ("--max-tokens", "512", "--train", "12", "--validation", "4", "--shards", "4", "--workers", "1")


def test_built_on_the_way_it_is_the_same_and_the_disk_holds_little(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "synthctx" / "mdqa_synth"
    most = [0]

    def watch(method: str, path: str, number: int) -> None:
        most[0] = max(most[0], len(list(folder.rglob("*.parquet"))))

    hub.fault = watch
    said = pushed(hub, folder, "--from-variant", "symbolic_haystack", "--dry-run", *LARGE)
    assert said.startswith(
        "symbolic_haystack: would be added: 12 train + 4 validation rows\nsynthctx/mdqa_synth would be v1.0.0:"
    )
    assert hub.sent() == []
    pushed(hub, folder, "--from-variant", "symbolic_haystack", *LARGE)
    hub.fault = lambda *_: None
    assert 0 < most[0] <= 2
    assert not list(folder.rglob("*.parquet"))
    repo = hub.repos["synthctx/mdqa_synth"]
    assert list(repo.branches) == ["main"]
    assert [commit.message for commit in repo.history()] == [
        "Version v1.0.0",
        "symbolic_haystack: added: 12 train + 4 validation rows",
        "initial commit",
    ]
    whole = made(tmp_path / "whole", "symbolic_haystack", Options(max_tokens=512, train=12, validation=4), shards=4)
    there = contents(hub, repo)
    for file in (whole / "symbolic_haystack").iterdir():
        assert there[f"symbolic_haystack/{file.name}"] == file.read_bytes()
    before = hub.sent()
    assert "symbolic_haystack: unchanged" in pushed(hub, whole)
    assert hub.sent() == before
    assert "unchanged" in pushed(hub, folder, "--from-variant", "symbolic_haystack", *LARGE)
    assert hub.sent() == before


def test_a_dry_run_that_builds_tells_of_a_shard_that_is_gone_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "synthctx" / "mdqa_synth"
    pushed(hub, folder, "--from-variant", "symbolic_haystack", *LARGE)
    repo = hub.repos["synthctx/mdqa_synth"]
    tree = dict(repo.history()[0].tree)
    tree.pop(next(path for path in tree if path.endswith(".parquet")))
    repo.commit("main", "a shard is deleted", tree)
    said = pushed(hub, folder, "--from-variant", "symbolic_haystack", "--dry-run", *LARGE)
    assert "symbolic_haystack: would be sent anew, with the same rows" in said


def test_built_on_the_way_and_killed_it_builds_only_what_is_missing(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "synthctx" / "mdqa_synth"
    there, killed = threading.Event(), threading.Event()

    def hold(method: str, path: str, number: int) -> int | None:
        if "/commit/build-" in path and sum("/commit/build-" in one for _, one in hub.log) == 2:
            there.set()
            killed.wait()
            return 503
        return None

    hub.fault = hold
    with start(hub, folder, "--from-variant", "symbolic_haystack", "--", *LARGE) as running:  # as in earlier versions
        wait_until(there.is_set, running)
        end(running, signal.SIGKILL)
    killed.set()
    hub.fault = lambda *_: None
    stored = set(hub.objects)
    repo = hub.repos["synthctx/mdqa_synth"]
    assert [commit.message for commit in repo.history()] == ["initial commit"]
    hub.log.clear()
    pushed(hub, folder, "--from-variant", "symbolic_haystack", *LARGE)
    assert not {path.rpartition("/")[2] for method, path in hub.log if method == "PUT"} & stored
    whole = made(tmp_path / "whole", "symbolic_haystack", Options(max_tokens=512, train=12, validation=4), shards=4)
    assert shards_of(contents(hub, repo), "symbolic_haystack") == local_shards(whole, "symbolic_haystack")
    assert "symbolic_haystack: unchanged" in pushed(hub, whole)


# --- what a language model wrote


def test_what_a_model_wrote_is_made_again_from_the_card_without_the_model(hub: Hub, tmp_path: Path) -> None:
    options = ["--max-tokens", "1024", "--train", "4", "--validation", "2", "--pool-size", "16"]
    with llm_server() as server:
        command = [
            "build",
            "mdqa_synth",
            "llm_haystack",
            "--model",
            "some-model",
            "--endpoint",
            server.url,
            *options,
            "--workers",
            "1",
        ]
        ran = synthctx(*command, cwd=tmp_path, OPENAI_API_KEY="k")
        assert ran.returncode == 0, ran.stderr
    folder = tmp_path / "synthctx" / "mdqa_synth"
    pushed(hub, folder, "--repo", "me/needles")
    card = read_card(contents(hub, hub.repos["me/needles"])[CARD].decode(), CARD)
    block = card.blocks["llm_haystack"]
    assert card.data["license"] == ["other"]
    assert "asked for `some-model`; answered `served` (6 rows)" in block
    commands = re.search(r"```bash\n# with synthctx [^\n]*\n(.*?)```", block, re.DOTALL)[1].splitlines()
    assert [command.split()[0] for command in commands] == ["hf", "synthctx", "synthctx"]
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    hf = Path(sys.executable).with_name("hf")
    subprocess.run(
        [hf, *commands[0].split()[1:]], env={**os.environ, **environment(hub, stranger)}, cwd=stranger, check=True
    )
    for command in commands[1:]:
        ran = synthctx(*command.split()[1:], cwd=stranger)
        assert ran.returncode == 0, ran.stderr
    assert hashes(stranger / "synthctx" / "mdqa_synth", "llm_haystack") == hashes(folder, "llm_haystack")


def test_built_on_the_way_and_interrupted_it_says_so(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "synthctx" / "mdqa_synth"
    there = threading.Event()
    hub.fault = lambda method, path, number: (there.set() or 503) if "/commit/build-" in path else None
    with start(hub, folder, "--from-variant", "symbolic_haystack", *LARGE) as running:
        wait_until(there.is_set, running)
        assert end(running, signal.SIGINT) == INTERRUPTED
    assert [commit.message for commit in hub.repos["synthctx/mdqa_synth"].history()] == ["initial commit"]


def test_built_on_the_way_it_is_made_whole_again(hub: Hub, tmp_path: Path) -> None:
    """Shards that somebody took out on the Hub come back, and shards of others on the side branch are not taken for its own."""
    folder = tmp_path / "synthctx" / "mdqa_synth"
    arguments = ("--from-variant", "symbolic_haystack", *LARGE)
    pushed(hub, folder, *arguments)
    repo = hub.repos["synthctx/mdqa_synth"]
    before = contents(hub, repo)
    tree = repo.find("main").tree
    repo.commit(
        "main", "a person takes shards out", {p: b for p, b in tree.items() if not p.endswith("of-00004.parquet")}
    )
    pushed(hub, folder, *arguments)
    assert contents(hub, repo) == before
    repo.commit("main", "and again", {p: b for p, b in tree.items() if not p.endswith("of-00004.parquet")})
    fingerprint = json.loads(before["symbolic_haystack/build.json"])["fingerprint"]
    side = f"build-symbolic_haystack-{fingerprint}-4"
    other = tree["symbolic_haystack/validation-00000-of-00004.parquet"]
    repo.branches[side] = repo.branches["main"]
    repo.commit(side, "another's", {**repo.find("main").tree, f"{side}/train-00000-of-00004.parquet": other})
    assert "expected 3 rows in train-00000-of-00004.parquet on the branch" in refused(hub, folder, *arguments)


def test_a_mixture_is_pushed_as_any_variant_and_read_back(hub: Hub, tmp_path: Path) -> None:
    recipe = {
        "task": "mdqa_synth",
        "name": "two_kinds",
        "train": 8,
        "validation": 2,
        "max_tokens": 512,
        "parts": [{"variant": "symbolic_padding"}, {"variant": "templated_padding", "options": {"questions": 2}}],
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert synthctx("mix", "recipe.yaml", cwd=tmp_path).returncode == 0
    folder = tmp_path / "synthctx" / "mdqa_synth"
    pushed(hub, folder)
    assert pushed(hub, folder).count(": unchanged\n") == 1
    code = 'from datasets import load_dataset; print(load_dataset("synthctx/mdqa_synth", "two_kinds", revision="v1.0.0").num_rows)'
    read = run(code, hub, tmp_path)
    assert read.stdout.strip() == "{'train': 8, 'validation': 2}", read.stderr
    assert "synthctx mix two_kinds.yaml" in hub_card(hub)


def hub_card(hub: Hub) -> str:
    """The card that is on the Hub."""
    return contents(hub, hub.repos["synthctx/mdqa_synth"])[CARD].decode()
