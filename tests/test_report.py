"""The report of an experiment: what it shows is what lies in the folders, and a browser shows it without a network."""

import base64
import csv
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from analysis.heads import HeadScores
from analysis.reporting.collect import Answered, Found, collect, short_names
from analysis.reporting.differences import differences
from analysis.reporting.findings import findings
from analysis.reporting.head_map import head_map, highest_of
from tests.commands import ROOT, call, script
from tests.test_page import CHROMIUM, in_a_browser
from training.answer_scores import Mean

RUN = ROOT / "experiments" / "real_model" / "run"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    parts = (
        "real/1/nq_1024",
        "real/1/heads/wu_forced",
        "real/1/knockout",
        "untuned/nq_1024",
        "templated_haystack/1/patch",
    )
    folders = [*(RUN / "models" / part for part in parts), RUN / "compared"]
    ran = call(
        script("analysis/report.py"),
        *folders,
        "--output",
        "kept/report.html",
        "--title",
        "<b>Kept</b> & true",
        cwd=place,
    )
    assert ran.returncode == 0, ran.stderr
    return place / "kept" / "report.html"


def test_a_map_names_every_head_with_its_interval() -> None:
    heads = HeadScores.load(RUN / "models/real/1/heads/wu_forced")
    low, high = heads.intervals()
    titles = re.findall(r"<title>(\d+)-(\d+): (\S+) \[(\S+), (\S+)\]</title>", head_map(heads, highest_of(heads)))
    assert len(titles) == heads.values.size
    for layer, head, *numbers in titles:
        at = int(layer), int(head)
        assert [float(number) for number in numbers] == pytest.approx([heads.values[at], low[at], high[at]], abs=6e-4)


def test_the_data_of_a_figure_are_the_scores(report: Path) -> None:
    tables = [
        list(csv.reader(io.StringIO(base64.b64decode(found).decode())))
        for found in re.findall(r'href="data:text/csv;base64,([^"]+)"', report.read_text())
    ]
    scores = json.loads((RUN / "models/real/1/nq_1024/scores.json").read_text())["all"]["all"]["f1"]
    assert tables[0][0][:4] == ["model", "f1", "f1: low", "f1: high"]
    ends = [str(scores[name]) for name in ("mean", "low", "high")]
    assert ["real/1", *ends] in [row[:4] for row in tables[0]]
    knocked = json.loads((RUN / "models/real/1/knockout/knockout.json").read_text())["f1"]
    first = next(table for table in tables if table[0][:3] == ["condition", "heads", "F1"])
    means = [(n, str(one["mean"])) for points in knocked.values() for n, one in points.items()]
    assert [(row[1], row[2]) for row in first[1:]] == means


def test_names_are_as_short_as_they_can_be_told_apart() -> None:
    assert short_names(["a/b/c/adapter", "a/b/d/adapter", "m"]) == {
        "a/b/c/adapter": "b/c",
        "a/b/d/adapter": "b/d",
        "m": "m",
    }
    assert set(short_names(["x/1/a", "y/1/a"]).values()) == {"x/1/a", "y/1/a"}


def test_a_difference_counts_row_by_row_where_rows_are_known() -> None:
    """Rows differ much, and one model is a little better on each: only row by row can this be seen."""
    scores = [i % 2 * 0.8 for i in range(40)]

    def answered(name: str, more: float, with_rows: bool) -> Answered:
        rows = {str(i): (score + more * (i % 3), str(i)) for i, score in enumerate(scores)} if with_rows else {}
        mean = Mean(0.4 + more, 0.28 + more, 0.52 + more, 40)
        return Answered(Path(name), name, "d", "train", "made", {"f1": mean}, {str(i): name for i in range(40)}, rows)

    for with_rows, shown in ((True, "That it is better than low is shown."), (False, "than low is not shown.")):
        found = Found(evaluations=[answered("low", 0.0, with_rows), answered("high", 0.05, with_rows)])
        (point,) = findings(found).points
        assert point.startswith("On d (train): the highest is the F1 of high, 0.45 [0.33, 0.57].")
        assert point.endswith(shown)
        assert len(differences(found).parts[0].tables[0].rows) == 8
    one_context = Found(
        evaluations=[
            replace(one, rows={key: (score, "") for key, (score, _) in one.rows.items()})
            for one in (answered("low", 0.0, True), answered("high", 0.05, True))
        ]
    )
    assert findings(one_context).points[0].endswith("than low is not shown.")
    others = Found(evaluations=[answered("low", 0.0, True), replace(answered("high", 0.05, True), fingerprint="other")])
    assert len(findings(others).points) == 2  # two data sets of one name
    twice = Found(
        evaluations=[answered("low", 0.0, True), replace(answered("low", 0.05, True), folder=Path("x/again"))]
    )
    assert "F1 of low (again)" in findings(twice).points[0].replace("x/again", "again")
    assert all("low (" in cell for cell in differences(twice).parts[0].tables[0].rows[0][1:])
    alone = Found(evaluations=[answered("low", 0.0, True)])
    assert "No other model" in findings(alone).points[0]
    assert differences(alone).parts == []


