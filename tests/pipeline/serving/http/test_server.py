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
from pipeline.experiment.log.ingest import ingest
from pipeline.experiment.log.log_files import log_files
from pipeline.experiment.log.row_validation import LogRules
from pipeline.serving.event_log.rotating_files import lock_folder
from pipeline.serving.explorer.page import PAGE
from pipeline.serving.http.server import serve
from pipeline.serving.ranking.snapshot import load_snapshot
from tests.pipeline.experiment.logs import outcomes
from tests.pipeline.serving.shop import (
    differences,
    finish_study,
    log_of,
    name_of,
    rows_of,
    serving,
    write_model,
    write_params,
    write_plan,
    write_study,
)

PATHS = {"/recommend", "/events", "/experiment", "/health", "/metrics"}
EXPLORER = {*PAGE, "/explore/state", "/explore/place", "/explore/lists"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory, small_params):
    """A server for the tests that do not end it, and its study."""
    root = tmp_path_factory.mktemp("shop")
    study, paths = write_study(root, small_params)
    finish_study(study, paths)
    with serving(root) as server:
        yield server, study, paths


def ask_for(n):
    """The n-th user's request."""
    return {"user": f"u{n}", "session": [name_of(n % 40), name_of(7 * n % 40)], "k": 1 + n % 9}


async def post(session, route, body):
    async with session.post(route, json=body) as answer:
        return answer.status, await answer.json()


def talk(url, scenario):
    """Run ``scenario(session)`` with an HTTP client."""

    async def whole():
        async with aiohttp.ClientSession(url) as session:
            return await scenario(session)

    return asyncio.run(whole())


def play_sessions(url, n, *, at_once):
    """n users ask for a list; every second clicks, every fourth orders; answers by impression."""

    async def scenario(session):
        answers = {}
        turn = asyncio.Semaphore(at_once)

        async def visit(number):
            async with turn:
                status, answer = await post(session, "/recommend", ask_for(number))
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
                status, taken = await post(session, "/events", {"events": events})
                assert (status, taken) == (200, {"accepted": len(events), "repeated": 0})

        await asyncio.gather(*map(visit, range(n)))
        return answers

    return talk(url, scenario)


