"""Screenshots of the report of the default study: ``python scripts/screenshots.py [FOLDER]``.

Writes the first screen at desktop and phone width, in light and dark, into FOLDER
(default: docs/screenshots), and docs/report.png for the README. Needs the finished
study and chromium (or PARETOSCOPE_CHROMIUM).
"""

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "data" / "studies" / "synthetic-shop" / "report" / "index.html"
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
README = (1280, 1000)
_FIGURE = "document.querySelector('#figure-1').scrollIntoView()"


def main() -> int:
    """Take every screenshot; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "screenshots")
    folder = parser.parse_args().folder
    program = os.environ.get("PARETOSCOPE_CHROMIUM") or shutil.which("chromium")
    if not PAGE.exists() or not program:
        missing = "the finished study (make study)" if program else "chromium"
        sys.stderr.write(f"screenshots need {missing}\n")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for width, size in WIDTHS.items():
            for scheme in ("light", "dark"):
                page = _open(browser, size, scheme)
                page.screenshot(path=folder / f"report-{width}-{scheme}.png")
                page.evaluate(_FIGURE)
                page.screenshot(path=folder / f"figure-1-{width}-{scheme}.png")
        _open(browser, README, "light").screenshot(path=ROOT / "docs" / "report.png")
        browser.close()
    return 0


def _open(browser: Any, size: tuple[int, int], scheme: str) -> Any:
    wide, high = size
    context = browser.new_context(
        viewport={"width": wide, "height": high}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(PAGE.as_uri())
    return page


if __name__ == "__main__":
    sys.exit(main())
