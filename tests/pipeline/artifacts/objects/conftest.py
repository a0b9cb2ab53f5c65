"""An S3 server for the tests of this folder, and the variables with which Paretoscope reaches it."""

import pytest

from tests.s3_server import Storage, s3_server


@pytest.fixture(scope="session")
def server():
    with s3_server() as storage:
        yield storage


@pytest.fixture
def storage(server, monkeypatch) -> Storage:
    """The bucket, empty."""
    if keys := server.keys():
        server.delete(*keys)
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    return server
