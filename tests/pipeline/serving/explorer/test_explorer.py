"""The front explorer over HTTP: its numbers are those of the tables, its lists the model's."""

import asyncio
import os
import signal
import time

import aiohttp
import polars as pl
import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient

from pipeline.inference.estimates_file import read_answers
from pipeline.inference.hypotheses.prediction import fitted_line
from pipeline.serving.explorer.explorer import Explorer
from pipeline.serving.explorer.page import PAGE
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
    """A server of a finished study, for the tests that change nothing."""
    root = tmp_path_factory.mktemp("explored")
    study, paths = finished(root, small_params)
    with serving(root) as server:
        yield server, study, paths


def ask(server, route, body=None):
    """Status and JSON of one request to a real server."""

    async def scenario():
        async with aiohttp.ClientSession(server.url) as session:
            sent = session.get(route) if body is None else session.post(route, json=body)
            async with sent as answer:
                return answer.status, await answer.json()

    return asyncio.run(scenario())


def place(server, weight, **more):
    status, view = ask(server, "/explore/place", {"preference": [weight, 1 - weight], **more})
    assert status == 200
    return view


def lists(server, preference, session=SESSION, **more):
    return ask(server, "/explore/lists", {"preference": preference, "session": session, **more})


def test_the_state_holds_the_front_the_groups_and_some_sessions(shop):
    _, state = ask(shop[0], "/explore/state")

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


def test_at_a_measured_preference_the_metrics_are_the_measured_ones(shop):
    view = place(shop[0], 0.25, group="g3")

    assert view["measured_as"] == "m0.25"
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
def test_between_measured_preferences_metrics_are_interpolated_and_have_no_error(
    shop, weight, recall
):
    view = place(shop[0], weight)

    assert view["measured_as"] is None
    assert view["metrics"][0]["value"] == pytest.approx(recall)
    assert [one["standard_error"] for one in view["metrics"]] == [None] * 3


def test_the_expected_kpi_is_where_the_fitted_line_passes_the_metric(shop):
    server, _, paths = shop
    answers = read_answers(paths.artifact("regression_estimates", "regression_estimates.json"))
    kpis = pl.read_parquet(paths.artifact("group_kpis", "group_kpis.parquet"))
    expected = fitted_line(answers[0], kpis).at(0.3 + 0.2 * 0.15)  # recall at weight 0.4

    first = place(server, 0.4)["kpis"][0]

    assert answers[0].verdict == "confirmed"
    assert (first["hypothesis"], first["metric"], first["kpi"]) == (
        "H1",
        "Recall@20",
        "click-through rate",
    )
    assert (first["expected"]["low"], first["expected"]["high"]) == pytest.approx(expected.interval)
    assert first["expected"]["rate"] == pytest.approx(expected.rate)
    observed = {one["group"]: one["rate"] for one in first["groups"]}
    assert observed == pytest.approx({p.group: p.rate for p in answers[0].points})
    assert min(observed.values()) < first["expected"]["rate"] < max(observed.values())


def test_a_kpi_that_is_not_shown_to_move_gets_words_and_no_value(shop):
    """Orders are a tenth of the clicks in every group, so order density says nothing of conversion."""
    second = place(shop[0], 0.4)["kpis"][1]

    assert (second["verdict"], second["expected"]) == ("not shown", None)
    assert (
        "The experiment does not show that post-click conversion rate changes with OD@20"
        in second["words"][0]
    )
    assert second["words"][0].endswith("holds 0. So no value is given.")


def test_the_lists_are_those_of_the_model_alone_under_either_preference(shop):
    server, study, paths = shop
    snapshot = load_snapshot(study, paths)

    _, found = lists(server, [0.3, 0.7], group="g3")

    for name, preference in {"chosen": (0.3, 0.7), "of_group": (1.0, 0.0)}.items():
        scores = scores_of(snapshot, [3, 17], preference)
        best = sorted(range(40), key=lambda n: (-scores[n], n))[:5]
        assert [one["item"] for one in found[name]] == [name_of(n) for n in best]
        assert [one["position"] for one in found[name]] == [1, 2, 3, 4, 5]
    here = {one["item"]: one["position"] for one in found["chosen"]}
    there = {one["item"]: one["position"] for one in found["of_group"]}
    assert [one["other_position"] for one in found["chosen"]] == [there.get(i) for i in here]
    assert [one["other_position"] for one in found["of_group"]] == [here.get(i) for i in there]


