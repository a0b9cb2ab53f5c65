"""The front explorer over HTTP: values of the tables, lists of the model."""

import asyncio
import os
import signal
import time

import aiohttp
import polars as pl
import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient

from pipeline.inference.hypotheses.prediction import fitted_line
from pipeline.results.stored import read_estimates
from pipeline.serving.explorer.explorer import Explorer
from pipeline.serving.explorer.routes import PAGE
from pipeline.serving.explorer.schemas import ListsRequest
from pipeline.serving.http.app import build_app
from pipeline.serving.http.server import build_service
from pipeline.serving.ranking.snapshot import load_snapshot
from tests.pipeline.serving.shop import (
    density_of,
    finish_study,
    log_of,
    name_of,
    recall_of,
    rows_of,
    scores_of,
    serving,
    write_model,
    write_plan,
    write_study,
    write_test_sessions,
)

GROUPS = ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0))
SESSION = [name_of(3), name_of(17)]
KEY = "a key of more than sixteen"


def finished(root, params, **kept):
    """A study of three groups with its experiment's tables and ten test sessions."""
    study, paths = write_study(root, params, **kept)
    write_plan(paths, preferences=GROUPS)
    finish_study(study, paths)
    write_test_sessions(paths, [[n, n + 1, n + 2, n + 3, 2 * n] for n in range(10)])
    return study, paths


@pytest.fixture(scope="module")
def shop(tmp_path_factory, small_params):
    """A server of a finished study, for tests that do not change it."""
    root = tmp_path_factory.mktemp("explored")
    study, paths = finished(root, small_params)
    with serving(root) as server:
        yield server, study, paths


def send(server, route, body=None):
    """Status and JSON of one request to a real server."""

    async def scenario():
        async with aiohttp.ClientSession(server.url) as session:
            request = session.get(route) if body is None else session.post(route, json=body)
            async with request as answer:
                return answer.status, await answer.json()

    return asyncio.run(scenario())


def preference_view(server, weight, **more):
    status, view = send(server, "/explore/preference", {"preference": [weight, 1 - weight], **more})
    assert status == 200
    return view


def lists(server, preference, session=SESSION, **more):
    return send(server, "/explore/lists", {"preference": preference, "session": session, **more})


def test_the_state_contains_front_groups_and_sample_sessions(shop):
    _, state = send(shop[0], "/explore/state")

    assert state["objectives"] == ["click", "order"]
    assert state["start"] == [0.5, 0.5]
    assert state["missing"] == []
    assert [(one["name"], one["preference_id"]) for one in state["groups"]] == [
        ("g1", "p0"),
        ("g2", "p1"),
        ("g3", "p2"),
    ]
    assert (state["front"]["x_metric"], state["front"]["y_metric"]) == (
        "Recall@20",
        "OD@20",
    )
    points = {tuple(p["preference"]): (p["x"], p["y"]) for p in state["front"]["points"]}
    assert points == {(w, 1 - w): (recall_of(w), density_of(w)) for w in (0, 0.25, 0.5, 1)}
    assert len(state["sessions"]) == 8
    for one in state["sessions"]:
        items = [int(item["item"].removeprefix("item-")) for item in one["items"]]
        assert items == [items[0] + step for step in range(4)]
        assert one["next_item"]["item"] == name_of(2 * items[0])
        assert one["items"][0]["category"] == ["shoes", "hats", "coats", None][items[0] % 4]


def test_metrics_of_a_measured_preference(shop):
    view = preference_view(shop[0], 0.25, group="g3")

    assert view["measured_preference"] == "m0.25"
    recall, density = view["metrics"][:2]
    assert recall == {
        "name": "Recall@20",
        "value": pytest.approx(0.25 + 0.2 * 0.25),
        "standard_error": 0.004,
        "higher_is_better": True,
        "group_value": pytest.approx(0.25 + 0.2 * 1),
    }
    assert density["value"] == pytest.approx(0.10 - 0.05 * 0.25)
    assert (view["x"], view["y"]) == (recall["value"], density["value"])


