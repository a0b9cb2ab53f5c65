"""Full and read-only disks, hostile ids, memory, and the end of the process; real processes."""

import asyncio
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.cli import main
from tests.pipeline.serving.shop import (
    log_of,
    name_of,
    post,
    rows_of,
    serving,
    with_client,
    write_study,
)

REQUEST = {"user": "ada", "session": [name_of(1), name_of(2)]}
HOSTILE = [
    "<script>alert(1)</script>",
    "=HYPERLINK('http://evil.example')",
    "'; DROP TABLE impressions; --",
    "../../etc/passwd",
    "%00%0d%0aSet-Cookie: a=b",
    "\u202egnp.exe",
]


def own_disk(log, options):
    """A command that runs another one with a disk of its own at ``log``."""
    mount = f'mount -t tmpfs -o {options} tmpfs {log} && exec "$@"'
    return ("unshare", "-rm", "sh", "-c", mount, "sh")


@pytest.fixture
def disk(tmp_path, small_params):
    """A study whose log folder can be a disk of its own."""
    _, paths = write_study(tmp_path, small_params)
    log = log_of(paths)
    log.mkdir(parents=True)
    if subprocess.run([*own_disk(log, "size=1m"), "true"], check=False).returncode:
        pytest.skip("disks cannot be mounted here")
    return log


def fill(file):
    with suppress(OSError), file.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


@pytest.mark.slow
def test_a_full_disk_is_refused_with_its_reason_until_there_is_space(disk, tmp_path):
    """/health recovers without a request, so that a proxy sends requests again."""

    async def scenario(session, inside):
        served = [(await post(session, "/recommend", REQUEST))[1]["impression"]]
        fill(inside / "filler")
        status, answer = 200, {}
        while status == 200:  # what is left of the file's last block
            status, answer = await post(session, "/recommend", REQUEST)
            served += [answer["impression"]] if status == 200 else []
        async with session.get("/health") as health:
            failing = health.status, await health.json()
        (inside / "filler").unlink()
        while True:
            async with session.get("/health") as health:
                if health.status == 200:
                    break
            await asyncio.sleep(0.05)
        served.append((await post(session, "/recommend", REQUEST))[1]["impression"])
        return served, (status, answer["detail"]), failing

    with serving(tmp_path, before=own_disk(disk, "size=1m")) as server:
        inside = Path(f"/proc/{server.process.pid}/root") / disk.relative_to("/")
        served, refused, failing = with_client(server.url, lambda s: scenario(s, inside))
        logged = [row["impression"] for row in rows_of(inside, "impressions")]
        status, stderr = server.end(signal.SIGTERM)

    reason = "the event log cannot be written"
    assert refused == (
        503,
        f"{reason} (No space left on device); nothing is acknowledged, retry later",
    )
    assert failing == (
        503,
        {"status": "failing", "problems": [f"{reason}: No space left on device"]},
    )
    assert logged == served
    assert status == 0
    assert "Traceback" not in stderr
    assert "OSError: [Errno 28] No space left on device" in stderr
    assert "the event log can be written again" in stderr


@pytest.mark.slow
def test_a_read_only_folder_is_one_line(disk, tmp_path):
    command = [*own_disk(disk, "ro"), sys.executable, "-m", "pipeline.cli", "serve", "--port", "0"]

    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr == (
        f"paretoscope serve: cannot write to {disk}: Read-only file system; set serving.log_path to "
        "a writable folder\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_in_one_line_beside_open_requests(tmp_path, small_params, number):
    """The line of the signal is the last: no tracebacks, no leak reports of libraries."""
    write_study(tmp_path, small_params)

    async def scenario(server):
        writers = []
        host, port = server.url.removeprefix("http://").split(":")
        for begun in (b"", b"GET /he", b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"):
            writers.append((await asyncio.open_connection(host, int(port)))[1])
            writers[-1].write(begun)
            await writers[-1].drain()
        ended = await asyncio.to_thread(server.end, number)
        for writer in writers:
            writer.transport.abort()
        return ended

    with serving(tmp_path, first="import duckdb; duckdb.connect()") as server:
        ended = asyncio.run(scenario(server))

    assert ended == (0, f"stopped by {number.name}; the event log is closed\n")


@pytest.mark.slow
def test_a_second_server_names_the_first(tmp_path, small_params, monkeypatch, capsys):
    write_study(tmp_path, small_params)
    monkeypatch.chdir(tmp_path)

    with serving(tmp_path) as server:
        status = main(["serve", "--port", "0"])

    assert status == 1
    assert f"(process {server.process.pid} on " in capsys.readouterr().err


@pytest.mark.slow
def test_hostile_ids_are_logged_as_they_are_and_nowhere_else(tmp_path, small_params):
    _, paths = write_study(tmp_path, small_params)
    log = log_of(paths)

    async def scenario(session):
        for text in HOSTILE:
            body = {"user": text, "session": [text, name_of(1)], "exclude": [text]}
            event = {"event_type": "click", "event": text, "impression": text, "item": text}
            front = {"preference": [0.5, 0.5], "session": [text, name_of(1)]}
            assert (await post(session, "/recommend", body))[1]["unknown_items"] == 2
            _, recorded = await post(session, "/events", {"events": [event]})
            assert recorded == {"accepted": 1, "duplicates": 0, "unknown_impressions": 1}
            status, view = await post(session, "/explore/lists", front)
            assert (status, view["unknown"]) == (200, [text])
            status, _ = await post(session, "/explore/lists", front | {"group": text})
            assert status == 404

    before = set(tmp_path.rglob("*"))
    with serving(tmp_path) as server:
        with_client(server.url, scenario)
        _, stderr = server.end(signal.SIGTERM)

    assert [row["user"] for row in rows_of(log, "impressions")] == HOSTILE
    assert [row["event"] for row in rows_of(log, "clicks")] == HOSTILE
    assert {path.parent for path in set(tmp_path.rglob("*")) - before} <= {
        log.parent,
        log,
    }
    assert stderr == "stopped by SIGTERM; the event log is closed\n"


@pytest.mark.slow
def test_the_memory_of_50000_requests_grows_by_less_than_5_percent(tmp_path, small_params):
    write_study(tmp_path, small_params)

    async def scenario(session, times):
        async def client():
            for _ in range(times // 24):
                status, answer = await post(session, "/recommend", REQUEST)
                assert status == 200
                event = {"event_type": "click", "event": "1", "impression": answer["impression"]}
                assert (await post(session, "/events", {"events": [event]}))[0] == 200

        await asyncio.gather(*(client() for _ in range(12)))

    with serving(tmp_path) as server:
        process = psutil.Process(server.process.pid)
        with_client(server.url, lambda session: scenario(session, 5_000))
        before = process.memory_info().rss
        with_client(server.url, lambda session: scenario(session, 50_000))
        after = process.memory_info().rss

    assert after < 1.05 * before
