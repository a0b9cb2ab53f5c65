"""The first screen answers: which metric, how sure, what to ship, and what it costs."""

import pytest

from pipeline.reporting.report import write_report
from tests.pipeline.reporting.conftest import card, whole_report
from tests.pipeline.reporting.truths import SHAPES, TRUTHS, report_of

pytestmark = pytest.mark.slow

__all__ = ["card", "whole_report"]

MOST_WORDS = 90

ANSWERS = {
    "drives-clicks": ["Recall@20 predicts CTR", "Confirmed +0.44% high", "CTR g6 g1 +25%"],
    "none": [
        "No metric is confirmed: inconclusive",
        "Inconclusive 0.00% none",
        "CTR inconclusive g1",
    ],
    "costs-orders": [
        "Recall@20 predicts CTR and lower orders/impression",
        "Confirmed −0.71% high",
        "CTR g6 g1 +25% −29%",
    ],
}
"""Which metric, how sure, and what to ship for clicks against the control, with its costs."""

FEW = ("two-groups", "blocked")
"""Shapes of the default suite; the others are slow tests."""

WITH_NUMBERS = ("many", "four-kpis")
"""Shapes with the most rows, whose numbers count as words, too."""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of the page of a truth or a shape."""
    written: dict[str, str] = {}

    def page(name):
        if name not in written:
            folder = tmp_path_factory.mktemp(name)
            control = "g1" if name in TRUTHS else None
            write_report(report_of(*(TRUTHS | SHAPES)[name], folder, control=control), folder)
            written[name] = (folder / "index.html").as_uri()
        return written[name]

    return page


@pytest.mark.parametrize("name", TRUTHS)
def test_the_answer_is_above_the_fold_in_few_words(open_page, address, above_the_fold, name):
    page = open_page(width="desktop")
    page.goto(address(name))

    words = above_the_fold(page)

    assert len(words) <= MOST_WORDS
    text = " ".join(words).replace("\u200b", "")
    assert [answer for answer in ANSWERS[name] if answer not in text] == []
    assert ("Confirmed" in text) == (name != "none")


def test_the_report_of_a_study_has_few_words_above_the_fold(
    open_page, whole_report, tmp_path, above_the_fold
):
    write_report(whole_report, tmp_path)
    page = open_page(width="desktop")
    page.goto((tmp_path / "index.html").as_uri())

    words = above_the_fold(page)

    assert len(words) <= MOST_WORDS, words
    assert {"Simulated", "Confirmed", "Evidence", "ship"} <= set(words)
    assert page.locator(".lead svg").bounding_box()["y"] < 900


@pytest.mark.parametrize(
    "name",
    [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in SHAPES],
)
def test_every_shape_of_report_is_whole_at_every_width_and_in_print(
    open_page, address, faults, above_the_fold, name
):
    for width, scheme in (("desktop", "light"), ("phone", "dark")):
        page = open_page(width=width, scheme=scheme)
        page.goto(address(name))
        words = above_the_fold(page)
        if name not in WITH_NUMBERS:
            words = [word for word in words if any(map(str.isalpha, word))]
        assert len(words) <= MOST_WORDS, (width, words)

        page.evaluate("document.querySelectorAll('main details').forEach(d => { d.open = true; })")
        assert faults(page) == [], width

        page.emulate_media(media="print")
        assert page.locator(".screen").bounding_box()["width"] <= page.viewport_size["width"]


def test_a_failed_check_is_the_first_thing_seen(open_page, address):
    page = open_page(width="phone")
    page.goto(address("blocked"))

    alert = page.locator(".alert")

    assert alert.inner_text().startswith("Verdicts are blocked: sample ratio mismatch (SRM).")
    assert alert.locator("svg").is_visible()
    assert alert.bounding_box()["y"] < page.locator("h1").bounding_box()["y"] < 300
    red, green, blue = page.evaluate(
        "getComputedStyle(document.querySelector('.alert')).borderTopColor.match(/\\d+/g).map(Number)"
    )
    assert red > 2 * max(green, blue)
    assert page.locator(".bar").count() == 0


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_the_bars_share_one_axis(open_page, address, width):
    page = open_page(width=width)
    page.goto(address("costs-orders"))

    zeros = [line.bounding_box()["x"] for line in page.locator(".results .zero").all()]
    dots = [dot.bounding_box() for dot in page.locator(".results .dot").all()]

    assert len(zeros) == len(dots) == 3
    assert max(zeros) - min(zeros) < 1
    clicks, orders, _ = (box["x"] + box["width"] / 2 - zeros[0] for box in dots)
    # 0.44% to the right of 0, 0.71% to the left
    assert clicks / orders == pytest.approx(0.44 / -0.71, abs=0.04)


def test_a_bar_shows_its_exact_numbers_by_keyboard(open_page, address):
    page = open_page(width="desktop")
    page.goto(address("costs-orders"))

    page.locator(".results .bar").first.focus()
    shown = page.locator("#tip").inner_text()
    page.keyboard.press("ArrowDown")

    assert shown.startswith(
        "metric: H1: Recall@20\nKPI: click-through rate\nverdict: confirmed\neffect, %: 0.4"
    )
    assert "CI: 0.4" in shown
    assert page.locator("#tip").inner_text().startswith("metric: H2: Recall@20")
    # one tab stop for the bars of a table
    assert page.locator(".results .bar[tabindex='0']").count() == 1


def test_a_table_that_is_cut_says_that_it_scrolls(open_page, address):
    page = open_page(width="phone")
    page.goto(address("drives-clicks"))
    region = page.locator(".wide:has(#hypotheses)")

    hint = region.evaluate("e => getComputedStyle(e, '::after').content")

    assert region.evaluate("e => e.scrollWidth > e.clientWidth")
    assert "scroll" in hint
    assert page.locator(".wide:not(.scrolls):visible").evaluate_all(
        "all => all.every(e => e.firstElementChild.offsetWidth <= e.clientWidth + 1)"
    )
