"""Messages after scheduled runs, posted to a real server."""

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import dagster as dg
import pytest

from assets.definitions import defs
from assets.messages import message_sensors
from pipeline.core.errors import StudyError
from pipeline.reporting.webhook import WEBHOOK_VARIABLE, send_message

SECRET = "T0K3N"
SENSORS = {sensor.name: sensor for sensor in defs.sensors or ()}


@contextmanager
def webhook(monkeypatch, *, status=200):
    """The bodies that a chat received at the address that is set."""
    received = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Chat)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(WEBHOOK_VARIABLE, f"http://127.0.0.1:{server.server_port}/{SECRET}")
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()


def ended(instance, *, status=dg.DagsterRunStatus.SUCCESS, **tags):
    """What a sensor answers to the end of a run with these tags."""
    name = "send_result" if status is dg.DagsterRunStatus.SUCCESS else "send_failure"
    run = dg.DagsterRun(job_name="study", status=status, tags=tags)
    event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name="study")
    context = dg.build_run_status_sensor_context(name, event, instance, run)
    return SENSORS[name](context)


@pytest.fixture
def instance():
    return dg.DagsterInstance.ephemeral()


SCHEDULED = {"dagster/schedule_name": "retrain_weekly", "study": "synthetic-shop"}


@pytest.mark.slow
def test_a_scheduled_run_sends_the_result_in_five_lines(finished, instance, monkeypatch):
    monkeypatch.chdir(finished[0])
    with webhook(monkeypatch) as received:
        assert ended(instance, **SCHEDULED) is None
    (message,) = received
    lines = message["text"].split("\n")
    assert len(lines) == 5
    assert lines[0].startswith("Paretoscope, synthetic-shop: 3 groups, ")


def test_a_failed_scheduled_run_is_reported_and_a_manual_one_is_not(instance, monkeypatch):
    with webhook(monkeypatch) as received:
        failed = ended(instance, status=dg.DagsterRunStatus.FAILURE, **SCHEDULED)
        manual = ended(instance, study="synthetic-shop")
    assert failed is None
    assert isinstance(manual, dg.SkipReason)
    assert [message["text"].split("\n")[0] for message in received] == [
        "Paretoscope, synthetic-shop: the scheduled run of study failed"
    ]


def test_a_step_of_a_rollout_sends_no_report_and_its_failure_once(instance, monkeypatch):
    """A step is taken every half minute."""

    def step(status):
        job = defs.resolve_job_def("watch_rollout")
        tags = {"dagster/sensor_name": "rollout_watch", **job.run_tags}
        run = instance.create_run_for_job(job, status=status, tags=tags)
        name = "send_result" if status is dg.DagsterRunStatus.SUCCESS else "send_failure"
        event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name)
        SENSORS[name](dg.build_run_status_sensor_context(name, event, instance, run))

    good, bad = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
    with webhook(monkeypatch) as received:
        for status in (good, bad, bad, good, bad):
            step(status)
    assert [message["text"].split("\n")[0] for message in received] == [
        "Paretoscope, synthetic-shop: the scheduled run of watch_rollout failed"
    ] * 2


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("tags", "reason"),
    [({"study": "gone"}, "its study gone is gone"), ({}, "it has no tag study")],
)
def test_a_run_whose_study_is_not_known_is_skipped_with_the_reason(
    instance, monkeypatch, tags, reason
):
    with webhook(monkeypatch) as received:
        skipped = ended(instance, **{"dagster/sensor_name": "new_log_files"} | tags)
    assert isinstance(skipped, dg.SkipReason)
    assert skipped.skip_message.endswith(f": {reason}")
    assert received == []


@pytest.mark.parametrize("status", [302, 403, 500])
def test_a_webhook_that_does_not_accept_is_named_without_its_address(monkeypatch, status):
    with (
        webhook(monkeypatch, status=status) as received,
        pytest.raises(StudyError, match=f"answered {status}") as raised,
    ):
        send_message(["hello"])
    assert received == [{"text": "hello"}]
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "address", ["", "http://chat.example/T0K3N", "file:///etc/passwd", "//T0K3N", "https:///T0K3N"]
)
def test_only_https_is_sent_to_and_the_address_is_not_repeated(monkeypatch, address):
    monkeypatch.setenv(WEBHOOK_VARIABLE, address)
    with pytest.raises(StudyError, match=r"PARETOSCOPE_WEBHOOK_URL .*; expected https") as raised:
        send_message(["hello"])
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [
        f"https://127.0.0.1:1/{SECRET} b",
        f"https://127.0.0.1:1/{SECRET}é",
        f"https://127.0.0.1:port/{SECRET}",
        f"https://[1::2/{SECRET}",
    ],
)
def test_an_address_that_cannot_be_asked_is_one_error_without_it(monkeypatch, address):
    monkeypatch.setenv(WEBHOOK_VARIABLE, address)
    with pytest.raises(StudyError, match="PARETOSCOPE_WEBHOOK_URL") as raised:
        send_message(["hello"])
    assert SECRET not in str(raised.value)


def test_the_sensors_are_on_where_an_address_is_set(monkeypatch):
    monkeypatch.delenv(WEBHOOK_VARIABLE, raising=False)
    assert {one.default_status for one in message_sensors()} == {dg.DefaultSensorStatus.STOPPED}
    monkeypatch.setenv(WEBHOOK_VARIABLE, "https://chat.example/hook")
    assert {one.default_status for one in message_sensors()} == {dg.DefaultSensorStatus.RUNNING}
