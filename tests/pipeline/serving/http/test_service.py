"""Responses, logged rows, and the fallback to popular items."""

import asyncio
import time
from collections import Counter

import numpy as np
import pytest

from pipeline.core.errors import LogError
from pipeline.serving.event_log.impression_ids import ImpressionIds
from pipeline.serving.http.schemas import Click, Order, RecommendRequest, Shown
from pipeline.serving.http.server import build_service
from pipeline.serving.ranking import micro_batcher
from pipeline.serving.ranking.rank import popularity_fallback, rank
from pipeline.serving.ranking.snapshot import load_snapshot
from tests.pipeline.serving.shop import (
    TS,
    differences,
    log_of,
    name_of,
    rows_of,
    scores_of,
    write_plan,
    write_study,
)


@pytest.fixture
def run(tmp_path, small_params):
    """Run a scenario on a service; returns its result, the snapshot and the log's folder."""

    def run_scenario(scenario, plan=None, **serving):
        study, paths = write_study(tmp_path, small_params, **serving)
        write_plan(paths, **(plan or {}))
        snapshot = load_snapshot(study, paths)

        async def main_task():
            service = build_service(snapshot, study, paths)
            service.event_log.start()
            service.batcher.start()
            try:
                return await scenario(service)
            finally:
                await asyncio.to_thread(service.batcher.close)
                await asyncio.to_thread(service.event_log.close)

        return asyncio.run(main_task()), snapshot, log_of(paths)

    return run_scenario


def request(user="ada", session=("item-1", "item-5"), **more):
    return RecommendRequest(user=user, session=list(session), **more)


def test_the_log_has_the_response_and_can_be_recomputed(run):
    async def scenario(service):
        requests = [request(f"u{n}", k=1 + n % 7, exclude=["item-9"], ts=TS + n) for n in range(30)]
        return await asyncio.gather(*map(service.recommend, requests))

    answers, snapshot, log = run(scenario)

    rows = {row["impression"]: row for row in rows_of(log, "impressions")}
    assert len(rows) == 30
    for n, answer in enumerate(answers):
        row = rows[answer["impression"]]
        assert differences(snapshot.model, row) == []
        assert row["items"] == [listed["item"] for listed in answer["items"]]
        assert row["scores"] == [listed["score"] for listed in answer["items"]]
        assert row["positions"] == [listed["position"] for listed in answer["items"]]
        assert (row["user"], row["ts"], row["k"]) == (f"u{n}", TS + n, 1 + n % 7)
        assert row["group"] == answer["group"] == snapshot.plan.group_of(f"u{n}").name
        for key in ("experiment", "model", "rules", "preference", "fallback"):
            assert row[key] == (list(answer[key]) if key == "preference" else answer[key])
    assert {answer["group"] for answer in answers} == {"g1", "g2"}


def test_unknown_items_are_ignored_and_counted(run):
    async def scenario(service):
        known = await service.recommend(request())
        both = await service.recommend(
            request(session=["x", "item-1", "y", "item-5"], exclude=["z"])
        )
        return known, both, service.metrics.page().decode()

    (known, both, page), _, _ = run(scenario)

    assert both["items"] == known["items"]
    assert (known["unknown_items"], both["unknown_items"]) == (0, 3)
    assert "paretoscope_unknown_items_total 3.0" in page


def test_items_of_the_session_are_excluded_if_configured(run):
    async def scenario(service):
        return await service.recommend(request(session=[name_of(n) for n in range(30)], k=40))

    filters = {"seen": True, "out_of_stock": None, "allow": None, "deny": None}
    answer, snapshot, _ = run(scenario, filters=filters)

    scores = scores_of(snapshot.model, range(30), snapshot.plan.group_of("ada").preference)
    expected = sorted(range(30, 40), key=lambda n: -scores[n])
    assert [listed["item"] for listed in answer["items"]] == [name_of(n) for n in expected]


def test_a_session_of_unknown_items_gets_popular_items(run):
    async def scenario(service):
        return await service.recommend(request(session=["x"], k=3, exclude=["item-17"]))

    answer, snapshot, log = run(scenario)

    (row,) = rows_of(log, "impressions")
    assert answer["fallback"] == row["fallback"] == "no known item in the session"
    expected = [name_of(n) for n in popularity_fallback(snapshot.model, np.array([17]), 3)]
    assert row["items"] == [listed["item"] for listed in answer["items"]] == expected
    assert row["scores"] is None
    assert {listed["score"] for listed in answer["items"]} == {None}


