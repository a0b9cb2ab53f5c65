"""Clients that are slow, send too much or name another host; real sockets and a real process."""

import asyncio
import json
import resource
import socket
import statistics
import time

import aiohttp
import psutil
import pytest

from pipeline.serving.http.connections import MAX_CONNECTIONS, MAX_HEADER_BYTES, connection_limit
from tests.pipeline.serving.shop import name_of, serving, write_study

REQUEST = {"user": "ada", "session": [name_of(1), name_of(2)]}
FAST = (
    "from pipeline.serving.http import connections\n"
    "connections.RECEIVE_SECONDS = 0.5\n"
    "connections.RESPONSE_SECONDS = 0.5\n"
)
"""Shorter time limits, so that the tests are short."""

HEAD = b"POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory, small_params):
    root = tmp_path_factory.mktemp("shop")
    write_study(root, small_params)
    with serving(root, first=FAST) as server:
        yield server


def connect(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def answer_to(server, *pieces):
    """All bytes that the server sends until it closes the connection."""
    with connect(server) as client:
        for piece in pieces:
            client.sendall(piece)
        answer = b""
        while received := client.recv(65536):
            answer += received
        return answer


def is_healthy(server):
    body = json.dumps(REQUEST).encode()
    head = HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    return answer_to(server, head, body).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n", id="an empty line"),
        pytest.param(b"POST /rec", id="a part of the request line"),
        pytest.param(HEAD + b"x-", id="a part of the header"),
        pytest.param(HEAD + b"content-length: 100\r\n\r\n", id="no body"),
        pytest.param(HEAD + b"content-length: 100\r\n\r\n{", id="a part of the body"),
        pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n{", id="a part of a chunk"),
    ],
)
def test_a_request_that_does_not_end_is_closed(server, begun):
    started = time.monotonic()

    answer = answer_to(server, begun)

    assert 0.4 < time.monotonic() - started < 10
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 Request Timeout")
    assert bool(answer) == (len(begun) > 2)
    assert is_healthy(server)


def send_until_closed(client, piece, *, pause=0.0, times=100_000):
    for _ in range(times):
        client.sendall(piece)
        time.sleep(pause)


@pytest.mark.parametrize("drip", [b"\r\n", b"P"])
def test_a_client_that_sends_a_byte_at_a_time_is_closed(server, drip):
    """Each byte is within the keep-alive time; also after an answered request."""
    body = json.dumps(REQUEST).encode()
    for before in (b"", HEAD + b"content-length: %d\r\n\r\n" % len(body) + body):
        with connect(server) as client:
            client.sendall(before)
            started = time.monotonic()
            with pytest.raises(ConnectionError):
                send_until_closed(client, drip, pause=0.05, times=200)
            assert time.monotonic() - started < 5
    assert is_healthy(server)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([HEAD + b"x-a: " + b"a" * MAX_HEADER_BYTES + b"\r\n\r\n"], id="one field"),
        pytest.param([HEAD + b"x-a: aaaaaaaa\r\n" * 2000 + b"\r\n"], id="many fields"),
        pytest.param([b"GET /" + b"a" * MAX_HEADER_BYTES + b" HTTP/1.1\r\n\r\n"], id="the path"),
        pytest.param([HEAD + b"x-a: ", b"a" * 2 * MAX_HEADER_BYTES], id="a field without an end"),
        pytest.param([b"A" * 2 * MAX_HEADER_BYTES], id="a method without an end"),
    ],
)
def test_a_large_header_is_rejected(server, pieces):
    answer = answer_to(server, *pieces)

    assert answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert is_healthy(server)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost", 200),
        (b"LOCALHOST.:8350", 200),
        (b"127.0.0.1:80", 200),
        (b"[::1]:8350", 200),
        (b"[::1]", 200),
        (b"10.1.2.3", 200),
        (socket.gethostname().encode(), 200),
        (b"", 200),
        (b"evil.example", 403),
        (b"evil.example:8350", 403),
        (b"127.0.0.1.evil.example", 403),
        (b"localhost.evil.example", 403),
        (b"localhost@evil.example", 403),
        (b"<b>", 403),
    ],
)
def test_without_a_key_another_host_is_rejected(server, host, status):
    """DNS rebinding: a page's own name points to 127.0.0.1."""
    request = b"GET /experiment HTTP/1.1\r\nhost: " + host + b"\r\nconnection: close\r\n\r\n"

    answer = answer_to(server, request)

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"evil" not in answer
    assert b"<b>" not in answer