def test_weights_are_divided_by_their_sum(shop):
    _, found = lists(shop[0], [0.5, 1.0])

    assert found["preference"] == pytest.approx([1 / 3, 2 / 3])
    assert found["chosen"] == lists(shop[0], [1 / 3, 2 / 3])[1]["chosen"]


def test_a_groups_list_is_what_recommend_gives_its_users_and_only_that_is_logged(
    tmp_path, small_params
):
    """With a rule and a filter in force, which hold for the explorer, too."""
    (tmp_path / "denied.txt").write_text("\n".join(name_of(n) for n in range(0, 40, 3)))
    filters = {"seen": True, "out_of_stock": None, "allow": None, "deny": "denied.txt"}
    rules = [{"rule": "cap", "max_items": 2}]
    _, paths = finished(tmp_path, small_params, filters=filters, rules=rules)
    with serving(tmp_path) as server:
        _, explored = lists(server, [0.3, 0.7], group="g1")
        _, again = lists(server, [0.3, 0.7], group="g2")
        before = rows_of(log_of(paths), "impressions")
        body = {"user": "ada", "session": SESSION}
        _, served = ask(server, "/recommend", body)
        _, of_group = lists(server, [0.3, 0.7], group=served["group"])
        _, state = ask(server, "/explore/state")
        server.end(signal.SIGTERM)

    assert before == []
    assert len(rows_of(log_of(paths), "impressions")) == 1
    listed = [one["item"] for one in served["items"]]
    assert [one["item"] for one in of_group["of_group"]] == listed
    assert explored["chosen"] == [
        one | {"other_position": other["other_position"]}
        for one, other in zip(again["chosen"], explored["chosen"], strict=True)
    ]
    assert not {name_of(n) for n in [3, 17, *range(0, 40, 3)]} & {
        one["item"] for one in explored["chosen"]
    }
    assert state["has_rules"] is True


def test_unknown_items_are_named_and_left_out(shop):
    _, some = lists(shop[0], [0.3, 0.7], ["nothing", *SESSION, "no <b>thing</b>", "nothing"])
    _, none = lists(shop[0], [0.3, 0.7], ["nothing"])

    assert some["unknown"] == ["nothing", "no <b>thing</b>"]
    assert [one["item"] for one in some["session"]] == SESSION
    assert some["chosen"] == lists(shop[0], [0.3, 0.7])[1]["chosen"]
    assert none["chosen"] == none["of_group"] == []
    assert none["no_lists_because"] == "the catalogue has no item of this session"


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
def test_what_cannot_be_asked_is_refused(shop, change, status):
    asked = {"preference": [0.5, 0.5], "session": SESSION} | change

    found, said = ask(shop[0], "/explore/lists", asked)

    assert found == status
    assert said["detail"]


