"""The page of a data set, in a real browser: what it shows is what the rows hold, and it asks no network."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from builders.page.rows import whole_text
from synthctx_data.dataset import find_variants, parse_address
from synthctx_data.depths import places
from tests.commands import synthctx

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SIZES = [(360, 740), (1024, 800), (1920, 1080)]
HOSTILE = (
    "</script><script>document.title='broken'</script><img src=x onerror=alert(1)> \u202eabc\u202c \u0007 \x1b[31m "
    "&amp; <!-- rows -->"
)
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="expected Chromium; apt-get install chromium")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two data sets and their pages."""
    place = tmp_path_factory.mktemp("place")
    sizes = ("--max-tokens", 1024, "--train", 30, "--validation", 0)
    for task, *variants in (
        ("mdqa_synth", "templated_haystack", "symbolic_haystack", "templated_padding"),
        ("musique_synth", "templated_haystack", "symbolic_haystack"),
    ):
        ran = synthctx("build", task, *variants, *sizes, cwd=place)
        assert ran.returncode == 0, ran.stderr
        ran = synthctx("page", f"synthctx/{task}", cwd=place)
        assert ran.returncode == 0, ran.stderr
    return place


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def opened(browser: Browser, file: Path, size: tuple[int, int] = SIZES[1], **options: Any) -> Iterator[Page]:
    """The page, ready. At the end it must have written nothing on the console, and asked for nothing but itself."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("body[data-ready]")
    yield page
    context.close()
    assert said == []
    assert {url.partition("#")[0] for url in asked} == {file.as_uri()}


def rows(place: Path, task: str, variant: str) -> list[dict[str, Any]]:
    (found,) = find_variants(parse_address(str(place / "synthctx" / task)), [variant])
    return [row for split, row in found.rows() if split == "train"]


def test_a_text_in_pieces_is_the_prompt(place: Path) -> None:
    for row in rows(place, "musique_synth", "templated_haystack"):
        text = whole_text(row)
        prompt = row["prompt"][0]["content"]
        said = "".join(one["above"] + "".join(part for _, part in one["text"]) for one in text["documents"])
        assert text["before"] + said + text["after"] == prompt
        marked = [part for one in text["documents"] for kind, part in one["text"] if kind == 2]
        assert sorted(marked) == sorted({prompt[n["answer_start"] : n["answer_end"]] for n in row["needles"]})
        assert [i for i, one in enumerate(text["documents"]) if one["kind"] == "needle"] == sorted(
            {needle["document"] for needle in row["needles"]}
        )


@in_a_browser
@pytest.mark.parametrize("task", ["mdqa_synth", "musique_synth"])
def test_every_example_shows_its_needles_in_each_variant(place: Path, browser: Browser, task: str) -> None:
    variants = sorted(path.name for path in (place / "synthctx" / task).iterdir() if (path / "build.json").exists())
    there = {variant: rows(place, task, variant) for variant in variants}
    with opened(browser, place / f"{task}.html") as page:
        for index in range(30):
            cards = page.locator("#pair article").all()
            assert [card.locator("h3").inner_text() for card in cards] == variants
            for variant, card in zip(variants, cards, strict=True):
                row = there[variant][index]
                prompt = row["prompt"][0]["content"]
                shown = [
                    "".join(one.all_text_contents())
                    for one in (d.locator("mark") for d in card.locator("dd").all())
                    if one.count()
                ]
                assert shown == [prompt[n["start"] : n["end"]] for n in row["needles"]]
                assert row["question"] in card.inner_text()
            until(page, f"document.querySelector('#contexts').dataset.index === '{index}'")
            first = there[variants[0]][index]
            marked = page.locator("#contexts mark.needle, #contexts .document mark.answer").all_text_contents()
            prompt = first["prompt"][0]["content"]
            assert "".join(marked) == "".join(
                prompt[n["start"] : n["end"]] for n in sorted(first["needles"], key=lambda n: n["start"])
            )
            page.keyboard.press("ArrowRight")
        assert page.locator("#number").input_value() == "0"  # round again


@in_a_browser
def test_search_and_charts_select_what_python_selects(place: Path, browser: Browser) -> None:
    there = rows(place, "musique_synth", "symbolic_haystack")
    with opened(browser, place / "musique_synth.html") as page:
        word = there[3]["completion"][0]["content"][:6].lower()
        page.keyboard.press("/")
        page.keyboard.type(word)
        said = [
            " ".join(
                [row["question"], row["completion"][0]["content"]]
                + [row["prompt"][0]["content"][n["start"] : n["end"]] for n in row["needles"]]
            ).lower()
            for row in there
        ]
        assert listed(page) == [i for i, text in enumerate(said) if word in text]
        page.locator("#search").press("Escape")
        assert (page.locator("#search").input_value(), listed(page)) == ("", list(range(30)))
        page.locator("button[type=reset]").click()
        until(page, "document.querySelectorAll('#list button').length === 30")
        hops = str(len(there[0]["needles"]))
        page.locator("#hops").select_option(hops)
        assert listed(page) == [i for i, row in enumerate(there) if len(row["needles"]) == int(hops)]
        page.locator("#hops").select_option("")
        depths = [places(row).needles for row in there]
        for tenth in (0, 4, 9):
            bar = page.locator('[data-chart="depth"] button').nth(tenth)
            bar.click()
            assert bar.get_attribute("aria-pressed") == "true"
            assert listed(page) == [
                i for i, found in enumerate(depths) if any(min(9, int(round(d, 3) * 10)) == tenth for d in found)
            ]
            bar.click()
        assert listed(page) == list(range(30))


def until(page: Page, holds: str) -> None:
    """Waits until an expression holds. The page's own policy forbids Playwright's way of waiting for one."""
    for _ in range(600):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(50)
    raise AssertionError(holds)


def listed(page: Page) -> list[int]:
    return [int(one.get_attribute("data-index") or -1) for one in page.locator("#list button").all()]


@in_a_browser
def test_a_needle_is_two_keystrokes_away_and_long_contexts_unfold(place: Path, browser: Browser) -> None:
    there = rows(place, "mdqa_synth", "templated_haystack")
    with opened(browser, place / "mdqa_synth.html", (360, 740)) as page:
        page.keyboard.press("v")
        page.wait_for_selector('#contexts article[aria-label="templated_haystack"]')
        page.keyboard.press("n")
        focused = page.evaluate("document.activeElement.textContent")
        needle = there[0]["needles"][0]
        assert focused == there[0]["prompt"][0]["content"][needle["start"] : needle["end"]]
        page.locator("details.document.needle summary").click()  # folded by hand
        page.keyboard.press("n")
        assert page.locator("details.document.needle").get_attribute("open") is not None
        seen = page.evaluate("document.activeElement.getBoundingClientRect().top")
        assert 0 <= seen < 740
        page.keyboard.press("u")
        until(
            page,
            "[...document.querySelectorAll('.document')].every((one) => one.open && one.querySelector('.text').firstChild)",
        )
        text = page.evaluate(
            "[...document.querySelectorAll('#contexts .document .text')].map((one) => one.textContent)"
        )
        row = there[0]
        assert text == [row["prompt"][0]["content"][d["start"] : d["end"]] for d in row["documents"]]
        page.keyboard.press("u")
        assert page.locator("details.document[open]").count() == 1
        page.keyboard.press("g")
        for wrong in ("999", ""):
            page.locator("#number").fill(wrong)
            page.keyboard.press("Enter")
            assert page.locator("#number").input_value() == "0"
            assert page.locator("#told").inner_text() == f"There is no example {wrong} on this page.".replace("  ", " ")
        page.locator("#number").fill("7")
        page.keyboard.press("Enter")
        until(page, "document.querySelector('#example-title').textContent === 'Example 7'")
        page.locator("#beside").select_option(label="templated_padding")
        until(page, "document.querySelectorAll('#contexts article').length === 2")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("n")
        page.keyboard.press("ArrowRight")  # who reads a needle in its context gets the next example's
        needle, prompt = there[8]["needles"][0], there[8]["prompt"][0]["content"]
        wanted = prompt[needle["start"] : needle["end"]]
        until(page, f"document.activeElement.textContent === {json.dumps(wanted)}")
        assert page.evaluate("location.hash") == "#8:templated_haystack"
        page.evaluate("location.hash = '#5:symbolic_haystack'")
        page.reload()
        page.wait_for_selector("body[data-ready]")
        assert page.locator("#example-title").inner_text() == "Example 5"
        assert page.locator("#contexts article").get_attribute("aria-label") == "symbolic_haystack"


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: str(size[0]))
def test_the_page_is_accessible_and_keeps_still(
    place: Path, browser: Browser, size: tuple[int, int], scheme: str
) -> None:
    with opened(browser, place / "musique_synth.html", size, color_scheme=scheme) as page:
        shift = page.evaluate(
            """new Promise((done) => { let sum = 0;
            const watch = new PerformanceObserver((list) => list.getEntries().forEach((one) => { sum += one.value; }));
            watch.observe({ type: "layout-shift", buffered: true });
            setTimeout(() => done(sum), 200); })"""
        )
        assert shift < 0.1
        page.keyboard.press("n")
        page.locator("#details summary").first.click()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@in_a_browser
def test_hostile_text_is_shown_as_text(place: Path, browser: Browser, tmp_path: Path) -> None:
    shutil.copytree(place / "synthctx" / "mdqa_synth", tmp_path / "mdqa_synth")
    (file,) = (tmp_path / "mdqa_synth" / "templated_haystack").glob("train*.parquet")
    table = pq.read_table(file)
    changed = table.to_pylist()
    changed[0]["question"] = HOSTILE
    changed[0]["prompt"][0]["content"] += HOSTILE + "x" * 1_000_000
    pq.write_table(type(table).from_pylist(changed, schema=table.schema), file)
    ran = synthctx(
        "page",
        tmp_path / "mdqa_synth:templated_haystack",
        "--no-check",
        "--output",
        tmp_path / "hostile.html",
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    with opened(browser, tmp_path / "hostile.html") as page:
        assert page.title() == "mdqa_synth: examples"
        shown = page.locator("#pair dd").first.inner_text()
        assert shown == re.sub("[\u202e\u202c\u0007\x1b]", lambda odd: f"U+{ord(odd[0]):04X}", HOSTILE)
        assert page.locator("#contexts img, #pair img, #pair script").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert page.locator("#contexts").inner_text().count("x" * 1000) == 1000


def test_a_sample_has_the_same_examples_of_each_variant_and_the_same_bytes_each_time(
    place: Path, tmp_path: Path
) -> None:
    files = [tmp_path / "one.html", tmp_path / "other.html"]
    for file in files:
        ran = synthctx("page", "synthctx/mdqa_synth", "--sample", 7, "--output", file, "--workers", 1, cwd=place)
        assert ran.returncode == 0, ran.stderr
        assert "7 examples" in ran.stdout
    text = files[0].read_text()
    assert text == files[1].read_text()
    names = [re.findall(rf'id="row-{number}-(\d+)"', text) for number in range(3)]
    assert len(names[0]) == 7
    assert names[0] == names[1] == names[2]


def test_variants_may_be_named_in_both_ways_and_come_once(place: Path, tmp_path: Path) -> None:
    asked = ("synthctx/mdqa_synth:templated_padding", "symbolic_haystack", "symbolic_haystack", "--no-check")
    ran = synthctx("page", *asked, "--output", tmp_path / "two.html", cwd=place)
    assert ran.returncode == 0, ran.stderr
    assert re.findall(r'id="rows-(\d+)"', (tmp_path / "two.html").read_text()) == ["0", "1"]


def test_a_page_that_cannot_be_written_says_why(place: Path) -> None:
    for asked, says in (
        (("synthctx/mdqa_synth:nothing",), "nothing"),
        (("synthctx/mdqa_synth", "--split", "validation"), "--split: expected a split with rows"),
        (("synthctx/mdqa_synth", "--output", "synthctx"), "--output: expected a file"),
        (("synthctx/mdqa_synth", "--sample", 0), "--sample"),
    ):
        ran = synthctx("page", *asked, cwd=place)
        assert ran.returncode
        assert says in ran.stderr
        assert len(ran.stderr.strip().splitlines()) == 1
