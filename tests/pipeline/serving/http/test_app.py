"""The routes as HTTP sees them: what they refuse, and how."""

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
    with TestClient(build_app(service, key=None), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def keyed(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params)
    service = build_service(load_snapshot(study, paths), study, paths)
    with TestClient(build_app(service, key=KEY), raise_server_exceptions=False) as client:
        yield client


JSON = {"content-type": "application/json"}
ASK = {"user": "ada", "session": ["item-1"]}


def test_a_list_is_answered_and_logged(client, tmp_path):
    answer = client.post("/recommend", json=ASK | {"k": 3})

    assert answer.status_code == 200
    assert [listed["position"] for listed in answer.json()["items"]] == [1, 2, 3]
    (row,) = rows_of(tmp_path / "data/served", "impressions")
    assert row["impression"] == answer.json()["impression"]


@pytest.mark.parametrize(
    ("route", "body", "place"),
    [
        ("/recommend", ASK | {"user": ""}, ["body", "user"]),
        ("/recommend", ASK | {"user": "x" * 129}, ["body", "user"]),
        ("/recommend", ASK | {"user": "a\u0000b"}, ["body", "user"]),
        ("/recommend", ASK | {"user": "\ud800"}, ["body", "user"]),
        ("/recommend", ASK | {"user": 7}, ["body", "user"]),
        ("/recommend", ASK | {"k": 0}, ["body", "k"]),
        ("/recommend", ASK | {"k": 101}, ["body", "k"]),
        ("/recommend", ASK | {"k": 2.5}, ["body", "k"]),
        ("/recommend", ASK | {"ts": 1}, ["body", "ts"]),
        ("/recommend", ASK | {"session": ["i"] * 501}, ["body", "session"]),
        ("/recommend", ASK | {"exclude": ["i"] * 1001}, ["body", "exclude"]),
        ("/recommend", ASK | {"colour": "red"}, ["body", "colour"]),
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
def test_a_wrong_field_is_named_and_not_repeated(client, tmp_path, route, body, place):
    answer = client.post(route, content=json.dumps(body), headers=JSON)

    assert answer.status_code == 422
    (fault, *_) = answer.json()["detail"]
    assert fault["loc"] == place
    assert set(fault) == {"loc", "msg"}
    assert rows_of(tmp_path / "data/served", "impressions") == []


def test_an_order_that_says_no_revenue_where_all_do_is_a_conflict(client):
    order = {"event_type": "order", "event": "1", "impression": "x", "units": 1}

    answer = client.post("/events", json={"events": [order]})

    assert answer.status_code == 409
    assert "says no revenue, but serving.orders_have_revenue is true" in answer.json()["detail"]


def test_a_request_that_is_too_large_is_refused_before_it_is_read(client):
    declared = client.post("/recommend", content=b"x" * (MAX_BODY_BYTES + 1), headers=JSON)
    chunked = client.post("/recommend", content=iter([b" " * 1000] * 300), headers=JSON)

    assert (declared.status_code, declared.text) == (413, "Content Too Large")
    assert (chunked.status_code, chunked.json()) == (413, {"detail": "Content Too Large"})


@pytest.mark.parametrize("sent", [None, "", "Bearer", "Bearer wrong", KEY, f"Bearer {KEY}x"])
def test_without_the_key_nothing_but_the_health_is_told(keyed, sent):
    headers = {} if sent is None else {"Authorization": sent}

    for route in ("/experiment", "/metrics", "/openapi.json", "/nowhere"):
        refused = keyed.get(route, headers=headers)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert keyed.post("/recommend", json=ASK, headers=headers).status_code == 401
    assert keyed.get("/health").json() == {"status": "ok", "problems": []}
    assert keyed.get("/experiment", headers={"Authorization": f"Bearer {KEY}"}).is_success


def test_the_experiment_says_what_is_served_but_not_its_salt(client):
    said = client.get("/experiment").json()

    assert said["experiment"] == "spring"
    assert [group["name"] for group in said["groups"]] == ["g1", "g2"]
    assert [group["share"] for group in said["groups"]] == [0.5, 0.5]
    assert said["items"] == 40
    assert "salt" not in str(said)


def test_prometheus_is_told_of_requests_lists_and_commits(client):
    client.post("/recommend", json=ASK)
    client.post("/recommend", json={})
    client.get("/wp-admin")

    page = client.get("/metrics").text

    assert 'paretoscope_requests_total{route="/recommend",status="200"} 1.0' in page
    assert 'paretoscope_requests_total{route="/recommend",status="422"} 1.0' in page
    assert 'paretoscope_requests_total{route="other",status="404"} 1.0' in page
    assert "paretoscope_batch_size_count 1.0" in page
    assert "paretoscope_commit_rows_sum 1.0" in page


def test_a_log_that_cannot_be_written_is_said_and_nothing_acknowledged(client, monkeypatch):
    def full(_self, _rows):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("pipeline.serving.event_log.rotating_files.LogFile.append", full)
    event = {"event_type": "click", "event": "1", "impression": "x"}

    answers = [
        client.post("/recommend", json=ASK),
        client.post("/events", json={"events": [event]}),
    ]
    ill = client.get("/health")
    monkeypatch.undo()
    again = client.post("/events", json={"events": [event]})

    assert [answer.status_code for answer in answers] == [503, 503]
    assert "nothing is acknowledged" in answers[0].json()["detail"]
    assert (ill.status_code, ill.json()["problems"]) == (503, ["the log cannot be written"])
    assert again.json() == {"accepted": 1, "repeated": 0}
    assert client.get("/health").json()["status"] == "ok"
