"""The live page in a real browser, on a real server, of a real log, monitor and rollout."""

import signal
import time
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from pipeline.monitoring.status import read_status, write_status
from pipeline.rollout.operations import hold
from tests.pipeline.rollout.releases import ANNA
from tests.pipeline.serving.live.watched import watched
from tests.pipeline.serving.shop import serving, write_study

pytestmark = pytest.mark.slow

KEY = "a key of more than sixteen"
SOON = 60_000
"""Milliseconds: several intervals of the page, on a slow machine."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory, small_params):
    """A sample ratio that is off raises an alert; the rollout is in its first stage."""
    root = tmp_path_factory.mktemp("live")
    _, paths = watched(root, small_params, hours=8, users=200, extra=400)
    with serving(root) as server:
        yield server, paths


@pytest.fixture(scope="module")
def empty(tmp_path_factory, small_params):
    root = tmp_path_factory.mktemp("empty")
    write_study(root, small_params)
    with serving(root, {"PARETOSCOPE_SERVING_KEY": KEY}) as server:
        yield server


def fresh(paths):
    """Let the last look be now, so that it is not late."""
    write_status(replace(read_status(paths), at=time.time()), paths)


def test_the_page_is_accessible_and_complete(page, faults, shop):
    server, paths = shop
    fresh(paths)
    page.goto(f"{server.url}/live")

    assert faults(page) == []
    assert Axe().run(page, options={"preload": False}).response["violations"] == []
    expect(page.locator("#headline")).to_have_text("1 alert is open")
    assert page.locator(".tile").count() == 4
    assert page.locator(".alerts h3").all_inner_texts() == ["SampleRatio"]
    assert page.locator(".stages li").count() == 3
    assert page.locator(".split tbody tr").count() == 3
    assert page.locator(".kpis .card").count() >= 2
    assert page.locator(".hours rect").count() == 24
    assert page.locator(".history li").count() == 6
    for svg in page.locator(".band").all():  # every interval and its estimate is on its axis
        box = svg.bounding_box()
        for mark in (svg.locator(".ci"), svg.locator(".dot")):
            found = mark.bounding_box()
            assert box["x"] - 1 <= found["x"]
            assert found["x"] + found["width"] <= box["x"] + box["width"] + 5


def test_the_page_refreshes_itself_and_keeps_the_focus(open_page, shop):
    server, paths = shop
    page = open_page()
    fresh(paths)
    page.goto(f"{server.url}/live")
    region = page.get_by_role("region", name="Table of users by group")
    region.focus()

    write_status(replace(read_status(paths), at=time.time(), alerts=()), paths)
    expect(page.locator("#headline")).to_have_text("No alert is open", timeout=SOON)

    assert page.locator("#announcement").inner_text() == "No alert is open"
    assert region.evaluate("one => one === document.activeElement")


def test_names_from_files_are_text(open_page, shop):
    server, paths = shop
    page = open_page(width="phone")
    said = '<img src=x onerror="document.title=1">'
    hold(paths, ANNA, said)
    page.goto(f"{server.url}/live")

    expect(page.locator(".history")).to_contain_text(said, timeout=SOON)
    assert page.locator("main img").count() == 0


def test_it_works_without_javascript(browser, shop):
    server, paths = shop
    fresh(paths)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{server.url}/live")

    assert page.locator(".kpis .card").count() >= 2
    assert page.locator("noscript meta[http-equiv=refresh], meta[http-equiv=refresh]").count() == 1
    context.close()


def test_it_asks_for_the_key_and_says_what_to_type(page, faults, empty, complaints):
    page.goto(f"{empty.url}/live")
    field = page.get_by_label("The server requires a key")
    assert faults(page) == []
    field.fill("not the key at all")
    field.press("Enter")
    page.get_by_text("The key is wrong.").wait_for()
    assert ["401" in one for one in complaints] == [True]  # logged by the browser
    complaints.clear()

    field.fill(KEY)
    field.press("Enter")

    expect(page.locator("#headline")).to_have_text("Nobody is watching")
    expect(
        page.get_by_text("No look of a monitor at study synthetic-shop is known.")
    ).to_be_visible()
    assert page.locator(".note code").all_inner_texts() == ["paretoscope monitor"]
    assert faults(page) == []
    assert page.evaluate("JSON.stringify([localStorage, sessionStorage])") == "[{},{}]"


def test_a_stopped_server_is_reported(open_page, complaints, tmp_path, small_params, axe):
    write_study(tmp_path, small_params)
    with serving(tmp_path) as server:
        page = open_page()
        page.goto(f"{server.url}/live")
        server.end(signal.SIGTERM)
        expect(page.get_by_role("alert")).to_contain_text(
            "The server does not respond: what is shown is old.", timeout=SOON
        )
        assert axe(page) == []
    complaints.clear()  # logged by the browser
