"""The front explorer in a real browser, on a real server with a real (small) model."""

import os
import signal
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from pipeline.serving.ranking.snapshot import load_snapshot
from tests.pipeline.serving.shop import (
    finish_study,
    name_of,
    recall_of,
    scores_of,
    serving,
    write_model,
    write_plan,
    write_study,
    write_test_sessions,
)

pytestmark = pytest.mark.slow

GROUPS = ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0))
KEY = "a key of more than sixteen"


def patient_study(root, params, **serving):
    """Write a study whose lists may take as long as on a busy machine."""
    return write_study(root, params, deadline_ms=60_000.0, **serving)


def finished(root, params, **kept):
    study, paths = patient_study(root, params, **kept)
    write_plan(paths, preferences=GROUPS)
    finish_study(study, paths)
    write_test_sessions(paths, [[n, n + 1, n + 2, n + 3, 2 * n] for n in range(10)])
    return study, paths


@pytest.fixture(scope="module")
def shop(tmp_path_factory, small_params):
    root = tmp_path_factory.mktemp("explored")
    study, paths = finished(root, small_params)
    with serving(root) as server:
        yield server, study, paths


@pytest.fixture(scope="module")
def keyed(tmp_path_factory, small_params):
    root = tmp_path_factory.mktemp("keyed")
    finished(root, small_params)
    with serving(root, {"PARETOSCOPE_SERVING_KEY": KEY}) as server:
        yield server


def open_explorer(page, server):
    page.goto(f"{server.url}/explore")
    page.locator("#preference-list li").first.wait_for()
    page.locator("#metrics tbody tr").first.wait_for()
    return page


def texts(page, selector):
    return page.locator(selector).all_inner_texts()


def items_of(page, name):
    return [row.split("\n")[1].split(" ")[0] for row in texts(page, f"#{name} li")]


def wait_for_items(page, name, expected):
    """Wait until a list has these items: a slow machine gets several responses, the last one counts."""
    locator = page.locator(f"#{name} li")
    expect(locator).to_contain_text([f"{item} " for item in expected], timeout=30_000)
    assert items_of(page, name) == expected


def best_of(shop, session, preference):
    """The list computed without the server."""
    _, study, paths = shop
    scores = scores_of(load_snapshot(study, paths).model, session, preference)
    return [name_of(n) for n in sorted(range(40), key=lambda n: (-scores[n], n))[:5]]


@contextmanager
def after(page, route):
    """Wait until the page has rendered the response of a route."""
    with page.expect_response(lambda response: response.url.endswith(route)) as response:
        yield
    response.value.finished()
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")


