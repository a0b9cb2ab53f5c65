"""Pages in a real browser: Debian's chromium, driven by Playwright.

Where there is no chromium the tests are skipped, saying so; PARETOSCOPE_CHROMIUM names another one.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "PARETOSCOPE_CHROMIUM"
WIDTHS = {"phone": (390, 844), "desktop": (1400, 900)}
LOCAL = {"", "127.0.0.1"}
"""Hosts that a page may ask: none (file:, data:, blob:) and this machine."""

SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser a module: Playwright keeps an event loop that tests with asyncio cannot share."""
    program = os.environ.get(CHROMIUM) or shutil.which("chromium")
    if not program or not Path(program).exists():
        pytest.skip(f"no chromium to show pages with; install Debian's chromium or set {CHROMIUM}")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=quiet)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the pages of this test did that none may do; empty when the test ends."""
    return []


@pytest.fixture
def open_page(browser, complaints) -> Iterator[Callable[..., Page]]:
    """Opens a page of ``width`` ("phone", "desktop") in ``scheme`` ("light", "dark").

    After the test nothing may stand in the console, no script may have failed, and nothing may have
    been asked of another machine.
    """
    contexts = []

    def opened(*, width: str = "desktop", scheme: Any = "light") -> Page:
        wide, high = WIDTHS[width]
        context = browser.new_context(
            viewport={"width": wide, "height": high}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda said: said.type == "error" and complaints.append(f"console: {said.text}"),
        )
        page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
        page.on("request", lambda asked: complaints.extend(_foreign(asked.url)))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def _foreign(url: str) -> list[str]:
    return [] if (urlsplit(url).hostname or "") in LOCAL else [f"request off the machine: {url}"]


@pytest.fixture(
    params=[
        ("phone", "light"),
        pytest.param(("phone", "dark"), marks=pytest.mark.slow),
        pytest.param(("desktop", "light"), marks=pytest.mark.slow),
        ("desktop", "dark"),
    ],
    ids="-".join,
)
def page(request, open_page) -> Page:
    """A page at both widths, in light and in dark; the other two pairs of them are slow tests."""
    width, scheme = request.param
    return open_page(width=width, scheme=scheme)


def serious_faults(page: Page) -> list[str]:
    """What axe-core calls serious or critical, with the first element of each."""
    return [
        f"{fault['id']}: {fault['help']} ({fault['nodes'][0]['html'][:120]})"
        for fault in Axe().run(page, options={"preload": False}).response["violations"]
        if fault["impact"] in SERIOUS
    ]


@pytest.fixture
def axe() -> Callable[[Page], list[str]]:
    """The serious faults of a page for those who use it by keyboard or ear."""
    return serious_faults


@pytest.fixture
def faults(axe, cut_off) -> Callable[[Page], list[str]]:
    """Serious faults, what is cut off, and whether the page is wider than its window."""
    wider = "document.documentElement.scrollWidth > innerWidth ? ['wider than the window'] : []"
    return lambda page: [*axe(page), *cut_off(page), *page.evaluate(wider)]


@pytest.fixture
def above_the_fold() -> Callable[[Page], list[str]]:
    """The words that are visible without scrolling, numbers and the figure's included."""
    return lambda page: page.evaluate(_ABOVE_THE_FOLD)


_ABOVE_THE_FOLD = r"""() => {
  const words = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (!text.parentElement.checkVisibility({ visibilityProperty: true })) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    if (box.width && box.top < innerHeight && box.right > 0) words.push(text.textContent);
  }
  return words.join(' ').split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word));
}"""


@pytest.fixture
def cut_off() -> Callable[[Page], list[str]]:
    """Elements that reach beyond the window and stand in nothing that scrolls."""
    return lambda page: page.evaluate(_CUT_OFF)


_CUT_OFF = """() => {
  const scrolls = (e) => {
    for (let p = e; p && p !== document.body; p = p.parentElement) {
      const o = getComputedStyle(p).overflowX;
      if (o === 'auto' || o === 'scroll') return true;
    }
    return false;
  };
  return [...document.body.querySelectorAll('*')]
    .filter((e) => {
      const box = e.getBoundingClientRect();
      return box.width > 0 && box.right > document.documentElement.clientWidth + 1 && !scrolls(e);
    })
    .map((e) => `${e.tagName.toLowerCase()}: ${e.textContent.trim().slice(0, 60)}`);
}"""
