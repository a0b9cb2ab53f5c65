"""A real server process and real HTTP."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import aiohttp
import duckdb
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from models.checkpoint import checkpoint_fingerprint
from pipeline.artifacts.storage import write_json
from pipeline.cli import main
from pipeline.core.errors import LogError, StudyError
from pipeline.experiment.design.traffic_plan import PLAN, read_plan
from pipeline.experiment.log.reading.log_folder import log_files
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.serving.event_log.rotating_files import lock_folder
from pipeline.serving.explorer.routes import PAGE
from pipeline.serving.http.server import serve
from pipeline.serving.live.routes import PAGE as LIVE_PAGE
from pipeline.serving.pages.static import SHARED
from pipeline.serving.ranking.snapshot import load_snapshot
from tests.pipeline.experiment.logs import ingest, outcomes
from tests.pipeline.serving.shop import (
    differences,
    finish_study,
    log_of,
    name_of,
    post,
    rows_of,
    serving,
    with_client,
    write_model,
    write_params,
    write_plan,
    write_study,
)

PATHS = {"/recommend", "/events", "/experiment", "/health", "/metrics"}
EXPLORER = {*PAGE, "/explore/state", "/explore/preference", "/explore/lists"}
LIVE = {*LIVE_PAGE, "/live/content", *SHARED}


@pytest.fixture(scope="module")
def shop(tmp_path_factory, small_params):
    """A server for tests that do not stop it, and its study."""
    root = tmp_path_factory.mktemp("shop")
    study, paths = write_study(root, small_params)
    finish_study(study, paths)
    with serving(root) as server:
        yield server, study, paths


def request_of(n):
    """The request of the n-th user."""
    return {"user": f"u{n}", "session": [name_of(n % 40), name_of(7 * n % 40)], "k": 1 + n % 9}


def run_sessions(url, n, *, at_once):
    """n users request a list; every second clicks, every fourth orders; responses by impression."""

    async def scenario(session):
        answers = {}
        limit = asyncio.Semaphore(at_once)

        async def session_of(number):
            async with limit:
                status, answer = await post(session, "/recommend", request_of(number))
                assert status == 200, answer
                answers[answer["impression"]] = answer | {"user": f"u{number}"}
                events = [{"event_type": "shown", "event": "s", "impression": answer["impression"]}]
                if number % 2 == 0:
                    events.append(
                        {"event_type": "click", "event": "c", "impression": answer["impression"]}
                    )
                if number % 4 == 0:
                    order = {"event_type": "order", "units": 2, "revenue": number}
                    events.append(order | {"event": "o", "impression": answer["impression"]})
                status, recorded = await post(session, "/events", {"events": events})
                assert (status, recorded) == (
                    200,
                    {"accepted": len(events), "duplicates": 0, "unknown_impressions": 0},
                )

        await asyncio.gather(*map(session_of, range(n)))
        return answers

    return with_client(url, scenario)


@pytest.mark.slow
def test_the_log_contains_exactly_the_responses(tmp_path, small_params):
    sessions = 10_000
    """A real client and a real process, stopped by SIGTERM; the log is ingested."""
    study, paths = write_study(tmp_path, small_params, rotate_megabytes=0.5)
    with serving(tmp_path) as server:
        answers = run_sessions(server.url, sessions, at_once=16)
        stopped = server.end(signal.SIGTERM)

    assert stopped == (0, "stopped by SIGTERM; the event log is closed\n")
    log, snapshot = log_of(paths), load_snapshot(study, paths)
    assert list(log.rglob("*.open")) == []
    rows = {row["impression"]: row for row in rows_of(log, "impressions")}
    assert rows.keys() == answers.keys()
    for impression, row in rows.items():
        answer = answers[impression]
        assert row["items"] == [listed["item"] for listed in answer["items"]]
        assert {key: row[key] for key in ("user", "group", "model", "rules", "fallback")} == {
            key: answer[key] for key in ("user", "group", "model", "rules", "fallback")
        }
        if row["fallback"] is None:
            assert differences(snapshot.model, row) == []
    fallbacks = Counter(row["fallback"] for row in rows.values())
    assert fallbacks[None] >= 0.99 * sessions
    assert len(rows_of(log / "confirmations", "shown")) == sessions
    result = ingest(
        [file.path for file in log_files(log).files],
        read_plan(paths),
        tmp_path / "log.duckdb",
        rules=LogRules.of(study.experiment),
    )
    assert (result.impressions, result.rejected) == (sessions, {})
    found = outcomes(tmp_path / "log.duckdb")
    for impression, answer in answers.items():
        number = int(answer["user"][1:])
        ordered = number % 4 == 0
        expected = (number % 2 == 0, ordered, 2 if ordered else 0, number if ordered else None)
        assert found[impression] == expected


@pytest.mark.slow
def test_a_duplicate_after_a_restart_counts_once(tmp_path, small_params):
    _, paths = write_study(tmp_path, small_params)
    events = {"events": [{"event_type": "click", "event": "1", "impression": "x"}]}

    answers = []
    for number in (signal.SIGKILL, signal.SIGINT):
        with serving(tmp_path) as server:
            answers.append(
                with_client(server.url, lambda session: post(session, "/events", events))
            )
            status, _ = server.end(number)

    assert answers == [
        (200, {"accepted": 1, "duplicates": 0, "unknown_impressions": 1}),
        (200, {"accepted": 0, "duplicates": 1, "unknown_impressions": 0}),
    ]
    assert status == 0
    assert len(rows_of(log_of(paths), "clicks")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_no_acknowledged_row_is_lost_when_the_server_is_killed(  # noqa: PLR0915 - one story
    tmp_path, small_params, durability
):
    """kill -9 under load, 10 times per durability; clients retry events without a response."""
    _, paths = write_study(tmp_path, small_params, durability=durability, rotate_megabytes=0.05)
    answered, acknowledged, unsure = {}, set(), set()

    async def load(url, server, turn):
        async with aiohttp.ClientSession(url) as session:
            asyncio.get_running_loop().call_later(
                0.5 + 0.05 * turn, server.process.send_signal, signal.SIGKILL
            )
            await asyncio.gather(*(client(session, turn, n) for n in range(12)))

    async def client(session, turn, n):
        try:
            for number in range(10**6):
                _, answer = await post(session, "/recommend", request_of(number + 1000 * n))
                answered[answer["impression"]] = [listed["item"] for listed in answer["items"]]
                key = (answer["impression"], f"{turn}")
                unsure.add(key)
                event = {"event_type": "click", "impression": key[0], "event": key[1]}
                status, _ = await post(session, "/events", {"events": [event]})
                assert status == 200
                acknowledged.add(key)
                unsure.discard(key)
        except aiohttp.ClientError:
            return

    async def retry(url):
        async with aiohttp.ClientSession(url) as session:
            for impression, name in sorted(unsure):
                event = {"event_type": "click", "impression": impression, "event": name}
                status, _ = await post(session, "/events", {"events": [event]})
                assert status == 200
                acknowledged.add((impression, name))
            unsure.clear()

    for turn in range(10):
        with serving(tmp_path) as server:
            asyncio.run(retry(server.url))
            asyncio.run(load(server.url, server, turn))
            assert server.process.wait() == -signal.SIGKILL
    with serving(tmp_path) as server:
        asyncio.run(retry(server.url))
        server.end(signal.SIGTERM)

    log = log_of(paths)
    clicks = Counter((row["impression"], row["event"]) for row in rows_of(log, "clicks"))
    assert len(acknowledged) > 500
    assert set(clicks) == acknowledged
    assert set(clicks.values()) == {1}
    rows = rows_of(log, "impressions")
    assert len({row["impression"] for row in rows}) == len(rows)
    logged = {row["impression"]: row["items"] for row in rows}
    assert {impression: logged[impression] for impression in answered} == answered
    assert list(log.rglob("*.open")) == []


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_new_model_plan_and_rule_are_loaded_without_a_lost_request(  # noqa: PLR0915
    tmp_path, small_params
):
    """Under constant load; every list is that of the model in its row."""
    study, paths = write_study(tmp_path, small_params, reload_seconds=0.05)
    snapshots = {(first := load_snapshot(study, paths)).model.version: first.model}
    seen = []

    async def scenario(session):
        stopping = asyncio.Event()

        async def client(n):
            number = 0
            while not stopping.is_set():
                status, answer = await post(session, "/recommend", request_of(n + 10 * number))
                assert status == 200
                seen.append((answer["model"], answer["rules"], answer["experiment"]))
                number += 1

        async def until(index, value):
            while all(one[index] != value for one in seen[-20:]):
                await asyncio.sleep(0.02)

        clients = [asyncio.create_task(client(n)) for n in range(4)]
        await asyncio.sleep(0.2)
        write_model(paths, seed=5)
        second = load_snapshot(study, paths).model
        snapshots[second.version] = second
        await until(0, second.version)
        changed = write_params(tmp_path, small_params, reload_seconds=0.05, candidates=50)
        await until(1, load_snapshot(changed, paths).model.rules.version)
        write_plan(paths, salt="another")  # the same experiment with other users: rejected
        await asyncio.sleep(0.3)
        write_plan(paths, name="summer", salt="another")
        await until(2, "summer")
        stopping.set()
        await asyncio.gather(*clients)

    with serving(tmp_path) as server:
        with_client(server.url, scenario)
        status, stderr = server.end(signal.SIGTERM)

    assert status == 0
    assert "experiment 'spring' is running with a different" in stderr
    rows = rows_of(log_of(paths), "impressions")
    assert len(rows) == len(seen)
    assert {row["model"] for row in rows} == set(snapshots)
    assert {row["experiment"] for row in rows} == {"spring", "summer"}
    plan = {"spring": first.plan, "summer": read_plan(paths)}
    for row in rows:
        assert row["group"] == plan[row["experiment"]].group_of(row["user"]).name
        assert row["fallback"] is not None or differences(snapshots[row["model"]], row) == []


@pytest.mark.slow
def test_a_model_other_than_that_of_the_plan_is_not_served(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params)
    plan = read_plan(paths)
    fingerprint = checkpoint_fingerprint(paths.artifact("conditioned_model"))
    write_json(paths.artifact("traffic_plan", PLAN), replace(plan, model=fingerprint).as_dict())

    assert fingerprint.startswith(load_snapshot(study, paths).model.version)
    write_model(paths, seed=5)
    with pytest.raises(LogError, match="'spring' is served by model"):
        load_snapshot(study, paths)


@pytest.mark.slow
def test_sighup_reloads_and_a_corrupt_model_is_rejected(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params, reload_seconds=3600.0)
    first = load_snapshot(study, paths).model.version

    def served(server):
        async def scenario(session):
            async with session.get("/experiment") as answer:
                return (await answer.json())["model"]

        return with_client(server.url, scenario)

    with serving(tmp_path) as server:
        write_model(paths, seed=5)
        second = load_snapshot(study, paths).model.version
        before = served(server)
        os.kill(server.process.pid, signal.SIGHUP)
        wait_until(lambda: served(server) == second)
        (paths.artifact("conditioned_model") / "weights.safetensors").write_bytes(b"corrupt")
        os.kill(server.process.pid, signal.SIGHUP)
        time.sleep(0.3)
        after = served(server)
        _, stderr = server.end(signal.SIGTERM)

    assert (before, after) == (first, second)
    assert "reload failed, the old snapshot stays" in stderr


def test_duckdb_reads_the_log_of_a_running_server(shop):
    server, _, paths = shop
    answers = run_sessions(server.url, 8, at_once=4)

    rows = duckdb.execute(
        "SELECT impression, items FROM read_json(?, format = 'newline_delimited', union_by_name = true)",
        [str(log_of(paths) / "impressions-*.jsonl*")],
    ).fetchall()

    listed = {impression: [one["item"] for one in a["items"]] for impression, a in answers.items()}
    assert {impression: items for impression, items in rows if impression in listed} == listed


@pytest.mark.parametrize("examples", [5, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_requests_from_the_openapi_schema_never_cause_server_errors(shop, mode, examples):
    """Schemathesis: no server error, and every response conforms to the OpenAPI."""
    server, _, _ = shop
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    schema.config.checks.negative_data_rejection.expected_statuses += ["413"]
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.path for operation in operations} == PATHS | EXPLORER | LIVE
    if mode is GenerationMode.NEGATIVE:  # without a body or parameter, no request is invalid
        operations = [operation for operation in operations if operation.method == "post"]
    checked = set()
    for operation in operations:

        @settings(
            max_examples=examples,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(operation.as_strategy(mode))
        def check(case):
            checked.add(case.operation.path)
            case.call_and_validate()

        check()

    assert checked == {operation.path for operation in operations}


@pytest.mark.slow
def test_the_key_is_read_from_the_environment_and_never_logged(tmp_path, small_params):
    write_study(tmp_path, small_params)
    key = "a key of more than sixteen"

    with serving(tmp_path, {"PARETOSCOPE_SERVING_KEY": key}) as server:
        rejected = with_client(
            server.url, lambda session: post(session, "/recommend", request_of(1))
        )

        async def with_key(session):
            session.headers["Authorization"] = f"Bearer {key}"
            return await post(session, "/recommend", request_of(1))

        status, _ = with_client(server.url, with_key)
        _, stderr = server.end(signal.SIGTERM)

    assert rejected[0] == 401
    assert status == 200
    assert key not in "".join([*server.lines, stderr])


@pytest.mark.slow
def test_objects_loaded_before_the_first_request_are_frozen(tmp_path, small_params):
    write_study(tmp_path, small_params)
    program = (
        "import gc, uvicorn\n"
        "uvicorn.Server.run = lambda *_, **__: print(gc.get_freeze_count(), len(gc.get_objects()))\n"
        "from pipeline.cli import main\n"
        "main(['serve', '--port', '0'])\n"
    )

    command = [sys.executable, "-c", program]
    stdout = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout

    frozen, tracked = map(int, stdout.split())
    assert frozen > 100 * tracked


def test_two_servers_cannot_write_the_same_log(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params)
    held = lock_folder(log_of(paths))

    with pytest.raises(LogError, match="another server writes its log to"):
        serve(study, paths, port=0)

    os.close(held)


def test_an_address_in_use_and_a_short_key_are_rejected(tmp_path, small_params, monkeypatch, shop):
    study, paths = write_study(tmp_path, small_params)
    port = int(shop[0].url.rsplit(":", 1)[1])

    with pytest.raises(StudyError, match=f"cannot listen on 127.0.0.1 port {port}: Address"):
        serve(study, paths, port=port)
    monkeypatch.setenv("PARETOSCOPE_SERVING_KEY", "short")
    with pytest.raises(StudyError, match="has 5 characters; expected 16 or more"):
        serve(study, paths, port=0)


def test_an_unfinished_study_is_rejected_with_the_missing_artifact(
    tmp_path, small_params, monkeypatch, capsys
):
    write_params(tmp_path, small_params)
    monkeypatch.chdir(tmp_path)

    status = main(["serve", "--port", "0"])

    assert status == 1
    stderr = capsys.readouterr().err
    assert "paretoscope serve: " in stderr
    assert "Create it with: paretoscope study --select traffic_plan" in stderr


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_an_invalid_port_is_a_usage_error(capsys, port):
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", port])

    assert ended.value.code == 2
    assert "--port" in capsys.readouterr().err
