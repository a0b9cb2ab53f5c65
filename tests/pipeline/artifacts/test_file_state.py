"""What is kept of a file until it changes."""

import os

import pytest

from pipeline.artifacts import file_state
from pipeline.artifacts.file_state import kept_while_unchanged
from pipeline.artifacts.storage import md5

EMPTY = "d41d8cd98f00b204e9800998ecf8427e"
HELLO = "5d41402abc4b2a76b9719d911017c592"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("hello", encoding="utf-8")
    return path


def test_a_large_file_is_read_once_until_it_changes(file, monkeypatch):
    monkeypatch.setattr(file_state, "_LARGE", 5)
    reads = []

    def read(path):
        reads.append(path.read_text(encoding="utf-8"))
        return reads[-1]

    assert [kept_while_unchanged(file, read) for _ in range(3)] == ["hello"] * 3
    file.write_text("world", encoding="utf-8")  # as long as before
    os.utime(file, ns=(0, 1))
    assert kept_while_unchanged(file, read) == "world"
    (file.parent / "new").write_text("again", encoding="utf-8")
    os.utime(file.parent / "new", ns=(0, 1))
    (file.parent / "new").replace(file)
    assert kept_while_unchanged(file, read) == "again"
    assert reads == ["hello", "world", "again"]


def test_a_small_file_is_read_every_time(file):
    state = file.stat()

    assert md5(file) == HELLO
    file.write_text("", encoding="utf-8")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert md5(file) == EMPTY


def test_a_file_that_is_not_there_is_the_readers_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        md5(tmp_path / "none")