@pytest.mark.parametrize(
    ("weight", "recall"),
    [
        (0.1, 0.2 + 0.4 * 0.1),
        (0.4, 0.3 + (0.4 - 0.25) / 0.25 * (0.35 - 0.3)),  # between 0.25 and 0.5
        (0.75, (0.35 + 0.45) / 2),
    ],
)
def test_metrics_are_interpolated_without_errors_between_measured_preferences(shop, weight, recall):
    view = preference_view(shop[0], weight)

    assert view["measured_preference"] is None
    assert view["metrics"][0]["value"] == pytest.approx(recall)
    assert [one["standard_error"] for one in view["metrics"]] == [None] * 3


def test_the_expected_kpi_is_on_the_fitted_line(shop):
    server, _, paths = shop
    result = read_estimates(paths.artifact("regression_estimates")).hypotheses[0]
    expected = fitted_line(result).at(0.3 + 0.2 * 0.15)  # recall at weight 0.4

    first = preference_view(server, 0.4)["kpis"][0]

    assert result.verdict == "confirmed"
    assert (first["hypothesis"], first["metric"], first["kpi"]) == (
        "H1",
        "Recall@20",
        "click-through rate",
    )
    assert (first["expected"]["low"], first["expected"]["high"]) == pytest.approx(expected.interval)
    assert first["expected"]["rate"] == pytest.approx(expected.rate)
    observed = {one["group"]: one["rate"] for one in first["groups"]}
    assert observed == pytest.approx({p.group: p.rate for p in result.points})
    assert min(observed.values()) < first["expected"]["rate"] < max(observed.values())


def test_an_inconclusive_hypothesis_has_a_note_and_no_value(shop):
    """Orders are a tenth of the clicks in every group, so CVR does not depend on order density."""
    second = preference_view(shop[0], 0.4)["kpis"][1]

    assert (second["verdict"], second["expected"]) == ("inconclusive", None)
    assert (
        "Inconclusive: the CI of the slope of post-click conversion rate on OD@20"
        in second["notes"][0]
    )
    assert second["notes"][0].endswith("includes 0.")


def test_lists_are_ranked_under_both_preferences(shop):
    server, study, paths = shop
    served = load_snapshot(study, paths).model

    _, found = lists(server, [0.3, 0.7], group="g3")

    for name, preference in {"preference_list": (0.3, 0.7), "group_list": (1.0, 0.0)}.items():
        scores = scores_of(served, [3, 17], preference)
        best = sorted(range(40), key=lambda n: (-scores[n], n))[:5]
        assert [one["item"] for one in found[name]] == [name_of(n) for n in best]
        assert [one["position"] for one in found[name]] == [1, 2, 3, 4, 5]
    here = {one["item"]: one["position"] for one in found["preference_list"]}
    there = {one["item"]: one["position"] for one in found["group_list"]}
    assert [one["other_position"] for one in found["preference_list"]] == [
        there.get(i) for i in here
    ]
    assert [one["other_position"] for one in found["group_list"]] == [here.get(i) for i in there]


def test_weights_are_normalised(shop):
    _, found = lists(shop[0], [0.5, 1.0])

    assert found["preference"] == pytest.approx([1 / 3, 2 / 3])
    assert found["preference_list"] == lists(shop[0], [1 / 3, 2 / 3])[1]["preference_list"]


@pytest.mark.slow
def test_a_groups_list_equals_that_of_recommend_and_is_not_logged(tmp_path, small_params):
    """With a rule and a filter, which apply to the explorer, too."""
    (tmp_path / "denied.txt").write_text("\n".join(name_of(n) for n in range(0, 40, 3)))
    filters = {"seen": True, "out_of_stock": None, "allow": None, "deny": "denied.txt"}
    rules = [{"rule": "cap", "max_items": 2}]
    _, paths = finished(tmp_path, small_params, filters=filters, rules=rules)
    with serving(tmp_path) as server:
        _, explored = lists(server, [0.3, 0.7], group="g1")
        _, again = lists(server, [0.3, 0.7], group="g2")
        before = rows_of(log_of(paths), "impressions")
        body = {"user": "ada", "session": SESSION}
        _, served = send(server, "/recommend", body)
        _, of_group = lists(server, [0.3, 0.7], group=served["group"])
        _, state = send(server, "/explore/state")
        server.end(signal.SIGTERM)

    assert before == []
    assert len(rows_of(log_of(paths), "impressions")) == 1
    listed = [one["item"] for one in served["items"]]
    assert [one["item"] for one in of_group["group_list"]] == listed
    assert explored["preference_list"] == [
        one | {"other_position": other["other_position"]}
        for one, other in zip(again["preference_list"], explored["preference_list"], strict=True)
    ]
    assert not {name_of(n) for n in [3, 17, *range(0, 40, 3)]} & {
        one["item"] for one in explored["preference_list"]
    }
    assert state["has_rules"] is True


