"""The documentation in a browser: read on a phone and at a desk, without a network."""

import pytest
from playwright.sync_api import expect

PAGES = ("index", "tutorial", "reference/parameters", "inference")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_can_be_read_by_everybody(page, axe, cut_off, docs_site, name):
    page.goto((docs_site / f"{name}.html").as_uri())

    assert axe(page) == []
    # the contents of the page wait beside it until they are asked for
    assert [one for one in cut_off(page) if not one.startswith("aside: On this page")] == []


def test_one_gets_from_the_first_page_to_a_command(open_page, docs_site):
    page = open_page()
    page.goto((docs_site / "index.html").as_uri())

    page.get_by_role("link", name="Commands", exact=True).first.click()

    # a page that a click asks for arrives in parts
    expect(page.get_by_role("heading", level=1)).to_contain_text("Commands")
    expect(page.get_by_role("heading", name="paretoscope serve")).to_be_visible()


def test_the_search_finds_a_parameter(open_page, docs_site):
    page = open_page()
    page.goto((docs_site / "index.html").as_uri())

    page.get_by_placeholder("Search").fill("curvature_floor")
    page.get_by_placeholder("Search").press("Enter")

    page.get_by_role("main").get_by_role("link", name="Parameters: types").click()
    expect(page.get_by_role("main")).to_contain_text("curvature_floor")
