"""Files of the event log: names, rotation, recovery and concurrent readers."""

import errno
import json
import os
import shutil
import socket

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import LogError
from pipeline.experiment.log.log_files import LogTable
from pipeline.experiment.log.reading.log_folder import log_files
from pipeline.serving.event_log.recovery import named, read_rows, recover_files
from pipeline.serving.event_log.rotating_files import CLOSED, OPEN, LogFile, lock_folder
from pipeline.study import Durability, ServingConfig

N = {"n": int}
FIRST = "clicks-20260101T000000-000000"
NEVER = ServingConfig(rotate_megabytes=1000.0, durability=Durability.OS)
ALWAYS = ServingConfig(rotate_megabytes=1e-6, durability=Durability.OS)


@pytest.fixture
def folder(tmp_path):
    os.close(lock_folder(tmp_path / "log"))
    return tmp_path / "log"


def line(n):
    return json.dumps({"n": n}).encode() + b"\n"


def names(folder):
    return sorted(path.name for path in folder.glob("*-*"))


def test_a_file_is_renamed_when_it_is_closed(folder):
    file = LogFile(folder, LogTable.CLICKS, NEVER)
    file.append(line(1) + line(2))

    (while_open,) = names(folder)
    closed = list(folder.glob("*.jsonl"))
    file.close()

    assert while_open.startswith("clicks-")
    assert while_open.endswith(".jsonl.open")
    assert closed == []
    assert names(folder) == [while_open.removesuffix(".open")]
    assert [row["n"] for row in read_rows(folder, LogTable.CLICKS, N)] == [1, 2]
    assert [file.source for file in log_files(folder).files] == names(folder)


def test_files_sort_in_the_order_they_were_written(folder):
    file = LogFile(folder, LogTable.ORDERS, ALWAYS)

    for n in range(50):
        file.append(line(n))
        file.rotate_if_due()

    assert len(names(folder)) == 50
    assert [row["n"] for row in read_rows(folder, LogTable.ORDERS, N)] == list(range(50))


def test_a_clock_that_goes_back_does_not_reorder_files(folder):
    ahead = folder / "clicks-20990101T000000-000000.jsonl"
    ahead.write_bytes(line(0))
    file = LogFile(folder, LogTable.CLICKS, ALWAYS)

    for n in (1, 2):
        file.append(line(n))
        file.rotate_if_due()

    assert [row["n"] for row in read_rows(folder, LogTable.CLICKS, N)] == [0, 1, 2]


def test_names_keep_their_length_while_the_clock_stands_still(folder):
    """Also after the last moment of the calendar, and beside a name that is not a date."""
    for name in ("clicks-99991231T235959-999999", "clicks-20269999T000000-000000", "clicks-zz"):
        (folder / f"{name}{CLOSED}").write_bytes(line(0))
    before = set(names(folder))
    file = LogFile(folder, LogTable.CLICKS, ALWAYS)

    for n in range(100):
        file.append(line(n))
        file.rotate_if_due()

    written = set(names(folder)) - before
    assert len(written) == 100
    assert {len(name) for name in written} == {len(f"{FIRST}{CLOSED}")}


def test_damaged_and_foreign_files_are_left_alone_counted_and_named(folder):
    foreign = folder / "clicks-notes.jsonl.open"
    foreign.write_bytes(b"my notes\n")
    (folder / f"{FIRST}{CLOSED}").write_bytes(line(1) + b"\x00\xff\n[1]\n" + line("2") + b'{"n": 3')
    (folder / "clicks-folder.jsonl").mkdir()
    (folder / "clicks-gone.jsonl").symlink_to(folder / "nowhere")
    (folder / "clicks-export.jsonl").write_bytes(b"time;user\n1;2\n")
    (folder / "shown-pipe.jsonl.open").symlink_to("/etc/passwd")
    skipped = {}

    removed = recover_files(folder)
    rows = list(read_rows(folder, LogTable.CLICKS, N, skipped=skipped))

    assert removed == {}
    assert foreign.read_bytes() == b"my notes\n"
    assert rows == [{"n": 1}]
    assert skipped == {
        f"{FIRST}{CLOSED}": 4,
        "clicks-export.jsonl": 2,
        "clicks-folder.jsonl": 0,
        "clicks-gone.jsonl": 0,
    }
    assert named(skipped) == (
        f"'{FIRST}{CLOSED}' (4 lines), 'clicks-export.jsonl' (2 lines), "
        "'clicks-folder.jsonl' (cannot be opened), 'clicks-gone.jsonl' (cannot be opened)"
    )


def test_rows_after_the_open_file_was_deleted_are_written_to_a_new_one(folder):
    """A cleaning job deletes the folder; the folder and a file are created again."""
    file = LogFile(folder, LogTable.CLICKS, NEVER)
    file.append(line(1))
    shutil.rmtree(folder)

    file.append(line(2))
    file.close()

    assert list(read_rows(folder, LogTable.CLICKS, N)) == [{"n": 2}]