def test_unknown_items_are_listed_and_ignored(shop):
    _, some = lists(shop[0], [0.3, 0.7], ["nothing", *SESSION, "no <b>thing</b>", "nothing"])
    _, none = lists(shop[0], [0.3, 0.7], ["nothing"])

    assert some["unknown"] == ["nothing", "no <b>thing</b>"]
    assert [one["item"] for one in some["session"]] == SESSION
    assert some["preference_list"] == lists(shop[0], [0.3, 0.7])[1]["preference_list"]
    assert none["preference_list"] == none["group_list"] == []
    assert none["no_lists_reason"] == "no item of the session is in the catalogue"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"preference": [0.2, 0.3, 0.5]}, 409),
        ({"preference": [0, 0]}, 409),
        ({"group": "g9"}, 404),
        ({"preference": [0.5]}, 422),
        ({"preference": [1.5, 0]}, 422),
        ({"preference": [-0.5, 1]}, 422),
        ({"session": []}, 422),
        ({"session": ["i"] * 501}, 422),
        ({"session": ["i" * 129]}, 422),
        ({"k": 5}, 422),
    ],
)
def test_invalid_requests_are_rejected(shop, change, status):
    body = {"preference": [0.5, 0.5], "session": SESSION} | change

    found, content = send(shop[0], "/explore/lists", body)

    assert found == status
    assert content["detail"]


def test_a_preference_with_an_undefined_metric_has_no_point_and_is_named(tmp_path, small_params):
    study, paths = finished(tmp_path, small_params)
    file = paths.artifact("offline_metrics", "offline_metrics.parquet")
    undefined = (pl.col("metric") == "order_density") & (pl.col("preference_id") == "m0.25")
    table = pl.read_parquet(file)
    table.with_columns(value=pl.when(~undefined).then("value")).write_parquet(file)
    service = build_service(load_snapshot(study, paths), study, paths)

    with TestClient(build_app(service, paths, key=None), base_url="http://localhost") as client:
        front = client.get("/explore/state").json()["front"]

    assert front["undefined"] == ["m0.25"]
    assert [one["preference"][0] for one in front["points"]] == [0.0, 0.5, 1.0]


def test_before_an_experiment_lists_work_and_missing_artifacts_are_reported(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params)
    service = build_service(load_snapshot(study, paths), study, paths)
    with TestClient(build_app(service, paths, key=None), base_url="http://localhost") as client:
        state = client.get("/explore/state").json()
        view = client.post("/explore/preference", json={"preference": [0.5, 0.5]}).json()
        body = {"preference": [0.5, 0.5], "session": SESSION}
        listed = client.post("/explore/lists", json=body).json()["preference_list"]

    assert (state["front"], state["sessions"]) == (None, [])
    assert (view["metrics"], view["kpis"], view["x"]) == ([], [], None)
    assert len(listed) == 5
    assets = ("offline_metrics", "regression_estimates", "sessions")
    for message, asset in zip(state["missing"], assets, strict=True):
        assert f"Create it with: dagster asset materialize --select {asset}" in message


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("plan", "group_kpis has other groups than the traffic plan"),
        ("offline_metrics", "offline_metrics: missing segment"),
    ],
)
def test_inconsistent_tables_are_reported_and_not_used(tmp_path, small_params, table, message):
    study, paths = finished(tmp_path, small_params)
    file = paths.artifact(table, f"{table}.parquet")
    if table == "plan":
        write_plan(paths, name="summer", preferences=(*GROUPS[::2],))
    else:
        pl.read_parquet(file).drop("segment").write_parquet(file)  # as of an older version

    data = load_snapshot(study, paths).explorer_data

    assert any(message in one for one in data.missing)
    assert data.fitted_lines == () or table == "offline_metrics"


