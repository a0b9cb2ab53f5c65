"""The routes over HTTP: responses and errors."""

import json

import pytest
from fastapi.testclient import TestClient

from pipeline.serving.http.app import build_app
from pipeline.serving.http.schemas import MAX_BODY_BYTES
from pipeline.serving.http.server import build_service
from pipeline.serving.ranking.snapshot import load_snapshot
from tests.pipeline.serving.shop import rows_of, write_study

KEY = "a key of more than sixteen"


@pytest.fixture
def client(tmp_path, small_params):
    """A client of the application in this process."""
    study, paths = write_study(tmp_path, small_params)
    service = build_service(load_snapshot(study, paths), study, paths)
    with TestClient(
        build_app(service, paths, key=None),
        base_url="http://localhost",
        raise_server_exceptions=False,
    ) as client:
        yield client


@pytest.fixture
def keyed(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params)
    service = build_service(load_snapshot(study, paths), study, paths)
    with TestClient(
        build_app(service, paths, key=KEY),
        base_url="http://localhost",
        raise_server_exceptions=False,
    ) as client:
        yield client


JSON = {"content-type": "application/json"}
REQUEST = {"user": "ada", "session": ["item-1"]}


def test_a_list_is_returned_and_logged(client, tmp_path):
    answer = client.post("/recommend", json=REQUEST | {"k": 3})

    assert answer.status_code == 200
    assert [listed["position"] for listed in answer.json()["items"]] == [1, 2, 3]
    (row,) = rows_of(tmp_path / "data/served", "impressions")
    assert row["impression"] == answer.json()["impression"]


@pytest.mark.parametrize(
    ("route", "body", "loc"),
    [
        ("/recommend", REQUEST | {"user": ""}, ["body", "user"]),
        ("/recommend", REQUEST | {"user": "x" * 129}, ["body", "user"]),
        ("/recommend", REQUEST | {"user": "a\u0000b"}, ["body", "user"]),
        ("/recommend", REQUEST | {"user": "\ud800"}, ["body", "user"]),
        ("/recommend", REQUEST | {"user": 7}, ["body", "user"]),
        ("/recommend", REQUEST | {"k": 0}, ["body", "k"]),
        ("/recommend", REQUEST | {"k": 101}, ["body", "k"]),
        ("/recommend", REQUEST | {"k": 2.5}, ["body", "k"]),
        ("/recommend", REQUEST | {"ts": 1}, ["body", "ts"]),
        ("/recommend", REQUEST | {"session": ["i"] * 501}, ["body", "session"]),
        ("/recommend", REQUEST | {"exclude": ["i"] * 1001}, ["body", "exclude"]),
        ("/recommend", REQUEST | {"colour": "red"}, ["body"]),
        ("/recommend", {"user": "ada"}, ["body", "session"]),
        ("/events", {"events": []}, ["body", "events"]),
        ("/events", {"events": [{"event_type": "view"}]}, ["body", "events", 0]),
        (
            "/events",
            {"events": [{"event_type": "order", "event": "1", "impression": "x", "units": 0}]},
            ["body", "events", 0, "order", "units"],
        ),
    ],
)
def test_an_invalid_field_is_named_without_its_value(client, tmp_path, route, body, loc):
    answer = client.post(route, content=json.dumps(body), headers=JSON)

    assert answer.status_code == 422
    (field, *_) = answer.json()["detail"]
    assert field["loc"] == loc
    assert set(field) == {"loc", "msg"}
    assert rows_of(tmp_path / "data/served", "impressions") == []


def test_an_order_without_a_required_revenue_is_a_conflict(client):
    order = {"event_type": "order", "event": "1", "impression": "x", "units": 1}

    answer = client.post("/events", json={"events": [order]})

    assert answer.status_code == 409
    assert "has no revenue, but serving.orders_have_revenue is true" in answer.json()["detail"]


def test_a_body_that_is_too_large_is_rejected_before_it_is_read(client):
    declared = client.post("/recommend", content=b"x" * (MAX_BODY_BYTES + 1), headers=JSON)
    chunked = client.post("/recommend", content=iter([b" " * 1000] * 300), headers=JSON)

    assert (declared.status_code, declared.text) == (413, "Content Too Large")
    assert (chunked.status_code, chunked.json()) == (413, {"detail": "Content Too Large"})


@pytest.mark.parametrize("sent", [None, "", "Bearer", "Bearer wrong", KEY, f"Bearer {KEY}x"])
def test_without_the_key_only_health_is_available(keyed, sent):
    headers = {} if sent is None else {"Authorization": sent}

    for route in ("/experiment", "/metrics", "/openapi.json", "/nowhere"):
        rejected = keyed.get(route, headers=headers)
        assert (rejected.status_code, rejected.headers["www-authenticate"]) == (401, "Bearer")
    assert keyed.post("/recommend", json=REQUEST, headers=headers).status_code == 401
    assert keyed.get("/health").json() == {"status": "ok", "problems": []}
    assert keyed.get("/experiment", headers={"Authorization": f"Bearer {KEY}"}).is_success


def test_the_experiment_is_described_without_its_salt(client):
    found = client.get("/experiment").json()

    assert found["experiment"] == "spring"
    assert [group["name"] for group in found["groups"]] == ["g1", "g2"]
    assert [group["share"] for group in found["groups"]] == [0.5, 0.5]
    assert found["items"] == 40
    assert "salt" not in str(found)


def test_metrics_count_requests_batches_and_commits(client):
    client.post("/recommend", json=REQUEST)
    client.post("/recommend", json={})
    client.get("/wp-admin")

    page = client.get("/metrics").text

    assert 'paretoscope_requests_total{route="/recommend",status="200"} 1.0' in page
    assert 'paretoscope_requests_total{route="/recommend",status="422"} 1.0' in page
    assert 'paretoscope_requests_total{route="other",status="404"} 1.0' in page
    assert "paretoscope_batch_size_count 1.0" in page
    assert "paretoscope_commit_rows_sum 1.0" in page


def test_nothing_is_acknowledged_if_the_log_cannot_be_written(client, monkeypatch):
    def full(_self, _rows):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("pipeline.serving.event_log.rotating_files.LogFile.append", full)
    event = {"event_type": "click", "event": "1", "impression": "x"}

    answers = [
        client.post("/recommend", json=REQUEST),
        client.post("/events", json={"events": [event]}),
    ]
    health = client.get("/health")
    monkeypatch.undo()
    again = client.post("/events", json={"events": [event]})

    assert [answer.status_code for answer in answers] == [503, 503]
    assert "(no space left on device); nothing is acknowledged" in answers[0].json()["detail"]
    assert (health.status_code, health.json()["problems"]) == (
        503,
        ["the event log cannot be written: no space left on device"],
    )
    assert again.json() == {"accepted": 1, "duplicates": 0, "unknown_impressions": 1}
    assert client.get("/health").json()["status"] == "ok"