def test_a_form_of_another_page_cannot_record_events(server):
    """Browsers send these content types to other sites without asking them."""
    event = {"event_type": "click", "event": "1", "impression": "x"}
    body = json.dumps({"events": [event]}).encode()
    for media_type in (b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data"):
        head = b"POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-type: %b\r\n" % media_type
        answer = answer_to(
            server, head + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body), body
        )
        assert answer.startswith(b"HTTP/1.1 422 ")


async def latencies(url, seconds_of_load):
    """Seconds of each request of a healthy client until ``seconds_of_load`` is done."""
    times = []
    async with aiohttp.ClientSession(url) as session:
        while not seconds_of_load.done() or len(times) < 20:
            started = time.perf_counter()
            async with session.post("/recommend", json=REQUEST) as answer:
                assert answer.status == 200
                await answer.read()
            times.append(time.perf_counter() - started)
    return times


@pytest.mark.slow
def test_healthy_clients_are_answered_beside_1200_half_open_connections(tmp_path, small_params):
    write_study(tmp_path, small_params)

    async def scenario(url):
        host, port = url.removeprefix("http://").split(":")
        opened = [await asyncio.open_connection(host, int(port)) for _ in range(1200)]
        for _, writer in opened:
            writer.write(HEAD)
        times = await latencies(url, asyncio.create_task(asyncio.sleep(0)))
        for _, writer in opened:
            writer.transport.abort()
        return times

    with serving(tmp_path) as server:
        times = asyncio.run(scenario(server.url))

    assert len(times) == 20


@pytest.mark.slow
def test_new_connections_take_the_place_of_the_oldest_idle_ones(tmp_path, small_params):
    """A process that may open few files: 1,200 idle connections do not lock others out."""
    write_study(tmp_path, small_params)
    few = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"

    with serving(tmp_path, first=few) as server:
        opened = []
        for _ in range(1200):
            opened.append(connect(server))
            opened[-1].sendall(b"GET /")
        assert is_healthy(server)
        n_open = len(psutil.Process(server.process.pid).net_connections())
        for client in opened:
            client.close()

    assert n_open <= 256


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((256, 1024), 896),
        ((1024, resource.RLIM_INFINITY), MAX_CONNECTIONS),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), MAX_CONNECTIONS),
        ((64, 64), 1),
    ],
)
def test_the_number_of_connections_follows_the_limit_of_open_files(monkeypatch, limits, expected):
    raised = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: raised.append(new))

    assert connection_limit() == expected
    assert all(soft >= limits[0] and hard == limits[1] for soft, hard in raised)


def compact(body):
    return json.dumps(body, separators=(",", ":")).encode()


MANY_FAULTS = {
    "unknown fields": ("/recommend", REQUEST | {f"{n}": 1 for n in range(24_000)}),
    "items": ("/recommend", REQUEST | {"session": [1] * 24_000}),
    "items within the length": ("/recommend", REQUEST | {"session": [1] * 500}),
    "events": ("/events", {"events": [{f"k{n}": 1 for n in range(240)}] * 100}),
    "event types": ("/events", {"events": [{"event_type": "<b>sent</b>"}] * 100}),
    "a preference": ("/explore/preference", {"preference": ["sent"] * 24_000}),
    "a name": ("/recommend", REQUEST | {"<b>sent</b>" * 1000: 1}),
}


@pytest.mark.parametrize("kind", MANY_FAULTS)
def test_the_faults_of_a_request_are_few_and_repeat_nothing_of_it(server, kind):
    route, body = MANY_FAULTS[kind]
    content = compact(body)
    head = HEAD.replace(b"/recommend", route.encode())
    head += b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(content)

    answer = answer_to(server, head, content)

    assert answer.startswith(b"HTTP/1.1 422 ")
    assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]) <= 5
    assert len(answer) < 2000
    assert b"sent" not in answer


@pytest.mark.slow
def test_others_are_fast_beside_requests_with_24000_faults(tmp_path, small_params):
    write_study(tmp_path, small_params)
    body = compact(MANY_FAULTS["unknown fields"][1])

    async def attack(url):
        headers = {"content-type": "application/json"}
        async with aiohttp.ClientSession(url) as session:
            for _ in range(100):
                async with session.post("/recommend", data=body, headers=headers) as answer:
                    assert answer.status == 422
                    await answer.read()

    async def scenario(url):
        await latencies(url, asyncio.create_task(asyncio.sleep(0)))  # the first ones are slow
        attacking = asyncio.create_task(attack(url))
        times = await latencies(url, attacking)
        await attacking
        return times

    with serving(tmp_path) as server:
        times = asyncio.run(scenario(server.url))

    assert statistics.quantiles(times, n=100)[98] < 0.1
