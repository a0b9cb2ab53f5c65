"""Simulated users of a small HTTP server behave as with the model in this process."""

import json
import threading
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import yaml

from pipeline.artifacts.storage import write_json
from pipeline.cli import main
from pipeline.core.errors import EndpointError, StudyError
from pipeline.simulator.http_client import simulate_over_http
from pipeline.simulator.shop_experiment import SimulationConfig, simulate_shop
from pipeline.study import InjectedFaults, SimulatorConfig, load_study
from tests.pipeline.simulator.experiments import ITEMS, PLAN, SHOP, Tempter

TO_CLICK, TO_ORDER = 10_000, 20_000


class Shopkeeper(ThreadingHTTPServer):
    """Serves the lists of :class:`Tempter`, and keeps the events."""

    daemon_threads = True
    request_queue_size = 128  # all clients connect at once

    def handle_error(self, request, client_address):
        """Ignore clients that have disconnected."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.impressions, self.events, self.keys = {}, [], set()
        self.plan = PLAN
        self.change = lambda answer: answer
        self.status = 200
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def recommend(self, request):
        group = self.plan.group_of(request["user"])
        preference = group.preference if group else (0.5, 0.5)
        session = np.array([ITEMS.index(name) for name in request["session"]])
        (listed,) = Tempter().recommend([session], np.array([preference]), k=request["k"])
        name = group and group.name
        with self.lock:
            impression = f"e{len(self.impressions)}"
            self.impressions[impression] = (request["user"], name, request.get("ts"))
        items = [{"item": ITEMS[n], "position": k + 1, "score": 0.0} for k, n in enumerate(listed)]
        return self.change({"group": name, "impression": impression, "items": items})

    def take(self, request):
        with self.lock:
            self.events += request["events"]
        return {"accepted": len(request["events"]), "repeated": 0}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.add(self.headers["Authorization"])
        answer = {"/recommend": self.server.recommend, "/events": self.server.take}[self.path](body)
        content = json.dumps(answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Shopkeeper() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def study(project_root):
    """A study with a small shop and 30 users."""
    small = load_study(project_root / "params.yaml")
    experiment = replace(small.experiment, users=30, days=3)
    return replace(small, synthetic=SHOP, experiment=experiment)


def test_users_behave_as_with_the_same_model_in_this_process(server, study):
    found = simulate_over_http(study, PLAN, server.url, key="secret")

    log = simulate_shop(Tempter(), PLAN, SimulationConfig.of(study))
    events = {(event["impression"], event["event_type"]): event for event in server.events}
    rows = []
    for impression, (user, group, ts) in server.impressions.items():
        click, order = (events.get((impression, event_type)) for event_type in ("click", "order"))
        assert click is None or click["ts"] == ts + TO_CLICK
        assert order is None or (order["ts"], order["item"]) == (ts + TO_ORDER, click["item"])
        rows.append((user, group, ts, click is not None, order["units"] if order else 0))
    expected = log.select("user", "group", "ts", "clicked", "units").rows()
    assert sorted(rows) == sorted(expected)
    assert len(events) == len(server.events)
    assert found == {
        "lists": log.height,
        "clicked": log["clicked"].sum(),
        "ordered": log["ordered"].sum(),
        "units": log["units"].sum(),
    }
    assert found["ordered"] > 0
    assert server.keys == {"Bearer secret"}


def test_the_command_prints_the_outcome(server, small_params, tmp_path, monkeypatch, capsys):
    shop = {"experiment": {**small_params["experiment"], "users": 10}, "synthetic": asdict(SHOP)}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(small_params | shop), encoding="utf-8")
    plan = tmp_path / "data/studies/synthetic-shop/traffic_plan/traffic_plan.json"
    plan.parent.mkdir(parents=True)
    write_json(plan, PLAN.as_dict())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARETOSCOPE_SERVING_KEY", "secret")

    assert main(["simulate", "--url", server.url]) == 0

    clicks = [event for event in server.events if event["event_type"] == "click"]
    printed = capsys.readouterr().out
    assert printed.startswith(
        f"{len(server.impressions)} impressions, {len(clicks)} with a click, "
    )
    assert printed.endswith(f"they are in the log of {server.url}\n")
    assert server.keys == {"Bearer secret"}


def test_with_the_present_time_only_the_times_are_the_endpoint_s(server, study):
    simulated = simulate_over_http(study, PLAN, server.url)
    before = {user: group for user, group, _ in server.impressions.values()}
    server.impressions, server.events = {}, []

    assert simulate_over_http(study, PLAN, server.url, now=True) == simulated

    assert {user: group for user, group, _ in server.impressions.values()} == before
    assert {ts for *_, ts in server.impressions.values()} == {None}
    assert not any("ts" in event for event in server.events)


def test_for_a_rollout_users_outside_the_groups_come_too(server, study):
    server.plan = replace(PLAN, enabled=False)

    simulate_over_http(study, server.plan, server.url, now=True)

    assert {group for _, group, _ in server.impressions.values()} == {None}
    assert len({user for user, *_ in server.impressions.values()}) > 20  # of 30, two sessions each


def test_the_command_names_what_is_missing(small_params, tmp_path, monkeypatch, capsys):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(small_params), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert main(["simulate", "--url", "http://127.0.0.1:1"]) == 1

    assert "traffic_plan.json is missing" in capsys.readouterr().err


def test_a_list_may_be_shorter_than_in_the_plan(server, study):
    server.change = lambda answer: answer | {"items": answer["items"][:1]}

    found = simulate_over_http(study, PLAN, server.url)

    assert 0 < found["clicked"] < found["lists"]
    assert server.keys == {None}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"group": "g9"}, "in group g9, but the study's traffic plan has g"),
        ({"group": None, "impression": None}, "in group None"),
        (
            {"items": [{"item": "socks"}]},
            r"recommended \['socks'\], which are not items of the synthetic shop",
        ),
        ({"items": "none"}, "returned .*: items: Input should be a valid list"),
    ],
    ids=["another group", "no group", "another shop", "no list"],
)
def test_an_unexpected_answer_is_an_error(server, study, change, words):
    server.change = lambda answer: answer | change

    with pytest.raises(EndpointError, match=words):
        simulate_over_http(study, PLAN, server.url)


def test_an_error_status_is_reported(server, study):
    server.status = 503

    with pytest.raises(EndpointError, match=r"returned 503 .*expected status 200"):
        simulate_over_http(study, PLAN, server.url)


def test_an_unreachable_server_is_named(study):
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1:1.*is 'paretoscope serve' running"):
        simulate_over_http(study, PLAN, "http://127.0.0.1:1")


def test_faults_of_the_log_are_refused(study):
    faulty = replace(study, simulator=SimulatorConfig(faults=InjectedFaults(bots=1, novelty=1.0)))

    with pytest.raises(StudyError, match=r"simulator\.faults\.bots is a fault of the log"):
        simulate_over_http(faulty, PLAN, "http://127.0.0.1:1")
