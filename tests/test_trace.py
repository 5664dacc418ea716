"""Where heads look: against transformers' own eager attention, and as a browser draws it on the text."""

import json
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

from analysis.engine.trace import OWN, RIGHT, trace_row
from analysis.reporting.collect import Found, Traced
from analysis.reporting.write import write_report
from analysis.spans import characters_of, tokens_of
from tests.test_head_scores import attentions, random_model, rows, tiny, tokenizer  # noqa: F401
from tests.test_page import CHROMIUM, in_a_browser

HEADS = [(1, 0), (0, 1)]
HOSTILE = "🂡</script><b>\u202eA"


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_looks_are_what_eager_attention_computes(family: str, tokenizer, rows: list[dict]) -> None:  # noqa: F811
    model, eager = random_model(family, tokenizer), random_model(family, tokenizer, "eager")
    for row in (rows[0], rows[-1]):
        own = {**row, "completion": [{"role": "assistant", "content": row["question"][:20]}]}
        found = trace_row(model, tokenizer, row, own["completion"][0]["content"], HEADS)
        inside, _ = characters_of(tokenizer, row)
        for needle, span in zip(found["needles"], tokens_of(tokenizer, row).needles, strict=True):
            first, last = inside[span[0]], inside[span[-1]]
            assert first[0] <= needle["start"] < first[1]  # what is drawn is what is counted
            assert last[0] < needle["end"] <= last[1]
        for name, of in ((RIGHT, row), (OWN, own)):
            tokens, (covered, texts) = tokens_of(tokenizer, of), characters_of(tokenizer, of)
            assert found["answers"][name]["tokens"] == [texts[at] for at in tokens.answer]
            weights = attentions(eager, tokens.ids)
            for at, looks in zip(tokens.answer, found["answers"][name]["attention"], strict=True):
                for (layer, head), look in zip(HEADS, looks, strict=True):
                    of_head = weights[layer, head, at - 1, : tokens.prompt - 1]
                    on_needles = sum(float(of_head[list(needle)].sum()) for needle in tokens.needles)
                    assert look["needles"] == pytest.approx(on_needles, abs=2e-4)
                    shares = {covered[i]: float(share) for i, share in enumerate(of_head) if covered[i]}
                    assert {(s, e): share for s, e, share in look["spots"]} == {
                        (s, e): pytest.approx(shares[s, e], abs=2e-4) for s, e, _ in look["spots"]
                    }
                    least = min((share for *_, share in look["spots"]), default=1)
                    above = [span for span, share in shares.items() if share > max(least, 0.001) + 2e-4]
                    assert {*above} <= {(s, e) for s, e, _ in look["spots"]}


def test_tokens_cover_the_message(tokenizer, rows: list[dict]) -> None:  # noqa: F811
    row = rows[0]
    message, (covered, texts) = row["prompt"][0]["content"], characters_of(tokenizer, row)
    assert len(covered) == len(texts) == len(tokens_of(tokenizer, row).ids)
    seen = {at for span in covered if span for at in range(*span)}
    assert all(at in seen for at, letter in enumerate(message.strip()) if not letter.isspace())


def traced(folder: Path) -> Found:
    """A trace of a row with hostile text: two documents, a needle in the second, and an answer of two tokens."""
    message = f"Read.\n\n{HOSTILE} one\n\nThe key is Ann.\n\nWho?"
    needle = message.index("The key")
    ann = message.index("Ann")
    row = {
        "id": "row/0",
        "question": "Who?",
        "right": "Ann",
        "all_right": ["Ann"],
        "own": "Bo",
        "message": message,
        "documents": [
            {"start": 7, "end": needle - 2},
            {"start": needle, "end": ann + 4},
        ],
        "needles": [{"document": 1, "hop": 0, "start": needle, "end": ann + 4, "answer_start": ann, "answer_end": ann + 3}],
        "answers": {
            RIGHT: {"tokens": ["An", "n"], "attention": [_looks(ann, 0.5, 0.3), _looks(7, 0.4, 0.2)]},
            OWN: {"tokens": ["Bo"], "attention": [_looks(0, 0.2, 0.2)]},
        },
    }  # fmt: skip
    return Found(traces=[Traced(folder, "models/m", "some/data", ["1-0", "0-1"], [row])])


def _looks(start: int, *shares: float) -> list[dict]:
    return [{"needles": share, "spots": [[start, start + 3, share]]} for share in shares]


def marks(page: Page) -> list[tuple[str, str]]:
    return [(mark.inner_text(), mark.get_attribute("title") or "") for mark in page.locator(".view .text mark").all()]


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_them_on_the_text(tmp_path: Path, scheme: str) -> None:
    report = write_report(traced(tmp_path), tmp_path / "report.html", HOSTILE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, said = browser.new_page(color_scheme=scheme), []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(report.as_uri())
        assert marks(page) == [("Rea", "20\u00a0%")]  # its own answer is shown first
        page.get_by_role("combobox", name="While it writes").select_option(label="the right answer, given to it: Ann")
        assert marks(page) == [("Ann", "40\u00a0%")]
        assert "in document 2, a needle" in page.get_by_role("status").inner_text()
        page.get_by_role("combobox", name="Head").select_option(label="0-1")
        assert marks(page) == [("Ann", "30\u00a0%")]
        page.get_by_role("radio").nth(0).press("ArrowRight")
        assert marks(page) == [("🂡</", "20\u00a0%")]  # characters are counted as Python counts them
        assert page.locator(".view .text").nth(0).inner_text().endswith("🂡</script><b>U+202EA one")
        assert page.locator(".view b").count() == 0
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert said == []
        browser.close()


def test_a_report_of_traces_holds_them_as_json(tmp_path: Path) -> None:
    text = write_report(traced(tmp_path), tmp_path / "report.html", "t").read_text()
    held = text.split("data-drawn>")[1].split("</script>")[0]
    row = traced(tmp_path).traces[0].rows[0]
    assert json.loads(held)["message"] == row["message"]