def test_a_file_is_closed_at_its_maximum_age(folder, monkeypatch):
    file = LogFile(folder, LogTable.CLICKS, NEVER)
    file.append(line(1))
    file.rotate_if_due()
    still_open = names(folder)

    monkeypatch.setattr("time.monotonic", lambda: 1e9)
    file.rotate_if_due()

    assert still_open[0].endswith(".open")
    assert not names(folder)[0].endswith(".open")


@given(st.integers(0, 3), st.binary(min_size=1, max_size=30).filter(lambda b: b"\n" not in b))
def test_an_incomplete_last_line_is_removed_and_counted(tmp_path_factory, complete, torn):
    folder = tmp_path_factory.mktemp("log")
    os.close(lock_folder(folder))
    left = folder / f"{FIRST}{OPEN}"
    left.write_bytes(b"".join(map(line, range(complete))) + torn)

    removed = recover_files(folder)

    assert removed == {left.name: 1}
    assert [row["n"] for row in read_rows(folder, LogTable.CLICKS, N)] == list(range(complete))
    assert names(folder) == ([f"{FIRST}{CLOSED}"] if complete else [])
    assert recover_files(folder) == {}


def test_recovery_can_be_interrupted_at_any_step(folder):
    left = folder / f"{FIRST}{OPEN}"
    (folder / f"{FIRST}.jsonl.recovered").write_bytes(line(1)[:4])
    left.write_bytes(line(1) + b"\x00\x00\x00\n" + line(2) + b'{"n"')
    shown = folder / "confirmations" / f"shown-20260101T000000-000000{OPEN}"
    shown.write_bytes(b"")

    removed = recover_files(folder)

    assert removed == {left.name: 2}  # zeros after a power loss, and the incomplete line
    assert names(folder) == [f"{FIRST}{CLOSED}"]
    assert [row["n"] for row in read_rows(folder, LogTable.CLICKS, N)] == [1, 2]
    assert not shown.exists()


def test_a_partial_write_is_truncated(folder, monkeypatch):
    file = LogFile(folder, LogTable.CLICKS, NEVER)
    file.append(line(1))
    real = os.write

    def full(descriptor, data):
        if len(data) > 4:
            return real(descriptor, data[:4])
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="no space left"):
        file.append(line(2))
    monkeypatch.setattr(os, "write", real)
    file.append(line(3))
    file.close()

    assert [row["n"] for row in read_rows(folder, LogTable.CLICKS, N)] == [1, 3]


def test_a_failed_fsync_removes_its_rows_and_closes_the_file(folder, monkeypatch):
    file = LogFile(folder, LogTable.CLICKS, ServingConfig(durability=Durability.FSYNC))
    file.append(line(1))
    real = os.fsync
    failing = iter([OSError(errno.EIO, "input/output error")])

    def fail_once(descriptor):
        for error in failing:
            raise error
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(OSError, match="input/output"):
        file.append(line(2))
    file.append(line(3))
    file.close()

    assert [row["n"] for row in read_rows(folder, LogTable.CLICKS, N)] == [1, 3]
    assert len(names(folder)) == 2


@pytest.mark.parametrize(
    ("durability", "synced"), [(Durability.FSYNC, True), (Durability.OS, False)]
)
def test_only_fsync_durability_waits_for_the_disk(folder, monkeypatch, durability, synced):
    file = LogFile(folder, LogTable.CLICKS, ServingConfig(durability=durability))
    file.append(line(1))
    calls = []
    monkeypatch.setattr(os, "fsync", calls.append)

    file.append(line(2))

    assert bool(calls) == synced
    file.close()


def test_one_server_per_folder(folder):
    first = lock_folder(folder)
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    with pytest.raises(LogError, match=rf"another server writes its log to .*\({holder}\)"):
        lock_folder(folder)
    os.close(first)

    os.close(lock_folder(folder))


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "log").write_text("a file")

    with pytest.raises(LogError, match=r"cannot write to .*log.*serving\.log_path"):
        lock_folder(tmp_path / "log")


def test_duckdb_reads_open_files(folder):
    file = LogFile(
        folder, LogTable.CLICKS, ServingConfig(rotate_megabytes=200e-6, durability=Durability.OS)
    )
    query = "SELECT count(*), max(n) FROM read_json(?, format = 'newline_delimited')"

    for n in range(1, 41):
        file.append(line(n))
        file.rotate_if_due()
        found = duckdb.execute(query, [str(folder / "clicks-*")]).fetchone()
        assert found == (n, n)

    assert any(name.endswith(".open") for name in names(folder))
    file.close()
