"""Screenshots of reports: ``python scripts/screenshots.py [FOLDER] [--page PAGE …]``.

Writes the first screen and Figure 1 at desktop and phone width, in light and dark, and the first
printed page into FOLDER (default: docs/screenshots). Without ``--page``, of the default study, with
docs/report.png for the README. Needs chromium (or PARETOSCOPE_CHROMIUM), and the finished study.
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
WIDTHS = {"desktop": (1400, 900), "phone": (390, 844)}
PAPER = (1032, 702)
"""A4 landscape with margins of 12 mm, in CSS pixels."""

_FIGURE = "document.querySelector('#figure-1')?.scrollIntoView()"


def main() -> int:
    """Take every screenshot; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "screenshots")
    parser.add_argument("--page", type=Path, action="append", help="index.html of a report")
    arguments = parser.parse_args()
    pages: list[Path] = arguments.page or [PAGE]
    program = os.environ.get("PARETOSCOPE_CHROMIUM") or shutil.which("chromium")
    missing = [str(page) for page in pages if not page.exists()] + ([] if program else ["chromium"])
    if missing:
        sys.stderr.write(f"screenshots need {', '.join(missing)} (make study)\n")
        return 1
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for page in pages:
            name = "" if page == PAGE else f"{page.resolve().parent.name}-"
            _shoot(browser, page.resolve().as_uri(), f"{arguments.folder}/{name}")
        if not arguments.page:
            shown = _open(browser, PAGE.as_uri(), WIDTHS["desktop"], "light")
            shown.screenshot(path=ROOT / "docs" / "report.png")
        browser.close()
    return 0


def _shoot(browser: Any, address: str, prefix: str) -> None:
    """Every screenshot of one page; their paths start with ``prefix``."""
    for width, size in WIDTHS.items():
        for scheme in ("light", "dark"):
            page = _open(browser, address, size, scheme)
            page.screenshot(path=f"{prefix}report-{width}-{scheme}.png")
            page.evaluate(_FIGURE)
            page.screenshot(path=f"{prefix}figure-1-{width}-{scheme}.png")
            page.context.close()
    page = _open(browser, address, PAPER, "light")
    page.emulate_media(media="print")
    page.screenshot(path=f"{prefix}report-print.png")
    page.context.close()


def _open(browser: Any, address: str, size: tuple[int, int], scheme: str) -> Any:
    wide, high = size
    context = browser.new_context(
        viewport={"width": wide, "height": high}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(address)
    return page


if __name__ == "__main__":
    sys.exit(main())
