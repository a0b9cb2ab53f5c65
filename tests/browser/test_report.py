"""The report in a browser: nothing cut off, no external request, tooltips, tables, keyboard, print."""

import pytest

from pipeline.reporting.report import write_report
from tests.pipeline.reporting.conftest import card, whole_report

pytestmark = pytest.mark.slow

__all__ = ["card", "whole_report"]


@pytest.fixture(scope="module")
def address(whole_report, tmp_path_factory):
    """The address of the written page."""
    folder = tmp_path_factory.mktemp("report")
    write_report(whole_report, folder)
    return (folder / "index.html").as_uri()


@pytest.fixture
def opened(page, address):
    """The report at both widths, in light and dark."""
    page.goto(address)
    return page


def open_all(page):
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")


def test_nothing_is_cut_off_and_axe_finds_no_serious_fault(opened, axe, cut_off):
    open_all(opened)

    assert cut_off(opened) == []
    assert axe(opened) == []
    width = opened.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0


def test_a_mark_shows_the_row_of_its_table_by_pointer(opened):
    mark = opened.locator("[aria-labelledby='points-H1-1']")
    mark.scroll_into_view_if_needed()
    opened.wait_for_timeout(100)
    mark.hover(force=True)

    lines = opened.locator("#tip div").all_text_contents()

    cells = opened.locator("#points-H1-1 > *").all_text_contents()
    assert opened.locator("#tip").is_visible()
    assert [line.split(": ", 1)[0] for line in lines][:2] == ["group", "Recall@20"]
    assert [line.rsplit(": ", 1)[1] for line in lines] == cells
    assert cells[0] == "g2"


def test_marks_are_reached_by_keyboard_and_escape_hides_the_tooltip(opened):
    first = opened.locator("[aria-labelledby='points-H1-0']")
    first.focus()
    assert "group: g1" in opened.locator("#tip").inner_text()

    opened.keyboard.press("ArrowRight")
    assert "group: g2" in opened.locator("#tip").inner_text()
    opened.keyboard.press("ArrowLeft")
    opened.keyboard.press("ArrowLeft")
    assert "group: g3" in opened.locator("#tip").inner_text()
    opened.keyboard.press("Escape")
    assert opened.locator("#tip").is_hidden()
    # one tab stop per figure: Tab leaves it
    stops = opened.locator("svg .mark[tabindex='0']").count()
    assert stops == opened.locator("svg:has(.mark)").count()


def test_tooltips_stay_within_the_window(opened):
    for number in range(3):
        opened.locator(f"[aria-labelledby='points-H1-{number}']").focus()
        box = opened.locator("#tip").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= opened.viewport_size["width"]


def test_the_data_table_of_a_figure_opens_by_keyboard(opened):
    summary = opened.get_by_text("Data table of Figure 1")
    table = opened.locator("#points-H1")
    assert not table.is_visible()

    summary.focus()
    opened.keyboard.press("Enter")

    assert table.is_visible()
    assert table.locator("caption").inner_text().startswith("H1: Recall@20")


def test_the_first_tab_stop_skips_to_the_summary(opened):
    opened.keyboard.press("Tab")

    opened.wait_for_function("document.activeElement.textContent === 'Skip to the summary'")
    opened.keyboard.press("Enter")
    opened.wait_for_url("**#answer")


def test_print_opens_every_table_and_closes_them_again(open_page, address):
    page = open_page()
    page.goto(address)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")

    assert page.locator("details:not([open])").count() == 0
    assert page.locator("#metrics").is_visible()
    assert not page.locator("nav").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
