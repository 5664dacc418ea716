"""Every command and every line of Python that README and docs print runs: in their order, in one fresh directory."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from tests.hub import TOKEN, hub_server
from tests.llm_server import llm_server

ROOT = Path(__file__).resolve().parent.parent
NOT_TESTED = {
    "needs a network",
    "needs a GPU",
    "needs an environment of its own",
}  # the only reasons why a block may be left out
_BLOCK = re.compile(r"(?:<!-- not tested: (?P<reason>.*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)
# SYNTHCTX_DOCS=full runs the commands as they are printed. Else these have less to do, or no end.
FULL = os.environ.get("SYNTHCTX_DOCS") == "full"
SMALLER = {
    "make data ": "make data MAX_TOKENS=1024 ",
    # Tests of their own run these two.
    "experiments/miniature/run.py": "experiments/miniature/run.py --help",
    "experiments/recipe/run.py": "experiments/recipe/run.py --help",
    "training/evaluate.py": "training/evaluate.py --limit 2",
    "training/finetune.py --config training/recipes/smollm2_": "training/finetune.py --max-steps 2 --config training/recipes/smollm2_",
    "analysis/detect.py": "analysis/detect.py --limit 2",
    "analysis/knockout.py": "analysis/knockout.py --limit 2 --seeds 1",
    "analysis/patch.py": "analysis/patch.py --limit 2 --seeds 1",
    "analysis/rank.py": "analysis/rank.py --limit 2",
    "analysis/add_to_atlas.py": "analysis/add_to_atlas.py --limit 1 --slow-limit 1",
    "--max-steps 15": "--max-steps 2",
    "--train 150 --validation 40": "--train 20 --validation 10",
    "--train 0 --validation 40": "--train 0 --validation 5",
    "--top 20 --max-steps 4": "--top 20 --max-steps 1",
    "--output runs/recommended": "--output runs/recommended --max-steps 2",
}
ALWAYS = {"make test ": "make --dry-run test "}  # it would run this test


class Block(NamedTuple):
    """A fenced block of a page, and why it is not tested ("" if it is)."""

    page: str
    language: str
    code: str
    reason: str


def navigation() -> list[Path]:
    """The pages of the site, in order."""
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    return [ROOT / "docs" / name for entry in nav for name in entry.values()]


def pages() -> list[Path]:
    """The README, and the pages of the site that are no notebooks."""
    return [ROOT / "README.md", *(page for page in navigation() if page.suffix == ".md")]


NOTEBOOKS = [page for page in navigation() if page.suffix == ".ipynb"]


def blocks() -> Iterator[Block]:
    """The blocks of all pages, in order."""
    for page in pages():
        for found in _BLOCK.finditer(page.read_text()):
            yield Block(page.name, found["language"], found["code"], found["reason"] or "")


def test_every_block_is_tested_or_says_why_not() -> None:
    found = list(blocks())
    assert {block.language for block in found} == {"bash", "python"}
    assert {block.reason for block in found} <= NOT_TESTED | {""}
    assert sum(not block.reason for block in found) > 25


def test_every_page_is_in_the_navigation() -> None:
    written = [page.name for kind in ("*.md", "*.ipynb") for page in (ROOT / "docs").glob(kind)]
    assert sorted(written) == sorted(page.name for page in navigation())


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout in which nothing was built, with the environment of the tests as its .venv."""
    place = tmp_path / "checkout"
    kept = (
        "analysis",
        "builders",
        "dataset_cards",
        "docs",
        "experiments",
        "harnesses",
        "prompts",
        "synthctx_data",
        "training",
    )
    for name in kept:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "data", place / "tests" / "data")
    for file in ("synthctx.py", "Makefile", "README.md", "pyproject.toml", "constraints.txt", "mkdocs.yml"):
        shutil.copy(ROOT / file, place / file)
    environment = place / ".venv"
    venv.create(environment, symlinks=True)
    (site,) = environment.glob("lib/*/site-packages")
    (site / "tests.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    for command in Path(sys.executable).parent.iterdir():
        if not (environment / "bin" / command.name).exists():
            (environment / "bin" / command.name).symlink_to(command)
    for stamp in ("core", "dev"):
        (environment / stamp).touch()
    return place


@pytest.mark.slow
def test_what_is_printed_runs(checkout: Path, tmp_path: Path) -> None:
    with hub_server() as hub, llm_server() as server:
        environment = {
            **os.environ,
            "PATH": f"{checkout}/.venv/bin:{os.environ['PATH']}",
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
        }
        for block in blocks():
            if block.reason:
                continue
            code = resized(block.code).replace("http://localhost:8000/v1", server.url)
            command = ["bash", "-euo", "pipefail", "-c", code] if block.language == "bash" else ["python", "-c", code]
            ran = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
            assert ran.returncode == 0, f"{block.page}:\n{code}\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"


def resized(code: str) -> str:
    """The code with commands that have less to do, where that is asked for."""
    for printed, run in {**ALWAYS, **({} if FULL else SMALLER)}.items():
        code = code.replace(printed, run)
    return code


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda page: page.stem)
def test_a_notebook_shows_what_it_gave(notebook: Path) -> None:
    cells = [cell for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2
    assert not [
        out for cell in cells for out in cell.outputs if out.output_type == "error" or out.get("name") == "stderr"
    ]
    assert str(Path.home()) not in notebook.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda page: page.stem)
def test_a_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    content = nbformat.read(notebook, 4)
    NotebookClient(content, timeout=None, resources={"metadata": {"path": str(tmp_path)}}).execute()
