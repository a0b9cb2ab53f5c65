"""Clients that are slow, send too much or name another host; real sockets and a real process."""

import asyncio
import json
import re
import resource
import signal
import socket
import threading
import time

import aiohttp
import psutil
import pytest

from pipeline.serving.http.connections import MAX_CONNECTIONS, MAX_HEADER_BYTES, connection_limit
from tests.pipeline.serving.shop import log_of, name_of, rows_of, serving, write_study

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
    _, paths = write_study(root, small_params)
    with serving(root, first=FAST) as server:
        server.log = log_of(paths)
        yield server


def connect(server, *, receives=None):
    """A connection; ``receives`` is the size of the kernel's buffer for unread responses."""
    host, port = server.url.removeprefix("http://").split(":")
    client = socket.socket()
    if receives:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    client.settimeout(20)
    client.connect((host, int(port)))
    return client


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


def request_bytes(body):
    content = json.dumps(body).encode()
    return HEAD + b"content-length: %d\r\n\r\n" % len(content) + content


SENT_WITHOUT_READING = {
    "lists": request_bytes(REQUEST | {"k": 40}),
    "short requests": b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n" * 100,
    "a page": b"GET /explore/explorer.js HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "requests without a header": b"GET / HTTP/1.1\r\n\r\n" * 5000,
    "faulty requests": request_bytes({"user": "ada"}) * 20,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SENT_WITHOUT_READING)
def test_a_client_that_sends_on_without_reading_is_closed(server, kind):
    """Its requests wait for their turn, so that they neither fill the memory nor restart the clock."""
    process = psutil.Process(server.process.pid)
    assert is_healthy(server)
    before = process.memory_info().rss
    with connect(server, receives=4096) as client:
        started = time.monotonic()
        with pytest.raises(ConnectionError):
            send_until_closed(client, SENT_WITHOUT_READING[kind])
        assert time.monotonic() - started < 15
    assert process.memory_info().rss - before < 16 * 2**20
    assert is_healthy(server)


@pytest.mark.slow
def test_a_slow_reader_of_many_responses_gets_them_all_in_order(server):
    """Requests in pieces of any length, far more than the buffers hold; nothing is lost or swapped."""
    users = [f"user-{n}" for n in range(200)]
    bodies = [{"user": user, "session": [name_of(1)], "k": 40} for user in users]
    last = request_bytes({"user": "x", "session": []}).replace(
        b"\r\n", b"\r\nconnection: close\r\n", 1
    )
    sent = b"".join([*map(request_bytes, bodies), last])

    with connect(server, receives=4096) as client:
        pieces = [sent[start : start + 1777] for start in range(0, len(sent), 1777)]
        sending = threading.Thread(target=lambda: [client.sendall(piece) for piece in pieces])
        sending.start()
        received = b""
        while piece := client.recv(8192):
            received += piece
        sending.join()

    answers = [json.loads(one) for one in re.findall(rb"\r\n\r\n({.*?})(?=HTTP/|$)", received)]
    groups = {row["impression"]: row["user"] for row in rows_of(server.log, "impressions")}
    assert [groups[answer["impression"]] for answer in answers] == [*users, "x"]


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


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"host: evil.example\r\nhost: localhost\r\n", 403),
        (b"host: localhost\r\nhost: evil.example\r\n", 403),
        (b"host: localhost\r\nhost: 127.0.0.1\r\n", 200),
        (b"x-forwarded-host: localhost\r\nhost: evil.example\r\n", 403),
        (b"", 200),
    ],
)
def test_every_host_header_counts_and_no_other_header_does(server, header, status):
    answer = answer_to(server, b"GET /experiment HTTP/1.0\r\n" + header + b"\r\n")

    assert answer.startswith(b"HTTP/1.1 %d " % status)


BYTES_THAT_ARE_NO_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\na\x00: b\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"*1\r\n$4\r\nPING\r\n",  # Redis
    HEAD + b"content-length: -1\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    b"GET /health HTTP/1.1\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n",
]


@pytest.mark.slow
def test_many_requests_that_are_no_http_leave_few_lines(tmp_path, small_params):
    """Per message one line in ten seconds; no traceback, nothing of what was sent."""
    write_study(tmp_path, small_params)
    with serving(tmp_path) as server:
        for _ in range(20):
            for sent in BYTES_THAT_ARE_NO_HTTP:
                answer = answer_to(server, sent)
                assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))
        assert is_healthy(server)
        _, stderr = server.end(signal.SIGTERM)

    assert "Traceback" not in stderr
    assert 1 < len(stderr.splitlines()) < 20
    assert "SSH" not in stderr


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
    "unknown fields": ("/recommend", REQUEST | {f"{n}": 1 for n in range(7_000)}),
    "items": ("/recommend", REQUEST | {"session": [1] * 24_000}),
    "items within the length": ("/recommend", REQUEST | {"session": [1] * 500}),
    "events": ("/events", {"events": [{f"k{n}": 1 for n in range(80)}] * 100}),
    "event types": ("/events", {"events": [{"event_type": "<b>sent</b>"}] * 100}),
    "a preference": ("/explore/preference", {"preference": ["sent"] * 9_000}),
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