def test_all_kept_results_of_the_project_can_be_shown_and_count_once(tmp_path: Path) -> None:
    kept = sorted(path for path in (ROOT / "experiments").iterdir() if any(path.rglob("scores.json")))
    assert len(kept) >= 3
    for folder in kept:
        ran = call(script("analysis/report.py"), folder, "--output", f"{folder.name}.html", cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
    part = RUN / "models" / "real" / "1"
    once, again = collect([part]), collect([part, part / "nq_1024"])
    assert [one.folder for one in once.evaluations] == [one.folder for one in again.evaluations]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"answers": {"own": {"tokens": [], "attention": []}}}, "trace it again"),
        ({"needles": []}, "trace it again"),
        ({"question": float("nan")}, "NaN is no number"),
        ({"message": None}, "trace it again"),
    ],
)
def test_traces_of_another_form_are_told(tmp_path: Path, row: dict, says: str) -> None:
    sound = {
        "id": "r",
        "question": "q",
        "all_right": ["a"],
        "message": "m",
        "documents": [{"start": 0, "end": 1}],
        "needles": [{"document": 0, "start": 0, "end": 1}],
        "answers": {"right": {"tokens": ["a"], "attention": [[{"needles": 1, "spots": [[0, 1, 1]]}]]}},
    }
    (tmp_path / "run.json").write_text(json.dumps({"model": "m", "data": {"address": "d"}, "finished": True}))
    (tmp_path / "trace.json").write_text(json.dumps({"heads": ["0-0"], "rows": [{**sound, **row}]}))
    ran = call(script("analysis/report.py"), ".", cwd=tmp_path)
    assert (ran.returncode, len(ran.stderr.strip().splitlines())) == (1, 1)
    assert "trace.json: expected what synthctx wrote" in ran.stderr
    assert says in ran.stderr
    (tmp_path / "trace.json").write_text(json.dumps({"heads": ["0-0"], "rows": [sound]}))
    ran = call(script("analysis/report.py"), ".", cwd=tmp_path)
    assert "fault of synthctx" not in ran.stderr


def test_unfinished_results_are_left_out_and_broken_ones_are_told(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(RUN / "models/real/1/nq_1024", kept)
    run = json.loads((kept / "run.json").read_text())
    (kept / "run.json").write_text(json.dumps({**run, "finished": False}))
    ran = call(script("analysis/report.py"), "kept", cwd=tmp_path)
    assert "found none that is finished" in ran.stderr
    (kept / "run.json").write_text(json.dumps(run))
    (kept / "scores.json").write_text('{"all": {"all": {"f1": {"mean": 1}}}}')
    ran = call(script("analysis/report.py"), "kept", cwd=tmp_path)
    assert (ran.returncode, len(ran.stderr.strip().splitlines())) == (1, 1)
    assert "kept/scores.json: expected what synthctx wrote" in ran.stderr
    assert not (tmp_path / "report.html").exists()


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_without_a_network(report: Path, scheme: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width in (360, 1024):
            page, said, asked = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme), [], []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("request", lambda request, asked=asked: asked.append(request.url[:5]))
            page.goto(report.as_uri())
            assert page.title() == "<b>Kept</b> & true"
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            assert page.evaluate("[...document.images].every((one) => one.naturalWidth > 0)")
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
            assert said == []
            assert {*asked} <= {"file:", "data:"}
        browser.close()