def test_the_page_is_accessible_and_complete(page, axe, cut_off, shop):
    open_explorer(page, shop[0])

    assert axe(page) == []
    assert cut_off(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#front svg title").count() == 4
    assert page.locator("#front .group-name").all_text_contents() == ["g1", "g2", "g3"]
    assert page.locator("#front svg title").first.text_content() == (
        "click 0.25, order 0.75; Recall@20 0.3000 ± 0.0040, OD@20 0.0875 ± 0.0040"
    )


def test_the_slider_updates_everything_by_keyboard(page, shop):
    """From (0.5, 0.5), measured, by ten steps of 0.01 to (0.6, 0.4), not measured."""
    open_explorer(page, shop[0])
    recall = page.locator("#metrics tbody tr").first
    heights = page.evaluate("document.body.scrollHeight")
    ring = page.locator("#here").get_attribute("cx")
    assert recall.locator("td").first.inner_text() == f"{recall_of(0.5):.4f} ± 0.0040"

    page.locator("#weight-0").focus()
    with after(page, "/explore/lists"):
        for _ in range(10):
            page.keyboard.press("ArrowRight")

    assert page.locator("#weight-0").get_attribute("aria-valuetext") == "click 0.60, order 0.40"
    assert texts(page, "#ends span") == ["order 0.40", "click 0.60"]
    assert page.locator("#measured").inner_text() == "Not measured: metrics are interpolated."
    assert recall.locator("td").first.inner_text() == f"{recall_of(0.6):.4f}"
    assert float(page.locator("#here").get_attribute("cx")) > float(ring)
    wait_for_items(page, "preference-list", best_of(shop, [0, 1, 2, 3], (0.6, 0.4)))
    wait_for_items(page, "group-list", best_of(shop, [0, 1, 2, 3], GROUPS[0]))
    assert page.evaluate("document.body.scrollHeight") == heights


def test_the_preference_of_a_group_gives_the_same_list(open_page, shop):
    page = open_explorer(open_page(), shop[0])

    with after(page, "/explore/lists"):
        page.get_by_label("Compare with group").select_option("g3")
    with after(page, "/explore/lists"):
        page.get_by_role("group", name="Select the preference").get_by_text("g3").press("Enter")

    assert page.locator("#measured").inner_text() == "Measured preference p2, served to g3."
    wait_for_items(page, "preference-list", best_of(shop, [0, 1, 2, 3], GROUPS[2]))
    wait_for_items(page, "group-list", best_of(shop, [0, 1, 2, 3], GROUPS[2]))
    assert set(texts(page, "#preference-list .change span[aria-hidden]")) == {"="}
    assert "5 of 5 items are also in g3's list." in page.locator("#difference").inner_text()


def test_changes_are_announced_once_when_the_slider_rests(open_page, shop):
    page = open_explorer(open_page(), shop[0])
    page.evaluate(
        "() => { window.announced = []; new MutationObserver(() => announced.push($('announcement').textContent))"
        ".observe($('announcement'), { childList: true }); }"
    )

    page.locator("#weight-0").focus()
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(60)
    page.wait_for_timeout(1500)

    last = page.evaluate("announced")
    assert len(last) <= 2
    assert last[-1].startswith("Preference click 0.42, order 0.58. Recall@20 0.334")
    assert "Expected H1 click-through rate" in last[-1]


def test_the_verdict_decides_whether_there_is_a_value(open_page, shop):
    page = open_explorer(open_page(), shop[0])

    first, second = page.locator(".kpi").nth(0), page.locator(".kpi").nth(1)

    assert "confirmed" in first.inner_text()
    assert "% (95% CI" in first.locator(".kpi-value").inner_text()
    assert "inconclusive" in second.inner_text()
    assert second.locator(".kpi-value").inner_text() == "no value"
    assert (
        "Inconclusive: the CI of the slope of post-click conversion rate on OD@20"
        in second.inner_text()
    )


def test_a_typed_session_with_an_unknown_item(open_page, shop):
    page = open_explorer(open_page(width="phone"), shop[0])

    with after(page, "/explore/lists"):
        page.get_by_label("or clicked items").fill("item-3, <b>no item</b>, item-17")
        page.keyboard.press("Enter")

    wait_for_items(page, "preference-list", best_of(shop, [3, 17], (0.5, 0.5)))
    assert page.locator("#unknown").inner_text() == (
        "Ignored, not in the catalogue: <b>no item</b>."
    )
    assert texts(page, "#session-items .item") == ["item-3", "item-17 · hats"]
    with after(page, "/explore/lists"):
        page.get_by_label("or clicked items").fill("nothing")
        page.get_by_role("button", name="Show").click()

    assert texts(page, "#preference-list li") == []
    assert "No lists: " in page.locator("#unknown").inner_text()


def test_another_session_of_the_test_set(open_page, shop):
    page = open_explorer(open_page(width="phone"), shop[0])

    with after(page, "/explore/lists"):
        page.get_by_label("Session of the test set").select_option("2")

    clicked = texts(page, "#session-items .item")
    first = int(clicked[0].split(" ")[0].removeprefix("item-"))
    session = [first, first + 1, first + 2, first + 3]
    wait_for_items(page, "preference-list", best_of(shop, session, (0.5, 0.5)))
    assert clicked[-1].split(" ")[0] == name_of(2 * first)
    assert "The next click is" in page.locator("#difference").inner_text()


def test_three_objectives_have_a_slider_each_and_weights_sum_to_1(
    open_page, tmp_path, small_params
):
    study, paths = patient_study(tmp_path, small_params)
    write_model(paths, seed=0, objectives=3)
    endpoints = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    write_plan(paths, preferences=endpoints)
    finish_study(study, paths)
    write_test_sessions(paths, [[n, n + 1, n + 2, n + 3, 2 * n] for n in range(10)])
    with serving(tmp_path) as server:
        page = open_explorer(open_page(width="phone"), server)
        with after(page, "/explore/lists"):
            page.get_by_label("objective 2").fill("0.4")  # from (1, 0, 0), the start
        with after(page, "/explore/lists"):
            page.get_by_label("objective 3").fill("0.5")

        assert [page.locator(f"#value-{n}").inner_text() for n in range(3)] == [
            "0.30",
            "0.20",
            "0.50",
        ]
        expected = best_of((None, study, paths), [0, 1, 2, 3], (0.3, 0.2, 0.5))
        wait_for_items(page, "preference-list", expected)
        recall = 0.3 * recall_of(1) + 0.7 * recall_of(0)
        assert page.locator("#metrics td").first.inner_text() == f"{recall:.4f}"
        page.close()


def test_the_page_asks_for_the_key_and_rejects_a_wrong_one(page, axe, keyed, complaints):
    page.goto(f"{keyed.url}/explore")
    field = page.get_by_label("The server requires a key")
    assert not page.locator("#main").is_visible()
    assert axe(page) == []
    assert complaints == []
    for wrong in ("not the key at all", "schlüssel"):
        field.fill(wrong)
        field.press("Enter")
        page.get_by_text("The key is wrong.").wait_for()
        assert field.input_value() == ""
    assert ["401" in one for one in complaints] == [True]  # logged by the browser
    complaints.clear()

    with after(page, "/explore/lists"):
        field.fill(KEY)
        field.press("Enter")

    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    assert kept == '[{},{},""]'
    assert page.url == f"{keyed.url}/explore"
    assert page.locator("#preference-list li").count() == 5
    assert not page.get_by_role("alert").is_visible()


def test_an_open_page_loads_a_new_model(open_page, tmp_path, small_params):
    study, paths = finished(tmp_path, small_params, reload_seconds=3600.0)
    with serving(tmp_path) as server:
        page = open_explorer(open_page(), server)
        old = page.locator("#served").inner_text()
        write_model(paths, seed=5)
        new = load_snapshot(study, paths).model.version
        os.kill(server.process.pid, signal.SIGHUP)
        while new not in page.request.get(f"{server.url}/explore/state").text():
            page.wait_for_timeout(50)
        page.locator("#weight-0").focus()
        page.keyboard.press("ArrowRight")
        page.get_by_text(f"model {new}").wait_for()
        expected = best_of((None, study, paths), [0, 1, 2, 3], (0.51, 0.49))
        wait_for_items(page, "preference-list", expected)
        page.close()  # before its server ends
    assert new not in old


def test_without_an_experiment_the_page_lists_missing_artifacts(open_page, tmp_path, small_params):
    patient_study(tmp_path, small_params)
    with serving(tmp_path) as server:
        page = open_page(width="phone")
        page.goto(f"{server.url}/explore")
        page.locator("#missing li").first.wait_for()
        with after(page, "/explore/lists"):
            page.get_by_label("or clicked items").fill("item-3")
            page.keyboard.press("Enter")

        missing = texts(page, "#missing li")
        assert "dagster asset materialize --select regression_estimates" in missing[1]
        assert page.locator("#kpis").inner_text() == "No experiment results yet."
        assert page.locator("#preference-list li").count() == 5
        page.close()


def test_a_busy_server_is_retried(open_page, complaints, shop):
    page = open_explorer(open_page(), shop[0])
    rejected = []

    def reject_once(route):
        if rejected:
            route.continue_()
        else:
            rejected.append(route.request.post_data_json["preference"])
            route.fulfill(status=429, json={"detail": "other lists are being ranked"})

    page.route("**/explore/lists", reject_once)
    with after(page, "/explore/lists"):
        page.get_by_role("group", name="Select the preference").get_by_text("g3").click()
    with after(page, "/explore/lists"):
        pass

    assert rejected == [[1, 0]]
    wait_for_items(page, "preference-list", best_of(shop, [0, 1, 2, 3], (1.0, 0.0)))
    assert not page.get_by_role("alert").is_visible()
    assert ["429" in one for one in complaints] == [True]  # logged by the browser
    complaints.clear()


def test_a_stopped_server_is_reported(open_page, complaints, tmp_path, small_params):
    finished(tmp_path, small_params)
    with serving(tmp_path) as server:
        page = open_explorer(open_page(), server)
        server.end(signal.SIGTERM)
    page.locator("#weight-0").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("alert").wait_for()

    assert page.get_by_role("alert").inner_text() == "The server does not respond. Is it running?"
    complaints.clear()  # logged by the browser
