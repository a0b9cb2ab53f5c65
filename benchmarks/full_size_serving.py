"""The server of a study of OTTO's size: its start, its memory, and the latency of its lists."""

import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from process_tree import TreeMeter, Usage

WARM_UP = 20
REQUESTS = 200
CLIENTS = (1, 4, 16)
DEADLINE_MS = 200
"""The default of ``serving.deadline_ms``."""
_SECONDS_TO_START = 600
_ADDRESS = re.compile(r"http://([\d.]+):(\d+)")


def measure_serving(project: Path, items: list[str], log: Path) -> tuple[Usage, dict[str, Any]]:
    """Serve the study, ask for lists of 20, and stop the server.

    Args:
        project: The study folder.
        items: Ids of the catalogue's items, the most clicked ones first.
        log: File of the server's messages.
    """
    command = [sys.executable, "-m", "pipeline.cli", "serve", "--port", "0"]
    started, begin = time.perf_counter(), log.stat().st_size
    with log.open("a", encoding="utf-8") as stream:
        process = subprocess.Popen(command, cwd=project, stderr=stream, stdout=stream)  # noqa: S603
    try:
        with TreeMeter(process.pid) as meter:
            host, port = _address(process, log, begin)
            ready = time.perf_counter() - started
            rng = np.random.default_rng(0)
            _ask(host, port, [_request(items, rng) for _ in range(WARM_UP)])
            found = [_latencies(host, port, clients, items, rng) for clients in CLIENTS]
            usage = Usage(
                status=0, seconds=time.perf_counter() - started, cpu_seconds=meter.cpu_seconds,
                peak_gib=meter.peak_gib, peak_private_gib=meter.peak_private_gib, output="",
            )  # fmt: skip
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    return usage, {"ready_seconds": ready, "latencies": found}


def _address(process: "subprocess.Popen[bytes]", log: Path, begin: int) -> tuple[str, int]:
    """Where the server listens, once it says so."""
    for _ in range(10 * _SECONDS_TO_START):
        with log.open("rb") as stream:
            stream.seek(begin)
            if found := _ADDRESS.search(stream.read().decode("utf-8", "replace")):
                return found[1], int(found[2])
        if process.poll() is not None:
            break
        time.sleep(0.1)
    msg = f"the server did not start; see {log}"
    raise RuntimeError(msg)


def _latencies(
    host: str, port: int, clients: int, items: list[str], rng: np.random.Generator
) -> dict[str, Any]:
    """Percentiles over the requests of some clients, each of which waits for its last list."""
    shares = [[_request(items, rng) for _ in range(REQUESTS // clients)] for _ in range(clients)]
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = [one for part in pool.map(lambda s: _ask(host, port, s), shares) for one in part]
    seconds = time.perf_counter() - started
    times = [one for one, _ in answers]
    percentiles = statistics.quantiles(times, n=100, method="inclusive")
    return {
        "clients": clients,
        "per_second": len(times) / seconds,
        **{f"p{n}": 1000 * percentiles[n - 1] for n in (50, 90, 99)},
        "late": sum(1000 * one > DEADLINE_MS for one in times),
        "fallbacks": sum(fallback for _, fallback in answers),
        "requests": len(times),
    }


def _ask(host: str, port: int, bodies: list[bytes]) -> list[tuple[float, bool]]:
    """Seconds of each request, and whether its list was a fallback."""
    connection = http.client.HTTPConnection(host, port, timeout=60)
    headers = {"content-type": "application/json"}
    if key := os.environ.get("PARETOSCOPE_SERVING_KEY"):
        headers["authorization"] = f"Bearer {key}"
    found: list[tuple[float, bool]] = []
    for body in bodies:
        started = time.perf_counter()
        connection.request("POST", "/recommend", body=body, headers=headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != http.client.OK or len(answer["items"]) != 20:
            msg = f"status {response.status}: {answer}"
            raise RuntimeError(msg)
        found.append((time.perf_counter() - started, answer["fallback"] is not None))
    connection.close()
    return found


def _request(items: list[str], rng: np.random.Generator) -> bytes:
    """A user with a session of 1 to 30 clicks; popular items are more frequent."""
    clicks = (len(items) * rng.beta(0.5, 2.0, size=rng.integers(1, 31))).astype(int)
    session = [items[one] for one in clicks.tolist()]
    return json.dumps({"user": f"u{rng.integers(10**9)}", "session": session, "k": 20}).encode()
