"""Several servers of one log: their folders, and what one that is gone has left open."""

import logging
import os
import threading

import pytest

from pipeline.core.errors import LogError, StudyError
from pipeline.serving.event_log.recovery import recover_files
from pipeline.serving.event_log.replicas import (
    close_abandoned,
    one_start_at_a_time,
    replica_folder,
)
from pipeline.serving.event_log.rotating_files import lock_folder

NAME = "orders-20260101T000000-000000.jsonl"


def left_open(folder, content=b'{"n": 1}\n{"tor'):
    """A folder as a killed server leaves it."""
    os.close(lock_folder(folder))
    (folder / f"{NAME}.open").write_bytes(content)


@pytest.mark.parametrize("name", ["a", "eu-west/1", "paretoscope-0", "10.0.0.7"])
def test_a_replica_has_the_folder_of_its_name(tmp_path, name):
    assert replica_folder(tmp_path, name) == tmp_path / name
    assert replica_folder(tmp_path, None) == tmp_path


@pytest.mark.parametrize(
    "name",
    ["", "..", "../a", "a/..", "/a", "a/", "a//b", ".a", "a b", "a\n", "s3://b", "a\\b", "é", "confirmations"],
)  # fmt: skip
def test_a_name_that_could_leave_the_log_is_refused(tmp_path, name):
    with pytest.raises(StudyError, match=r"is not a valid name of a replica.*--replica eu-west/1"):
        replica_folder(tmp_path, name)


def test_files_that_a_server_has_left_open_are_closed_by_the_next_start_of_any(tmp_path, caplog):
    left_open(tmp_path / "gone")
    left_open(tmp_path / "zone/gone", b'{"n": 2}\n')
    left_open(tmp_path / "running")
    running = lock_folder(tmp_path / "running")

    with caplog.at_level(logging.WARNING):
        removed = close_abandoned(tmp_path)

    assert removed == {f"gone/{NAME}.open": 1}
    assert (tmp_path / "gone" / NAME).read_bytes() == b'{"n": 1}\n'
    assert (tmp_path / "zone/gone" / NAME).read_bytes() == b'{"n": 2}\n'
    assert [path.name for path in tmp_path.rglob("*.open")] == [f"{NAME}.open"]
    assert close_abandoned(tmp_path) == {}
    os.close(running)
    assert recover_files(tmp_path / "running") == {f"{NAME}.open": 1}


def test_a_folder_that_cannot_be_recovered_is_named_and_hinders_no_other(tmp_path, caplog):
    left_open(tmp_path / "bad")
    (tmp_path / "bad" / NAME).mkdir()  # in the way of the closed file
    left_open(tmp_path / "gone")

    removed = close_abandoned(tmp_path)

    assert removed == {f"gone/{NAME}.open": 1}
    assert "cannot recover the files of replica bad: " in caplog.text


def test_a_server_waits_while_another_one_starts(tmp_path):
    """Otherwise the first could find its folder locked by the recovery of the second."""
    entered = threading.Event()

    def start():
        with one_start_at_a_time(tmp_path):
            entered.set()

    other = threading.Thread(target=start)
    with one_start_at_a_time(tmp_path):
        other.start()
        assert not entered.wait(0.2)
    other.join(timeout=30)

    assert entered.is_set()


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "log").write_text("a file")

    with (
        pytest.raises(LogError, match=r"cannot write to .*log.*serving\.log_path"),
        one_start_at_a_time(tmp_path / "log"),
    ):
        pass
