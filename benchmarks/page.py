"""How soon a browser shows the page of 1,000 long rows: python benchmarks/page.py --max-tokens 32768"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright


def _seconds(browser: Browser, file: Path) -> tuple[float, float, float]:
    """The seconds until the first example is shown, until the whole file is read, and from a key to the next example."""
    page, begun = browser.new_page(), time.perf_counter()
    page.goto(file.as_uri(), wait_until="commit")
    page.wait_for_selector("body[data-ready]", state="attached")
    shown = time.perf_counter() - begun
    page.wait_for_load_state("load")
    whole, begun = time.perf_counter() - begun, time.perf_counter()
    page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name="Example 1", exact=True).wait_for()
    following = time.perf_counter() - begun
    page.close()
    return shown, whole, following


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-tokens", type=int, default=32768)
    parser.add_argument("--rows", type=int, default=1000)
    asked = parser.parse_args()
    command, chromium = [sys.executable, "-m", "builders"], shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        sizes = ["--max-tokens", str(asked.max_tokens), "--train", str(asked.rows), "--validation", "0"]
        built, file = Path(place) / "built", Path(place) / "page.html"
        subprocess.run(
            [*command, "build", "mdqa_synth", "templated_haystack", *sizes, "--output", str(built)], check=True
        )
        subprocess.run([*command, "page", str(built / "mdqa_synth"), "--no-check", "--output", str(file)], check=True)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        print("| tokens a row | MB | first example | whole file | next example |\n|---|---|---|---|---|")
        for _ in range(3):
            times = " | ".join(f"{one:.2f}" for one in _seconds(browser, file))
            print(f"| {asked.max_tokens:,} | {file.stat().st_size / 1e6:.0f} | {times} |")


if __name__ == "__main__":
    main()