@pytest.mark.parametrize("sessions", [40, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_log_joins_to_exactly_what_was_answered(tmp_path, small_params, sessions):
    """Played by a real client on a real process, ended by SIGTERM, taken in by the ingestion."""
    study, paths = write_study(tmp_path, small_params, rotate_megabytes=0.5)
    with serving(tmp_path) as server:
        answers = play_sessions(server.url, sessions, at_once=16)
        ended = server.end(signal.SIGTERM)

    assert ended == (0, "")
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
            assert differences(snapshot, row) == []
    fallbacks = Counter(row["fallback"] for row in rows.values())
    assert fallbacks[None] >= 0.99 * sessions
    assert len(rows_of(log / "confirmations", "shown")) == sessions
    result = ingest(
        log_files(log),
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
def test_an_event_sent_again_after_a_restart_counts_once(tmp_path, small_params):
    _, paths = write_study(tmp_path, small_params)
    events = {"events": [{"event_type": "click", "event": "1", "impression": "x"}]}

    answers = []
    for number in (signal.SIGKILL, signal.SIGINT):
        with serving(tmp_path) as server:
            answers.append(talk(server.url, lambda session: post(session, "/events", events)))
            status, _ = server.end(number)

    assert answers == [(200, {"accepted": 1, "repeated": 0}), (200, {"accepted": 0, "repeated": 1})]
    assert status == 0
    assert len(rows_of(log_of(paths), "clicks")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_nothing_acknowledged_is_lost_when_the_server_is_killed(  # noqa: PLR0915 - one story
    tmp_path, small_params, durability
):
    """kill -9 under load, 10 times at each durability; clients send again what was not answered."""
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
                _, answer = await post(session, "/recommend", ask_for(number + 1000 * n))
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

    async def send_again(url):
        async with aiohttp.ClientSession(url) as session:
            for impression, name in sorted(unsure):
                event = {"event_type": "click", "impression": impression, "event": name}
                status, _ = await post(session, "/events", {"events": [event]})
                assert status == 200
                acknowledged.add((impression, name))
            unsure.clear()

    for turn in range(10):
        with serving(tmp_path) as server:
            asyncio.run(send_again(server.url))
            asyncio.run(load(server.url, server, turn))
            assert server.process.wait() == -signal.SIGKILL
    with serving(tmp_path) as server:
        asyncio.run(send_again(server.url))
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
def test_a_new_model_plan_and_rule_are_taken_over_without_a_lost_request(  # noqa: PLR0915
    tmp_path, small_params
):
    """While clients ask without a pause; every answer is that of the model its row names."""
    study, paths = write_study(tmp_path, small_params, reload_seconds=0.05)
    snapshots = {(first := load_snapshot(study, paths)).version: first}
    seen = []

    async def scenario(session):
        ending = asyncio.Event()

        async def client(n):
            number = 0
            while not ending.is_set():
                status, answer = await post(session, "/recommend", ask_for(n + 10 * number))
                assert status == 200
                seen.append((answer["model"], answer["rules"], answer["experiment"]))
                number += 1

        async def until(place, value):
            while all(one[place] != value for one in seen[-20:]):
                await asyncio.sleep(0.02)

        clients = [asyncio.create_task(client(n)) for n in range(4)]
        await asyncio.sleep(0.2)
        write_model(paths, seed=5)
        second = load_snapshot(study, paths)
        snapshots[second.version] = second
        await until(0, second.version)
        changed = write_params(tmp_path, small_params, reload_seconds=0.05, candidates=50)
        await until(1, load_snapshot(changed, paths).rules.version)
        write_plan(paths, salt="another")  # the same experiment with other users: refused
        await asyncio.sleep(0.3)
        write_plan(paths, name="summer", salt="another")
        await until(2, "summer")
        ending.set()
        await asyncio.gather(*clients)

    with serving(tmp_path) as server:
        talk(server.url, scenario)
        status, said = server.end(signal.SIGTERM)

    assert status == 0
    assert "experiment 'spring' is under way with another" in said
    rows = rows_of(log_of(paths), "impressions")
    assert len(rows) == len(seen)
    assert {row["model"] for row in rows} == set(snapshots)
    assert {row["experiment"] for row in rows} == {"spring", "summer"}
    plan = {"spring": first.plan, "summer": read_plan(paths)}
    for row in rows:
        assert row["group"] == plan[row["experiment"]].group_of(row["user"]).name
        assert row["fallback"] is not None or differences(snapshots[row["model"]], row) == []


@pytest.mark.slow
def test_a_model_that_the_plan_was_not_made_for_is_not_served(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params)
    plan = read_plan(paths)
    fingerprint = checkpoint_fingerprint(paths.artifact("conditioned_model"))
    write_json(paths.artifact("traffic_plan", PLAN), replace(plan, model=fingerprint).as_dict())

    assert fingerprint.startswith(load_snapshot(study, paths).version)
    write_model(paths, seed=5)
    with pytest.raises(LogError, match="'spring' is served by model"):
        load_snapshot(study, paths)


def test_a_hangup_reloads_and_a_damaged_model_is_not_taken_over(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params, reload_seconds=3600.0)
    first = load_snapshot(study, paths).version

    def served(server):
        async def scenario(session):
            async with session.get("/experiment") as answer:
                return (await answer.json())["model"]

        return talk(server.url, scenario)

    with serving(tmp_path) as server:
        write_model(paths, seed=5)
        second = load_snapshot(study, paths).version
        before = served(server)
        os.kill(server.process.pid, signal.SIGHUP)
        wait_until(lambda: served(server) == second)
        (paths.artifact("conditioned_model") / "weights.safetensors").write_bytes(b"damaged")
        os.kill(server.process.pid, signal.SIGHUP)
        time.sleep(0.3)
        after = served(server)
        _, said = server.end(signal.SIGTERM)

    assert (before, after) == (first, second)
    assert "the study was not taken over" in said


def test_duckdb_reads_the_log_beside_the_server(shop):
    server, _, paths = shop
    answers = play_sessions(server.url, 8, at_once=4)

    rows = duckdb.execute(
        "SELECT impression, items FROM read_json(?, format = 'newline_delimited', union_by_name = true)",
        [str(log_of(paths) / "impressions-*.jsonl*")],
    ).fetchall()

    listed = {impression: [one["item"] for one in a["items"]] for impression, a in answers.items()}
    assert {impression: items for impression, items in rows if impression in listed} == listed


@pytest.mark.parametrize("examples", [5, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_what_its_own_openapi_allows_and_forbids_never_breaks_it(shop, mode, examples):
    """Schemathesis: no server error, and every answer is one that the OpenAPI tells of."""
    server, _, _ = shop
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.path for operation in operations} == PATHS | EXPLORER
    if mode is GenerationMode.NEGATIVE:  # without a body or parameter there is nothing to get wrong
        operations = [operation for operation in operations if operation.method == "post"]
    checked = set()
    for operation in operations:

        @settings(
            max_examples=examples,
            deadline=None,
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
def test_the_key_is_from_the_environment_and_never_said(tmp_path, small_params):
    write_study(tmp_path, small_params)
    key = "a key of more than sixteen"

    with serving(tmp_path, {"PARETOSCOPE_SERVING_KEY": key}) as server:
        refused = talk(server.url, lambda session: post(session, "/recommend", ask_for(1)))

        async def with_key(session):
            session.headers["Authorization"] = f"Bearer {key}"
            return await post(session, "/recommend", ask_for(1))

        status, _ = talk(server.url, with_key)
        _, said = server.end(signal.SIGTERM)

    assert refused[0] == 401
    assert status == 200
    assert key not in "".join([*server.said, said])


@pytest.mark.slow
def test_what_is_loaded_before_the_first_request_is_never_looked_through_for_garbage(
    tmp_path, small_params
):
    write_study(tmp_path, small_params)
    program = (
        "import gc, uvicorn\n"
        "uvicorn.Server.run = lambda *_, **__: print(gc.get_freeze_count(), len(gc.get_objects()))\n"
        "from pipeline.cli import main\n"
        "main(['serve', '--port', '0'])\n"
    )

    words = [sys.executable, "-c", program]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    frozen, looked_through = map(int, said.split())
    assert frozen > 100 * looked_through


def test_two_servers_cannot_write_one_log(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params)
    held = lock_folder(log_of(paths))

    with pytest.raises(LogError, match="another server writes its log into"):
        serve(study, paths, port=0)

    os.close(held)


def test_an_address_in_use_and_a_short_key_are_refused(tmp_path, small_params, monkeypatch, shop):
    study, paths = write_study(tmp_path, small_params)
    port = int(shop[0].url.rsplit(":", 1)[1])

    with pytest.raises(StudyError, match=f"cannot listen on 127.0.0.1 port {port}: Address"):
        serve(study, paths, port=port)
    monkeypatch.setenv("PARETOSCOPE_SERVING_KEY", "short")
    with pytest.raises(StudyError, match="shorter than 16 characters"):
        serve(study, paths, port=0)


def test_an_unfinished_study_is_refused_with_the_command_that_finishes_it(
    tmp_path, small_params, monkeypatch, capsys
):
    write_params(tmp_path, small_params)
    monkeypatch.chdir(tmp_path)

    status = main(["serve", "--port", "0"])

    assert status == 1
    said = capsys.readouterr().err
    assert "paretoscope serve: " in said
    assert "Create it with: dagster asset materialize --select conditioned_model" in said


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none_is_a_wrong_call(capsys, port):
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", port])

    assert ended.value.code == 2
    assert "--port" in capsys.readouterr().err