def test_popular_items_replace_a_slow_or_failing_model(run, monkeypatch):
    def late(*arguments):
        time.sleep(0.3)
        return rank(*arguments)

    async def scenario(service):
        monkeypatch.setattr(micro_batcher, "rank", late)
        began = time.perf_counter()
        first = await service.recommend(request())
        waited = time.perf_counter() - began
        await asyncio.sleep(0.4)
        monkeypatch.setattr(micro_batcher, "rank", lambda *_: 1 / 0)
        second = await service.recommend(request())
        monkeypatch.undo()
        third = await service.recommend(request())
        return waited, [one["fallback"] for one in (first, second, third)]

    (waited, fallbacks), _, log = run(scenario, deadline_ms=50.0)

    assert waited < 0.25
    assert fallbacks == ["model timeout", "model error", None]
    assert [row["fallback"] for row in rows_of(log, "impressions")] == fallbacks


@pytest.mark.parametrize(
    ("changes", "user"),
    [({"enabled": False}, "u1"), ({"holdout": 0.9999}, "u1"), ({"traffic_share": 0.0001}, "u1")],
    ids=["kill switch", "holdout", "outside the traffic share"],
)
def test_everybody_outside_the_groups_gets_the_list_of_the_incumbent(run, changes, user):
    async def scenario(service):
        return await service.recommend(request(user))

    answer, snapshot, log = run(scenario, plan=changes)

    (row,) = rows_of(log, "impressions")
    for found in (answer, row):
        assert (found["group"], found["arm"], found["fallback"]) == (None, "incumbent", None)
        assert tuple(found["preference"]) == snapshot.plan.incumbent.preference
    assert (row["release"], row["stage"], row["switched"]) == (None, None, False)
    assert row["impression"] == answer["impression"]
    assert differences(snapshot.model, row) == []


def test_lists_and_events_are_counted_by_group_or_arm(run):
    """An event has the group of its impression, also after a restart and for another server."""

    async def scenario(service):
        answers = [await service.recommend(request(f"u{n}")) for n in range(20)]
        events = [
            Click(event_type="click", event="1", impression=one["impression"]) for one in answers
        ]
        of_before = ImpressionIds(service.snapshot.study, "winter", ["g1", "g2"]).new("g1")
        events.append(Click(event_type="click", event="1", impression=of_before))
        await service.record_events(events)
        return answers, service.metrics.page().decode()

    (answers, page), _, log = run(scenario, plan={"traffic_share": 0.5})

    counts = Counter((one["group"] or "", one["arm"] or "") for one in answers)
    assert counts.keys() == {("g1", ""), ("g2", ""), ("", "incumbent")}
    for (group, arm), n in counts.items():
        assert f'paretoscope_lists_total{{arm="{arm}",group="{group}"}} {n}.0' in page
        labels = f'{{arm="{arm}",group="{group}",kind="click"}}'
        assert f"paretoscope_events_total{labels} {n}.0" in page
    assert 'paretoscope_events_total{arm="",group="",kind="click"} 1.0' in page
    rows = {row["impression"]: row for row in rows_of(log, "impressions")}
    assert {one["impression"]: one["group"] for one in answers} == {
        name: row["group"] for name, row in rows.items()
    }
    assert {row["arm"] for row in rows.values() if row["group"]} == {None}


def test_duplicate_events_are_logged_once(run):
    """An order is not a duplicate of the click with the same event id."""
    click = Click(event_type="click", event="1", impression="x", item="item-1")
    order = Order(event_type="order", event="1", impression="x", units=3, revenue=500, ts=TS)
    shown = Shown(event_type="shown", event="3", impression="x")

    async def scenario(service):
        first = await service.record_events([click, order, click])
        together = await asyncio.gather(*(service.record_events([shown]) for _ in range(10)))
        return first, together, await service.record_events([click, order, shown])

    (first, together, again), _, log = run(scenario)

    assert first == (2, 1, 2)
    assert sorted(together) == [(0, 1, 0)] * 9 + [(1, 0, 1)]
    assert again == (0, 3, 0)
    assert [row["item"] for row in rows_of(log, "clicks")] == ["item-1"]
    (row,) = rows_of(log, "orders")
    assert {k: v for k, v in row.items() if k != "received"} == {
        "format": 1,
        "event": "1",
        "known_impression": False,
        "impression": "x",
        "ts": TS,
        "item": None,
        "units": 3,
        "revenue": 500,
    }
    assert len(rows_of(log / "confirmations", "shown")) == 1