def test_before_an_experiment_there_are_lists_and_words_on_what_makes_the_rest(
    tmp_path, small_params
):
    study, paths = write_study(tmp_path, small_params)
    service = build_service(load_snapshot(study, paths), study, paths)
    with TestClient(build_app(service, key=None)) as client:
        state = client.get("/explore/state").json()
        view = client.post("/explore/place", json={"preference": [0.5, 0.5]}).json()
        body = {"preference": [0.5, 0.5], "session": SESSION}
        listed = client.post("/explore/lists", json=body).json()["chosen"]

    assert (state["front"], state["sessions"]) == (None, [])
    assert (view["metrics"], view["kpis"], view["x"]) == ([], [], None)
    assert len(listed) == 5
    made_by = ("offline_metrics", "regression_estimates", "sessions")
    for words, asset in zip(state["missing"], made_by, strict=True):
        assert f"Make it with: dagster asset materialize --select {asset}" in words


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("group_kpis", "H1 was fitted to other group_kpis than there are now"),
        ("plan", "group_kpis are of other groups than the traffic plan's"),
        ("offline_metrics", "offline_metrics: missing segment"),
    ],
)
def test_tables_that_do_not_fit_each_other_are_not_read_as_if_they_did(
    tmp_path, small_params, table, words
):
    study, paths = finished(tmp_path, small_params)
    file = paths.artifact(table, f"{table}.parquet")
    if table == "plan":
        write_plan(paths, name="summer", preferences=(*GROUPS[::2],))
    elif table == "group_kpis":
        rows = pl.read_parquet(file)
        rows.with_columns(pl.col("successes") + 1).write_parquet(file)
    else:
        pl.read_parquet(file).drop("segment").write_parquet(file)  # as of an older version

    explorable = load_snapshot(study, paths).explorable

    assert any(words in said for said in explorable.missing)
    assert explorable.lines == () or table == "offline_metrics"


def test_after_a_hangup_the_new_model_makes_the_lists(tmp_path, small_params):
    study, paths = finished(tmp_path, small_params, reload_seconds=3600.0)
    with serving(tmp_path) as server:
        before = lists(server, [0.3, 0.7])[1]
        write_model(paths, seed=5)
        os.kill(server.process.pid, signal.SIGHUP)
        end = time.monotonic() + 30
        while (after := lists(server, [0.3, 0.7])[1])["model"] == before["model"]:
            assert time.monotonic() < end
            time.sleep(0.05)

    snapshot = load_snapshot(study, paths)
    scores = scores_of(snapshot, [3, 17], (0.3, 0.7))
    best = sorted(range(40), key=lambda n: (-scores[n], n))[:5]
    assert after["model"] == snapshot.version
    assert [one["item"] for one in after["chosen"]] == [name_of(n) for n in best]


def test_new_estimates_are_taken_over_without_a_hangup(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params, reload_seconds=0.05)
    write_plan(paths, preferences=GROUPS)
    with serving(tmp_path) as server:
        assert place(server, 0.4)["kpis"] == []
        finish_study(study, paths)
        end = time.monotonic() + 30
        while not place(server, 0.4)["kpis"]:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_one_client_has_one_pair_of_lists_made_at_a_time(tmp_path, small_params):
    """The model answers nobody here: the first waits until the deadline, the second is refused."""
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
    service.journal.start()
    service.journal.close()

    assert statuses == [503, 429, 503, 503, 503, 429, 503]


@pytest.fixture
def keyed(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params)
    service = build_service(load_snapshot(study, paths), study, paths)
    with TestClient(build_app(service, key=KEY)) as client:
        yield client


def test_the_page_is_open_and_asks_for_the_key_but_nothing_of_the_study_is(keyed):
    body = {"preference": [0.5, 0.5], "session": SESSION}

    assert [keyed.get(path).status_code for path in PAGE] == [200, 200, 200]
    assert 'data-key="needed"' in keyed.get("/explore").text
    assert keyed.get("/explore/state").status_code == 401
    assert keyed.post("/explore/place", json=body).status_code == 401
    assert keyed.post("/explore/lists", json=body).status_code == 401
    headers = {"Authorization": f"Bearer {KEY}"}
    assert keyed.post("/explore/lists", json=body, headers=headers).status_code == 200


def test_the_page_is_small_whole_and_may_load_nothing_from_elsewhere(keyed):
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


def test_what_the_explorer_asks_is_counted_by_route(keyed):
    headers = {"Authorization": f"Bearer {KEY}"}
    keyed.post("/explore/place", json={"preference": [0.5, 0.5]}, headers=headers)

    counted = keyed.get("/metrics", headers=headers).text

    assert 'paretoscope_requests_total{route="/explore/place",status="200"} 1.0' in counted
