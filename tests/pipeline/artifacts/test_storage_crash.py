"""A crash at any moment leaves the old artifact or the new one, never a part of either."""

import multiprocessing
import signal
import time
from itertools import count, pairwise

import numpy as np
import pytest

from pipeline.artifacts.storage import (
    StudyPaths,
    atomic_file,
    atomic_folder,
    remove_leftovers,
    restore_interrupted,
)

KILLS = 20
FILES = 12
WORDS = 20_000
VERSIONS = 50
FORK = multiprocessing.get_context("fork")


def _content(version):
    return b"%08d" % version * WORDS


def _write_files_forever(target, first, running):
    for version in count(first):
        with atomic_file(target) as fresh:
            fresh.write_bytes(_content(version))
        running.set()


def _fill(folder, version):
    (folder / "part").mkdir()
    for number in range(FILES):
        (folder / "part" / f"{number}.bin").write_bytes(b"%08d" % version)


def _write_folders_forever(target, first, running):
    for version in count(first):
        with atomic_folder(target) as fresh:
            _fill(fresh, version)
        running.set()


def _version(folder):
    """The version all files of a folder agree on."""
    contents = {file.read_bytes() for file in folder.rglob("*.bin")}
    assert len(list(folder.rglob("*.bin"))) == FILES
    (content,) = contents
    return int(content)


def _kill_while_writing(work, target, first, rng):
    """Start ``work`` in a new process; after its first artifact, kill it at a random time."""
    running = FORK.Event()
    process = FORK.Process(target=work, args=(target, first, running))
    process.start()
    assert running.wait(30)
    time.sleep(rng.uniform(0, 0.03))
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_writer_leaves_a_complete_file(tmp_path):
    target, rng = tmp_path / "deep" / "model.bin", np.random.default_rng(1)
    with atomic_file(target) as fresh:
        fresh.write_bytes(_content(0))
    versions, torn = [0], 0

    while len(versions) <= KILLS or not torn:
        _kill_while_writing(_write_files_forever, target, versions[-1] + 1, rng)
        found = target.read_bytes()
        versions.append(int(found[:8]))
        assert found == _content(versions[-1])
        torn += any(target.parent.glob(".model.bin.*.new"))

    # until a kill happened while writing
    assert all(later > earlier for earlier, later in pairwise(versions))


@pytest.mark.slow
def test_a_killed_writer_leaves_a_complete_folder(tmp_path):
    target, rng = tmp_path / "sessions", np.random.default_rng(2)
    with atomic_folder(target) as fresh:
        _fill(fresh, 0)
    versions, torn = [0], 0

    while len(versions) <= KILLS or not torn:
        _kill_while_writing(_write_folders_forever, target, versions[-1] + 1, rng)
        torn += any(tmp_path.glob(".sessions.*.new"))
        restore_interrupted(target)
        versions.append(_version(target))

    assert all(later > earlier for earlier, later in pairwise(versions))


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        ({"": 1}, 1),
        ({"": 1, ".sessions.killed.new/sessions": 2}, 1),
        ({".sessions.killed.new/sessions.old": 1, ".sessions.killed.new/sessions": 2}, 1),
        ({"": 2, ".sessions.killed.new/sessions.old": 1}, 2),
        ({"": 2, ".sessions.killed.new/sessions.old": None}, 2),
    ],
    ids=[
        "idle",
        "writing",
        "between-the-renames",
        "before-the-old-one-is-deleted",
        "while-the-old-one-is-deleted",
    ],
)
def test_readers_and_writers_recover_from_every_state_a_crash_leaves(tmp_path, folders, found):
    paths = StudyPaths(root=tmp_path, name="shop")
    target = paths.artifact("sessions")
    for name, version in folders.items():
        folder = paths.folder / (name or "sessions")
        folder.mkdir(parents=True)
        if version is not None:
            _fill(folder, version)

    assert _version(paths.require("sessions")) == found
    with atomic_folder(target) as fresh:
        _fill(fresh, 3)
    assert _version(target) == 3
    assert [path.name for path in paths.folder.iterdir()] == ["sessions"]


def _publish_versions(target, first, step, barrier):
    barrier.wait()
    for version in range(first, first + step * VERSIONS, step):
        with atomic_folder(target) as fresh:
            _fill(fresh, version)
        restore_interrupted(target)  # as a reader does


def test_two_processes_that_publish_the_same_folder_leave_the_whole_of_one(tmp_path):
    target, barrier = tmp_path / "findings", FORK.Barrier(2)
    both = [
        FORK.Process(target=_publish_versions, args=(target, first, 2, barrier)) for first in (0, 1)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()

    assert [process.exitcode for process in both] == [0, 0]
    assert _version(target) in {2 * VERSIONS - 2, 2 * VERSIONS - 1}
    assert [path.name for path in tmp_path.iterdir()] == ["findings"]


def _write_and_wait(target, writing, finish):
    with atomic_file(target) as fresh:
        fresh.write_text("half")
        writing.set()
        finish.wait()
        fresh.write_text("whole")


def test_unfinished_work_of_a_running_process_is_no_leftover(tmp_path):
    target, writing, finish = tmp_path / "model.bin", FORK.Event(), FORK.Event()
    process = FORK.Process(target=_write_and_wait, args=(target, writing, finish))
    process.start()
    assert writing.wait(30)
    (tmp_path / ".model.bin.killed.new").mkdir()

    remove_leftovers(tmp_path)

    assert len(list(tmp_path.glob(".model.bin.*"))) == 1
    finish.set()
    process.join()
    assert target.read_text() == "whole"


def _fail_with(error, writing, *parts):
    with writing as fresh:
        fresh.joinpath(*parts).write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_folder_write_keeps_the_old_one_and_no_temporary_files(tmp_path, error):
    target = tmp_path / "sessions"
    with atomic_folder(target) as fresh:
        _fill(fresh, 1)

    with pytest.raises(error):
        _fail_with(error, atomic_folder(target), "half.bin")

    assert _version(target) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["sessions"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_file_write_keeps_the_old_one_and_no_temporary_files(tmp_path, error):
    target = tmp_path / "report.html"
    target.write_text("old")

    with pytest.raises(error):
        _fail_with(error, atomic_file(target))

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_folder_replaces_the_old_one_completely(tmp_path):
    target = tmp_path / "deep" / "sessions"
    with atomic_folder(target) as fresh:
        (fresh / "only-in-old").touch()

    with atomic_folder(target) as fresh:
        assert (target / "only-in-old").exists()
        (fresh / "only-in-new").touch()

    assert [path.name for path in target.iterdir()] == ["only-in-new"]
    assert [path.name for path in target.parent.iterdir()] == ["sessions"]
