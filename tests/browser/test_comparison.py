"""The comparison in a browser: complete at every width, accessible, with the numbers of its JSON."""

import json

import pytest

from pipeline.reporting.comparison.build import build_comparison
from pipeline.reporting.render import write_comparison
from pipeline.results.reader import read_studies
from tests.pipeline.reporting.comparison.studies import H1, H4, report, write

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A comparison of three studies; one has fewer hypotheses and fails the SRM check."""
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


def rows(page, table):
    """The cells of a table's body, row by row."""
    return [
        row.locator("th, td").all_inner_texts()
        for row in page.locator(f"#{table} > tbody > tr").all()
    ]


def test_the_page_is_whole_and_without_serious_faults(page, folder, axe, cut_off):
    opened(page, folder)

    for closed in page.query_selector_all("summary"):
        closed.click()

    assert axe(page) == []
    assert cut_off(page) == []


def test_the_first_screen_has_the_findings(open_page, folder):
    page = open_page()
    found = opened(page, folder)

    findings = page.locator("ul.verdicts li").all_inner_texts()

    assert findings == found["summary"]
    assert (
        page.locator("p.note").first.inner_text().startswith("spring and summer may be dependent")
    )
    assert page.locator("ul.verdicts").bounding_box()["y"] < 300


def test_the_tables_have_the_numbers_of_the_json(open_page, folder):
    page = open_page()
    found = opened(page, folder)

    first = found["hypotheses"][0]
    assert [row[:4] for row in rows(page, "slopes-0")] == [
        [
            row["study"],
            row["id"],
            f"{row['slope']:.3f}",
            "{:.3f} to {:.3f}".format(*row["test"]["interval"]),
        ]
        for row in first["studies"]
    ]
    assert [row[1:3] for row in rows(page, "differences-0")] == [
        [f"{one['test']['slope']:.3f}", "{:.3f} to {:.3f}".format(*one["test"]["interval"])]
        for one in first["differences"]
    ]
    assert rows(page, "changed") == [
        [row["key"], *(str(value) for value in row["values"])] for row in found["parameters"]
    ]
    assert [row[1] for row in rows(page, "front")] == [
        f"{one['hypervolume']:.5f}" for one in found["fronts"]["studies"]
    ]


def test_every_mark_has_a_table_row_and_is_inside_its_figure(page, folder):
    found = opened(page, folder)

    marks = page.locator("figure svg").first.locator(".mark")

    points = [point for one in found["fronts"]["studies"] for point in one["points"]]
    assert marks.count() == len(points)
    for number, mark in enumerate(marks.all()):
        assert mark.get_attribute("aria-labelledby") == f"points-{number}"
    page.get_by_text("Data table of the fronts").click()
    first = rows(page, "points")[0]
    assert (first[:2], first[3], first[5]) == (["spring", "p0"], "0.40000", "0.08000")
    outside = page.evaluate(
        """() => [...document.querySelectorAll('figure svg')].flatMap((svg) => {
            const frame = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('use, text')].filter((e) => {
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

    reached = None
    for _ in range(40):
        page.keyboard.press("Tab")
        reached = page.evaluate("document.activeElement.getAttribute('aria-labelledby')")
        if reached and reached.endswith("-caption"):
            break

    assert reached == "front-caption"