def test_events_of_impressions_that_never_were_are_logged_counted_and_marked(run):
    """Made-up ids, the id of another study, and an id with one digit changed."""

    async def scenario(service):
        served = (await service.recommend(request()))["impression"]
        changed = served[:-1] + ("0" if served[-1] != "0" else "1")
        ids = [
            served,
            changed,
            served.upper(),
            served + " ",
            "f" * 32,
            ImpressionIds("b", "spring", ["g1"]).new("g1"),
        ]
        events = [Click(event_type="click", event="1", impression=one) for one in ids]
        return await service.record_events(events), ids

    (recorded, ids), _, log = run(scenario)

    assert recorded == (6, 0, 5)
    rows = {row["impression"]: row["known_impression"] for row in rows_of(log, "clicks")}
    assert rows == {one: one == ids[0] for one in ids}


def test_ids_are_known_to_every_server_of_the_study_and_to_no_other():
    labels = [f"g{n}" for n in range(50)]
    first, restarted = (ImpressionIds("a", "spring", labels) for _ in range(2))
    later, other = ImpressionIds("a", "summer", labels), ImpressionIds("b", "spring", labels)
    ids = {first.new(label): label for label in labels for _ in range(20)}

    assert len(ids) == 1000
    assert {one: restarted.label_of(one) for one in ids} == ids
    assert {later.label_of(one) for one in ids} == {""}
    assert {other.label_of(one) for one in ids} == {None}


@pytest.mark.parametrize(("required", "revenue"), [(True, None), (False, 500)])
def test_all_orders_have_a_revenue_or_none(run, required, revenue):
    order = Order(event_type="order", event="2", impression="x", units=3, revenue=revenue)
    click = Click(event_type="click", event="1", impression="x")

    async def scenario(service):
        with pytest.raises(LogError, match="either all orders have it or none"):
            await service.record_events([click, order])

    _, _, log = run(scenario, orders_have_revenue=required)

    assert rows_of(log, "clicks") == []


def test_problems_of_the_threads_and_the_log(run):
    async def scenario(service):
        healthy = service.problems()
        service.event_log.failure = "disk full"
        await asyncio.to_thread(service.batcher.close)
        failing = service.problems()
        service.batcher._thread = type(service.batcher._thread)(target=lambda: None)
        service.batcher._thread.start()
        return healthy, failing

    (healthy, failing), _, _ = run(scenario)

    assert healthy == []
    assert failing == [
        "the ranking thread has stopped",
        "the event log cannot be written: disk full",
    ]


def test_explored_lists_are_logged_with_their_propensities(run):
    async def scenario(service):
        requests = [request(f"u{n}", ts=TS + n, k=4) for n in range(60)]
        answers = [await service.recommend(one) for one in requests]
        fallback = await service.recommend(request("u0", session=["unknown"]))
        return [*answers, fallback], service.metrics.page().decode()

    exploration = {"share": 0.5, "temperature": 0.7}
    (answers, page), snapshot, log = run(scenario, exploration=exploration, candidates=15)

    rows = {row["impression"]: row for row in rows_of(log, "impressions")}
    draw = ("propensity", "position_propensities", "temperature", "candidates")
    explored = [row for row in rows.values() if row["explored"]]
    assert 15 < len(explored) < 45
    assert f"paretoscope_explored_lists_total {len(explored)}.0" in page
    for answer in answers:
        row = rows[answer["impression"]]
        assert row["explored"] == answer["explored"]
        if row["explored"]:
            assert snapshot.model.exploration.explores(row["impression"])
            assert (row["temperature"], row["candidates"]) == (0.7, 15)
            assert row["propensity"] == pytest.approx(np.prod(row["position_propensities"]))
            scores = np.array(scores_of(snapshot.model, [1, 5], row["preference"]))
            best = np.argsort(-scores)[:15]
            drawn = snapshot.model.exploration.draw(row["impression"], scores[best], 4)
            assert [name_of(item) for item in best[drawn.indices]] == row["items"]
            assert drawn.propensities == pytest.approx(row["position_propensities"], rel=1e-3)
        else:
            assert [row[name] for name in draw] == [None] * 4
            assert row["fallback"] or differences(snapshot.model, row) == []
    assert answers[-1]["fallback"]
    assert not answers[-1]["explored"]
