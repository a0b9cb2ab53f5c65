"""The comparison in a real browser: whole at every width, legible, and its numbers those of its JSON."""

import json

import pytest

from pipeline.reporting.comparison.build import build_comparison
from pipeline.reporting.comparison.files import write_comparison
from pipeline.results.reader import read_studies
from tests.pipeline.reporting.comparison.studies import H1, H4, report, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A comparison of three studies, one of which was asked less and is not healthy."""
    place = tmp_path_factory.mktemp("compared")
    long = "a-study-with-a-name-that-is-rather-long"
    reports = (
        report("spring", 0.5, hypotheses=(H1, H4)),
        report("summer", 1.5, hypotheses=(H1, H4), better=1.05, epochs=3),
        report(long, 0.8, healthy=False, experiment="spring"),
    )
    found = build_comparison(read_studies([str(write(place, one)) for one in reports]), level=0.95)
    write_comparison(found, place / "page")
    return place / "page"


def opened(page, folder):
    page.goto((folder / "index.html").as_uri())
    return json.loads((folder / "comparison.json").read_text("utf-8"))


def test_the_page_is_whole_and_without_serious_faults(page, folder, axe, cut_off):
    opened(page, folder)

    for closed in page.query_selector_all("summary"):
        closed.click()

    assert axe(page) == []
    assert cut_off(page) == []


def test_the_first_screen_says_what_was_found(open_page, folder):
    page = open_page()
    found = opened(page, folder)

    findings = page.locator("ul.findings li").all_inner_texts()

    assert findings == found["summary"]
    assert page.locator("p.note").first.inner_text().startswith("spring and summer may not be")
    assert page.locator("ul.findings").bounding_box()["y"] < 300


def test_the_tables_say_what_the_json_says(open_page, folder):
    page = open_page()
    found = opened(page, folder)

    tables = {
        table.get_attribute("aria-label"): [
            row.locator("th, td").all_inner_texts() for row in table.locator("tbody tr").all()
        ]
        for table in page.get_by_role("region").all()
        if table.get_attribute("aria-label").startswith("table")
    }

    first = found["hypotheses"][0]
    slopes = tables["table of the slopes of Recall@20 and click-through rate"]
    assert [row[:4] for row in slopes] == [
        [
            row["study"],
            row["id"],
            f"{row['slope']:.3f}",
            "{:.3f} to {:.3f}".format(*row["interval"]),
        ]
        for row in first["studies"]
    ]
    differences = tables["table of the differences of Recall@20 and click-through rate"]
    assert [row[1:3] for row in differences] == [
        [f"{one['test']['slope']:.3f}", "{:.3f} to {:.3f}".format(*one["test"]["interval"])]
        for one in first["differences"]
    ]
    assert tables["table of changed parameters"] == [
        [row["key"], *(str(value) for value in row["values"])] for row in found["parameters"]
    ]
    fronts = tables["table of the fronts"]
    assert [row[1] for row in fronts] == [
        f"{one['hypervolume']:.5f}" for one in found["fronts"]["studies"]
    ]


def test_every_mark_has_words_and_lies_inside_its_picture(page, folder):
    found = opened(page, folder)

    pictures = page.locator("figure svg")
    marks = pictures.first.locator("g:has(> title)")

    points = [point for one in found["fronts"]["studies"] for point in one["points"]]
    titles = marks.locator("title").all_text_contents()
    assert len(titles) == len(points)
    assert titles[0] == "spring, p0: recall 0.4000, order density 0.0800"
    outside = page.evaluate(
        """() => [...document.querySelectorAll('figure svg')].flatMap((svg) => {
            const frame = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('line, circle, rect, path, text')].filter((e) => {
              const box = e.getBoundingClientRect();
              return box.left < frame.left - 1 || box.right > frame.right + 1
                || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
            }).map((e) => e.outerHTML);
        })"""
    )
    assert outside == []


def test_regions_that_scroll_are_reached_by_keyboard(open_page, folder):
    page = open_page(width="phone")
    opened(page, folder)

    page.keyboard.press("Tab")

    reached = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert reached == "picture of the fronts"