@pytest.mark.slow
def test_lists_use_the_new_model_after_sighup(tmp_path, small_params):
    study, paths = finished(tmp_path, small_params, reload_seconds=3600.0)
    with serving(tmp_path) as server:
        before = lists(server, [0.3, 0.7])[1]
        write_model(paths, seed=5)
        os.kill(server.process.pid, signal.SIGHUP)
        end = time.monotonic() + 30
        while (after := lists(server, [0.3, 0.7])[1])["model"] == before["model"]:
            assert time.monotonic() < end
            time.sleep(0.05)

    served = load_snapshot(study, paths).model
    scores = scores_of(served, [3, 17], (0.3, 0.7))
    best = sorted(range(40), key=lambda n: (-scores[n], n))[:5]
    assert after["model"] == served.version
    assert [one["item"] for one in after["preference_list"]] == [name_of(n) for n in best]


@pytest.mark.slow
def test_new_estimates_are_loaded_without_sighup(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params, reload_seconds=0.05)
    write_plan(paths, preferences=GROUPS)
    with serving(tmp_path) as server:
        assert preference_view(server, 0.4)["kpis"] == []
        finish_study(study, paths)
        end = time.monotonic() + 30
        while not preference_view(server, 0.4)["kpis"]:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_one_client_has_one_pair_of_lists_at_a_time(tmp_path, small_params):
    """The batcher is not running: the first request times out, the second is rejected."""
    study, paths = write_study(tmp_path, small_params, deadline_ms=50.0)
    service = build_service(load_snapshot(study, paths), study, paths)
    request = ListsRequest(preference=[0.5, 0.5], session=SESSION)

    async def scenario():
        explorer = Explorer(service)
        clients = ["a", "a", "b", "c", "d", "e"]
        together = [explorer.lists(request, client) for client in clients]
        ended = await asyncio.gather(*together, return_exceptions=True)
        later = await asyncio.gather(explorer.lists(request, "a"), return_exceptions=True)
        return [error.status_code for error in [*ended, *later] if isinstance(error, HTTPException)]

    statuses = asyncio.run(scenario())
    service.event_log.start()
    service.event_log.close()

    assert statuses == [503, 429, 503, 503, 503, 429, 503]


@pytest.fixture
def keyed(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params)
    service = build_service(load_snapshot(study, paths), study, paths)
    with TestClient(build_app(service, paths, key=KEY), base_url="http://localhost") as client:
        yield client


def test_the_page_is_public_and_its_data_requires_the_key(keyed):
    body = {"preference": [0.5, 0.5], "session": SESSION}

    assert [keyed.get(path).status_code for path in PAGE] == [200, 200, 200]
    assert 'data-key="required"' in keyed.get("/explore").text
    assert keyed.get("/explore/state").status_code == 401
    assert keyed.post("/explore/preference", json=body).status_code == 401
    assert keyed.post("/explore/lists", json=body).status_code == 401
    headers = {"Authorization": f"Bearer {KEY}"}
    assert keyed.post("/explore/lists", json=body, headers=headers).status_code == 200


def test_the_page_is_small_and_loads_nothing_from_other_hosts(keyed):
    answers = [keyed.get(path) for path in PAGE]

    assert sum(len(answer.content) for answer in answers) < 60_000
    for answer in answers:
        policy = dict(
            part.strip().split(" ", 1)
            for part in answer.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert {policy[f"{one}-src"] for one in ("script", "style", "connect")} == {"'self'"}
        assert "unsafe" not in str(policy)
        assert answer.headers["x-content-type-options"] == "nosniff"
    html = answers[0].text
    assert "<style" not in html
    assert " style=" not in html
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_explorer_requests_are_counted_by_route(keyed):
    headers = {"Authorization": f"Bearer {KEY}"}
    keyed.post("/explore/preference", json={"preference": [0.5, 0.5]}, headers=headers)

    counted = keyed.get("/metrics", headers=headers).text

    assert 'paretoscope_requests_total{route="/explore/preference",status="200"} 1.0' in counted
