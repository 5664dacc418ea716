"""The command as a user calls it: a process, in a directory of its own."""

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from builders import TASKS
from builders.commands import app
from builders.versions import versions
from builders.writing.sample import SIZES as SAMPLE_SIZES
from synthctx_data import __version__
from synthctx_data.command import print_json
from synthctx_data.dataset import find_variants, parse_address
from tests.commands import process, synthctx
from tests.conftest import CORPUS
from tests.hub import TOKEN, hub_server

ROOT = Path(__file__).parent.parent
SMALL = ("--max-tokens", "1024", "--train", "8", "--validation", "3", "--workers", "1")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which two variants were built."""
    cwd = tmp_path_factory.mktemp("built")
    ran = synthctx("build", "mdqa_synth", "templated_haystack", "symbolic_haystack", *SMALL, cwd=cwd)
    assert ran.returncode == 0, ran.stderr
    return cwd


def test_load_dataset_word_for_word_offline(built: Path, tmp_path: Path) -> None:
    code = (
        "from datasets import load_dataset\n"
        'rows = load_dataset("synthctx/mdqa_synth", "symbolic_haystack")\n'
        'streamed = load_dataset("synthctx/mdqa_synth", "symbolic_haystack", streaming=True)\n'
        'print({k: len(v) for k, v in rows.items()}, rows["train"][0]["id"], next(iter(streamed["train"])) == rows["train"][0])'
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], cwd=built, env=environment, capture_output=True, text=True)
    assert ran.stdout.strip() == "{'train': 8, 'validation': 3} mdqa_synth/symbolic_haystack/train/000000 True", (
        ran.stderr
    )


def test_list_names_every_variant_and_what_it_needs(tmp_path: Path) -> None:
    said = synthctx("list", cwd=tmp_path).stdout
    assert re.search(r"real_limited .*--corpus", said)
    assert re.search(r"symbolic_padding .*1260 \+ 140 .*nothing", said)


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("builders.commands.list", "datasets torch pyarrow pandas openai"),
        ("builders.commands.build, builders.build, builders.writing.run", "torch openai"),
    ],
)
def test_a_command_starts_without_what_it_does_not_need(modules: str, absent: str) -> None:
    code = f"import sys; import {modules}; print(sorted(set({absent.split()}) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_show_folds_the_haystack_and_shows_the_needle(built: Path) -> None:
    said = synthctx(
        "show", "synthctx/mdqa_synth", "templated_haystack", "--split", "validation", "--index", 2, cwd=built
    ).stdout
    assert said.startswith("mdqa_synth/templated_haystack/validation/000002\n")
    assert re.search(r"needle in document \d+ of \d+ \(depth [01]\.\d\d\)", said)
    assert "··· " in said
    question = re.search(r"Question: (.*)", said)
    assert question
    assert len(said.splitlines()) < 25


def test_check_finds_nothing_in_what_was_built(built: Path) -> None:
    ran = synthctx("check", "synthctx/mdqa_synth", cwd=built)
    assert ran.returncode == 0, ran.stdout
    assert "templated_haystack: 8 train, 3 validation" in ran.stdout


def test_show_unfolds_as_many_documents_as_are_asked_for(built: Path) -> None:
    (found,) = find_variants(parse_address(str(built / "synthctx/mdqa_synth")), ["symbolic_haystack"])
    row = found.row("train", 0)
    assert row is not None
    documents, needle = len(row["documents"]), row["needles"][0]["document"]
    for asked, shown in (
        ((), {needle}),
        (("--around", 2), {needle + by for by in range(-2, 3)} & {*range(documents)}),
        (("--full",), {*range(documents)}),
    ):
        said = synthctx("show", "synthctx/mdqa_synth:symbolic_haystack", *asked, cwd=built).stdout
        assert {int(number) - 1 for number in re.findall(r"^\[(\d+)\] ", said, re.MULTILINE)} == shown
        folded = sum(int(number) for number in re.findall(r"^··· (\d+) document", said, re.MULTILINE))
        assert folded == documents - len(shown)


def test_tables_come_as_json_too(built: Path) -> None:
    listed = json.loads(synthctx("list", "--json", cwd=built).stdout)
    assert {(one["task"], one["variant"]) for one in listed} == {
        (task.name, variant) for task in TASKS.values() for variant in task.variants
    }
    ran = synthctx("check", "synthctx/mdqa_synth", "--json", cwd=built)
    found = json.loads(ran.stdout)
    table = synthctx("check", "synthctx/mdqa_synth", cwd=built).stdout
    for one in found.values():
        assert (one["ok"], one["faults"]) == (True, {})
        assert all(split["hash"] in table for split in one["splits"].values())


def test_a_plan_comes_as_json_too(built: Path) -> None:
    ran = synthctx("plan", "mdqa_synth", "symbolic_haystack", *SMALL, "--json", cwd=built)
    (one,) = json.loads(ran.stdout)["variants"]
    assert one["rows"] == {"train": 8, "validation": 3}
    assert {"1", "16", "128"} <= one["seconds"].keys()
    assert sum(call["rows"] for call in one["took"]) == 11  # of the build
    ran = synthctx(
        "plan", "mdqa_synth", "llm_padding", *SMALL, "--model", "m", "--store", "s.sqlite", "--json", cwd=built
    )
    found = json.loads(ran.stdout)
    assert found["variants"][0]["forecast"] is None
    assert {one["kind"]: one["requests"] for one in found["requests"]}["mdqa_synth/needle"] == 11
    assert all(one["usd"] is None for one in found["requests"])  # nobody knows the price


def test_all_is_what_the_options_suffice_for(tmp_path: Path) -> None:
    small = ("--max-tokens", 1024, "--train", 2, "--validation", 0, "--workers", 1)
    ran = synthctx("build", "mdqa_synth", "summhay_synth", "all", *small, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    made_up = {"templated_haystack", "templated_padding", "symbolic_haystack", "symbolic_padding"}
    for task in ("mdqa_synth", "summhay_synth"):
        assert {one.name for one in find_variants(parse_address(str(tmp_path / "synthctx" / task)))} == made_up
        assert f'load_dataset("synthctx/{task}", "templated_haystack")' in ran.stdout
    ran = synthctx("build", "mdqa_synth", "symbolic_padding", "symbolic_padding", *small, cwd=tmp_path)
    assert ran.stdout.count("2 examples") == 1
    ran = synthctx("build", "mdqa_synth", "all", *small, "--corpus", CORPUS, "--output", "mine", cwd=tmp_path)
    mine = {"real_haystack", "real_limited", "templated_haystack", "symbolic_haystack"}
    assert {one.name for one in find_variants(parse_address(str(tmp_path / "mine" / "mdqa_synth")))} == mine
    assert "all leaves out grounded_haystack" in ran.stderr


def test_the_log_tells_of_workers_and_no_secrets(tmp_path: Path) -> None:
    small = ("--max-tokens", 512, "--train", 4, "--validation", 2, "--workers", 2)
    command = ("-m", "builders", "build", "mdqa_synth", "symbolic_padding", *small, "--output")
    secret = {"HF_TOKEN": "hf_abcdefghij"}
    said = process(*command, "hf_abcdefghij", cwd=tmp_path, SYNTHCTX_LOG="info", **secret).stderr
    wrote = re.findall(r"(?m)^\S+ \S+ (\d+) INFO wrote .*parquet$", said)
    assert len(wrote) == 2
    assert re.search(r"(?m)^\S+ \S+ (\d+) INFO synthctx build ", said)[1] not in wrote  # workers wrote it
    assert "***" in said
    assert "hf_abcdefghij" not in said
    assert process(*command, "silent", cwd=tmp_path, **secret).stderr == ""
    for address in ("http://me:pa@ss'/w\"ord@host/v1", "me:pass@host", "http://host/v1?api_key=SECRETQ123"):
        for flag in (("--endpoint", address), (f"--endpoint={address}",)):
            asked = ("-m", "builders", "plan", "mdqa_synth", "llm_padding", "--model", "m", *flag)
            said = process(*asked, cwd=tmp_path, SYNTHCTX_LOG="info").stderr
            assert "host" in said
            assert not re.search("pa.?ss|SECRET|ord@", said), said


def test_json_holds_any_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(map(chr, [*range(0x20, 0x100), 0x1B, 0x202E, 0xD800, 0xE0001]))
    print_json({"text": text})
    said = capsys.readouterr().out
    assert json.loads(said) == {"text": text}
    assert said.isascii()
    assert "\x1b" not in said


def test_a_report_of_a_fault_names_versions() -> None:
    said = dict(line.split(": ", 1) for line in versions().splitlines())
    assert said["synthctx"] == __version__
    assert said["datasets"] == metadata.version("datasets")


def test_check_exits_with_1_on_a_fault(tmp_path: Path) -> None:
    sizes = ("--max-tokens", 1024, "--train", 60, "--workers", 1)
    synthctx("build", "mdqa_synth", "symbolic_padding", *sizes, "--depth", "0.5", cwd=tmp_path)
    assert synthctx("check", "synthctx/mdqa_synth", cwd=tmp_path).returncode == 0
    skewed = synthctx("check", "synthctx/mdqa_synth", "--depth", "uniform", cwd=tmp_path)
    assert skewed.returncode == 1
    assert "depths are not uniform" in skewed.stdout


def test_a_second_call_builds_nothing(built: Path) -> None:
    ran = synthctx("build", "mdqa_synth", "symbolic_haystack", *SMALL, cwd=built)
    assert ran.returncode == 0
    assert "were there already" in ran.stdout


BAD = [
    (("build", "mdqa", "symbolic_haystack"), 2, r"expected a task, one of mdqa_synth.*; got 'mdqa'"),
    (("build", "mdqa_synth", "symbolic"), 2, r"no variant 'symbolic'; expected one of"),
    (("build", "mdqa_synth"), 2, r"parameter VARIANTS requires an argument; got: build mdqa_synth"),
    (("build", "mdqa_synth", "symbolic_padding", "--max-tokens", "many"), 2, r"--max-tokens: expected a valid integer.* got 'many'"),
    (("build", "mdqa_synth", "symbolic_padding", "--max-tokens", 127), 2, r"--max-tokens: expected .* equal to 128, got '127'"),
    (("build", "mdqa_synth", "symbolic_padding", "--max-tokens", 2**20 + 1), 2, r"--max-tokens: expected"),
    (("build", "mdqa_synth", "symbolic_padding", "--depth", "1.5"), 2, r"--depth: expected uniform, or numbers from 0 to 1"),
    (("build", "mdqa_synth", "symbolic_padding", "--depth", "nan"), 2, r"--depth: expected uniform"),
    (("build", "mdqa_synth", "symbolic_padding", "--train", "-1"), 2, r"--train: expected greater than or equal to 0, got '-1'"),
    (("build", "mdqa_synth", "symbolic_padding", "--train", 0, "--validation", 0), 2, r"expected at least one example"),
    (("build", "mdqa_synth", "symbolic_padding", "--key-style", "hex"), 2, r"--key-style: expected 'uuid', 'integer' or 'word', got 'hex'"),
    (("build", "mdqa_synth", "symbolic_padding", "--distractors", "random"), 2, r"--distractors: symbolic_padding does not read it"),
    (("build", "mdqa_synth", "symbolic_padding", "--tokenizer", "no/such"), 2, r"--tokenizer: expected a tokenizer.json"),
    (("build", "mdqa_synth", "symbolic_padding", "--workers", 0), 2, r"--workers: expected greater than or equal to 1, got '0'"),
    (("build", "mdqa_synth", "symbolic_padding", "--colour", "red"), 2, r"Unknown option: --colour"),
    (("build", "mdqa_synth", "real_haystack"), 2, r"real variants of mdqa_synth need --corpus"),
    (("build", "mdqa_synth", "real_haystack", "--corpus", "absent.jsonl"), 2, r"'absent.jsonl' is neither file nor folder"),
    (("build", "mdqa_synth", "real_haystack", "--corpus", CORPUS), 1, r"expected 1260 usable .* enough for --train"),
    (("build", "mdqa_synth", "real_haystack", "--corpus", CORPUS, "--distractors", "tfidf"), 2,
     r"--distractors: expected 'bm25', .*'tfidf'"),
    (("build", "mdqa_synth", "real_haystack", "--corpus", CORPUS, "--dense-model", "x"), 2, r"--dense-model: it is read with"),
    (("build", "mdqa_synth", "real_haystack", "--corpus", CORPUS, "--train", 9, "--validation", 1, "--max-tokens", 131072), 1,
     r"max_tokens is 131072, but there are documents for \d+ tokens only"),
    (("build", "mdqa_synth", "real_haystack", "--corpus", "latin.jsonl"), 1, r"latin.jsonl, line 1: expected UTF-8"),
    (("build", "mdqa_synth", "real_haystack", "--corpus", "empty.jsonl"), 1, r"empty.jsonl, and it is empty"),
    (("build", "mdqa_synth", "symbolic_padding", "--output", "latin.jsonl"), 1, r"(NotADirectoryError|FileExistsError).*latin.jsonl"),
    (("build", "mdqa_synth", "symbolic_padding", "--output", "/proc/nowhere"), 1, r"/proc/nowhere"),
    (("build", "mdqa_synth", "llm_haystack"), 1,
     r"without --model.*--train 28 --validation 4 --max-tokens 4096 of the llm variants of mdqa_synth.*OPENAI_API_KEY"),
    (("build", "mdqa_synth", "llm_haystack", "--max-tokens", 4096), 1,
     r"without --model, answers come from a sample .* no mdqa_synth/validation/000004\."),
    (("build", "mdqa_synth", "llm_haystack", "--estimate"), 2, r"--estimate, --store, .*name an llm or grounded variant and a --model"),
    (("build", "mdqa_synth", "llm_padding", "--pool-size", 9), 2, r"--pool-size: llm_padding does not read it, only llm_haystack do"),
    (("build", "mdqa_synth", "symbolic_padding", "--model", "m"), 2, r"--model: symbolic_padding does not read it"),
    (("build", "mdqa_synth", "symbolic_padding", "--budget-usd", 3), 2, r"name an llm or grounded variant and a --model"),
    (("build", "mdqa_synth", "llm_padding", "--model", "m", "--endpoint", "http://127.0.0.1:9/v1"), 1,
     r"http://127.0.0.1:9/v1 cannot be reached"),
    (("build", "mdqa_synth", "llm_padding", "--model", "m", "--prices", "empty.jsonl", "--estimate"), 2,
     r"--prices: expected a table .*, got nothing in empty.jsonl"),
    (("build", "mdqa_synth", "llm_padding", "--model", "m", "--api-key-file", "absent"), 2, r"--api-key-file absent: expected a file"),
    (("build", "mdqa_synth", "llm_padding", "--model", "m", "--store", "latin.jsonl"), 1, r"latin.jsonl: expected a store of answers"),
    (("answers", "list", "absent.sqlite"), 1, r"expected a store of answers, and there is no absent.sqlite"),
    (("answers", "export", "latin.jsonl", "./latin.jsonl"), 2, r"expected another file than the store"),
    (("build", "mdqa_synth", "llm_padding", "--store", "mine.sqlite"), 2, r"--estimate, --store, .* name an llm or grounded variant"),
    (("build", "mdqa_synth", "llm_padding", "--model", " "), 2, r"--model: expected the name of a model"),
    (("answers", "export", "latin.jsonl", "out.jsonl"), 1, r"latin.jsonl: expected a store of answers"),
    (("answers", "import", "new.sqlite", "latin.jsonl"), 1, r"latin.jsonl.*expected"),
    (("show", "nowhere/mdqa_synth", "symbolic_padding"), 1, r"nowhere/mdqa_synth:symbolic_padding cannot be loaded"),
    (("check", "nowhere/mdqa_synth"), 2, r"expected a folder here, or a data set on the Hub, got 'nowhere/mdqa_synth'"),
    (("check", "."), 2, r"expected variants in \."),
    (("check", "broken"), 1, r"expected a Parquet file, but broken/v/train-0.parquet does not open"),
    (("check", "other"), 1, r"expected the columns id, prompt, .* missing; is this a set of synthctx"),
    (("frobnicate",), 2, r'Unknown command "frobnicate"'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    BAD,
    ids=lambda value: " ".join(map(str, value))[:60] if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_clear_line(tmp_path: Path, arguments: tuple, code: int, message: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "latin.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "broken" / "v").mkdir(parents=True)
    (tmp_path / "broken" / "v" / "train-0.parquet").write_bytes(b"PAR1")
    (tmp_path / "other" / "v").mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other" / "v" / "train-0.parquet")
    before = sorted(tmp_path.rglob("*"))
    ran = synthctx(*arguments, cwd=tmp_path)
    lines = [line for line in ran.stderr.splitlines() if line.strip()]
    assert ran.returncode == code, ran.stderr
    assert len(lines) == 1, ran.stderr
    assert re.match(rf"synthctx: .*{message}", lines[0]), lines[0]
    left = [path for path in tmp_path.rglob("*") if path not in before and path.suffix in (".parquet", ".tmp", ".md")]
    assert not left


def test_a_read_only_folder(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    if os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("this user may write everywhere")
    ran = synthctx("build", "mdqa_synth", "symbolic_padding", *SMALL, "--output", "locked", cwd=tmp_path)
    assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1)
    assert "PermissionError" in ran.stderr


@pytest.mark.slow
def test_a_wheel_works_from_any_directory(tmp_path: Path) -> None:
    """Templates, cards and the tokenizer travel with it."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True)
    (tmp_path / "elsewhere").mkdir()
    environment = {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    code = "import builders, synthctx; print(builders.__file__); print(synthctx.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert [Path(line).is_relative_to(site) for line in where.stdout.splitlines()] == [True, True]
    command = [sys.executable, site / "bin" / "synthctx"]
    with hub_server() as hub:
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
        for arguments in (
            ("build", "mdqa_synth", "symbolic_padding", "templated_haystack", "llm_padding", *SMALL),
            ("check", "synthctx/mdqa_synth"),
            ("push", "synthctx/mdqa_synth", "--repo", "me/mdqa_synth", "--dry-run"),
        ):
            ran = subprocess.run(
                [*command, *arguments],
                cwd=tmp_path / "elsewhere",
                env={**os.environ, **environment, **settings},
                capture_output=True,
                text=True,
            )
            assert ran.returncode == 0, ran.stderr
    assert "me/mdqa_synth would be v1.0.0" in ran.stdout
    assert (tmp_path / "elsewhere" / "synthctx" / "mdqa_synth" / "README.md").read_text().count("config_name: ") == 6


def test_what_a_language_model_writes_builds_from_the_sample_and_says_who_wrote_it(tmp_path: Path) -> None:
    for (task, expression), (train, validation) in SAMPLE_SIZES.items():
        asked = ("--max-tokens", 4096, "--train", train, "--validation", validation, "--workers", 1)
        variants = [name for name in TASKS[task].variants if name.startswith(expression)]
        ran = synthctx("build", task, *variants, *asked, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
    for task in TASKS:
        checked = synthctx("check", f"synthctx/{task}", cwd=tmp_path)
        assert checked.returncode == 0, checked.stdout
    code = 'from datasets import load_dataset; print(set(load_dataset("synthctx/summhay_synth", "llm_padding", split="train")["writer"]))'
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.stdout.strip() == "{'sample'}", ran.stderr


def test_answers_are_listed_and_go_out_and_in(tmp_path: Path) -> None:
    from builders.writing.sample import SAMPLE_FOLDER as SAMPLE

    ran = synthctx("answers", "import", "a.sqlite", SAMPLE / "answers.jsonl", cwd=tmp_path)
    assert re.match(r"a.sqlite: (\d+) new answers, \1 in all\nBuild with --store a.sqlite .*: sample\n", ran.stdout), (
        ran.stderr
    )
    listed = synthctx("answers", "list", "a.sqlite", cwd=tmp_path).stdout
    assert re.search(r"mdqa_synth/needle +sample +sample +stop +32 ", listed), listed
    groups = json.loads(synthctx("answers", "list", "a.sqlite", "--json", cwd=tmp_path).stdout)
    (needles,) = [group for group in groups if group["kind"] == "mdqa_synth/needle"]
    assert (needles["asked"], needles["answers"]) == ("sample", 32)
    one = synthctx("answers", "list", "a.sqlite", "--unit", "mdqa_synth/train/000007/needle", cwd=tmp_path).stdout
    assert one.startswith("mdqa_synth/train/000007/needle, by sample (stop, 0 tokens)\n{")
    assert synthctx("answers", "export", "a.sqlite", "b.jsonl", cwd=tmp_path).returncode == 0
    assert sorted((tmp_path / "b.jsonl").read_text().splitlines()) == sorted(
        (SAMPLE / "answers.jsonl").read_text().splitlines()
    )


def test_an_estimate_says_requests_tokens_and_cost_and_asks_nothing(tmp_path: Path) -> None:
    asked = ("build", "mdqa_synth", "llm_haystack", "--max-tokens", 4096, "--estimate", "--model")
    said = synthctx(*asked, "gpt-4.1-mini", cwd=tmp_path).stdout
    assert re.search(r"mdqa_synth/needle +1,400 +[\d,]+ +420,000 +0\.\d\d", said), said
    assert re.search(r"all +2,816 ", said), said
    unknown = synthctx(*asked, "my-model", cwd=tmp_path).stdout
    assert "No price of my-model is known: give --prices" in unknown
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_shell_completes_commands_and_options(tmp_path: Path) -> None:
    file = tmp_path / "completion.bash"
    file.write_text(app.generate_completion(shell="bash"))
    for words, expected in (("synthctx pa", "page"), ("synthctx build --max-t", "--max-tokens")):
        last = len(words.split()) - 1
        asked = (
            f'source {file}; function=$(complete -p synthctx | sed "s/.*-F \\([^ ]*\\).*/\\1/"); COMP_WORDS=({words}); COMP_CWORD={last}; '
            '$function; echo "${COMPREPLY[@]}"'
        )
        ran = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
        assert ran.stdout.split() == [expected], ran.stderr
