"""A PostgreSQL server of a test: Debian's, on a free port of 127.0.0.1, with a folder of its own."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_HOW = "install Debian's postgresql: apt-get install postgresql"
_USER = "dagster"


def _programs() -> Path | None:
    """The folder of the newest server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def postgres() -> Iterator[dict[str, str]]:
    """A running server; yields the variables of deploy/dagster.yaml. Skips the test where there is none."""
    programs = _programs()
    if programs is None:
        pytest.skip(f"no PostgreSQL here; {_HOW}")
    as_user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="paretoscope-postgres-"))
    try:
        password = folder / "password"
        password.write_text(secrets.token_hex(16), encoding="utf-8")
        if as_user:
            shutil.chown(folder, **as_user)
            shutil.chown(password, **as_user)
        data = folder / "data"
        words = ["--pgdata", str(data), "--username", _USER, "--pwfile", str(password)]
        subprocess.run(
            [programs / "initdb", *words, "--auth", "scram-sha-256", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
            **as_user,
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", port]
            + [word for name, value in options.items() for word in ("-c", f"{name}={value}")],
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            **as_user,
        )
        try:
            assert server.stderr is not None
            lines: list[str] = []
            for line in server.stderr:
                lines.append(line)
                if "ready to accept connections" in line:
                    break
            else:
                raise AssertionError("".join(lines))
            yield {
                "DAGSTER_PG_HOST": "127.0.0.1",
                "DAGSTER_PG_PORT": port,
                "DAGSTER_PG_USER": _USER,
                "DAGSTER_PG_PASSWORD": password.read_text(encoding="utf-8"),
                "DAGSTER_PG_DB": "postgres",
            }
        finally:
            server.send_signal(signal.SIGINT)  # ends connections, too
            assert server.stderr is not None
            server.stderr.read()
            server.stderr.close()
            server.wait()
    finally:
        shutil.rmtree(folder)
