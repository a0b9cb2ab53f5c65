"""An S3 server of a test, on a free port of 127.0.0.1, and what is in it."""

import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import obstore
import pytest
from obstore.store import S3Store

BUCKET = "shop"


class Storage:
    """The bucket of a running server."""

    def __init__(self, url: str) -> None:
        self.variables = {
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "a secret of the test",
        }
        self.store = S3Store(
            BUCKET,
            endpoint=url,
            region="us-east-1",
            access_key_id="test",
            secret_access_key="a secret of the test",
            client_options={"allow_http": True},
        )

    def put(self, key: str, content: bytes) -> None:
        obstore.put(self.store, key, content)

    def get(self, key: str) -> bytes:
        return bytes(obstore.get(self.store, key).bytes())

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(one["path"] for part in obstore.list(self.store, prefix) for one in part)

    def delete(self, *keys: str) -> None:
        obstore.delete(self.store, list(keys))


def _discard(stream: IO[str]) -> None:
    """Read what a server writes, so that its pipe never is full."""
    for _ in stream:
        pass


@contextmanager
def s3_server() -> Iterator[Storage]:
    """A server with one empty bucket; its process ends with the block."""
    pytest.importorskip("moto", reason="pip install 'paretoscope[dev]'")
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    server = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ})
    assert server.stderr is not None
    reader = threading.Thread(target=_discard, args=(server.stderr,))
    try:
        lines: list[str] = []
        found = None
        while found is None and (line := server.stderr.readline()):
            lines.append(line)
            found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", line)
        assert found is not None, "".join(lines)
        reader.start()
        storage = Storage(found[1])
        make = urllib.request.Request(f"{found[1]}/{BUCKET}", method="PUT")
        urllib.request.urlopen(make).close()
        yield storage
    finally:
        server.kill()
        server.wait()
        if reader.is_alive():
            reader.join()
        server.stderr.close()
