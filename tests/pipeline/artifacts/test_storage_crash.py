"""A crash at any moment leaves the old artifact or the new one, never a part of either."""

import multiprocessing
import signal
import time
from itertools import count, pairwise

import numpy as np
import pytest

from pipeline.artifacts.storage import StudyPaths, atomic_file, atomic_folder, restore_interrupted

KILLS = 20
FILES = 12
WORDS = 20_000
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
        torn += (target.parent / ".model.bin.new").exists()

    # until a kill happened while writing
    assert all(later > earlier for earlier, later in pairwise(versions))


def test_a_killed_writer_leaves_a_complete_folder(tmp_path):
    target, rng = tmp_path / "sessions", np.random.default_rng(2)
    with atomic_folder(target) as fresh:
        _fill(fresh, 0)
    versions, torn = [0], 0

    while len(versions) <= KILLS or not torn:
        _kill_while_writing(_write_folders_forever, target, versions[-1] + 1, rng)
        torn += (tmp_path / ".sessions.new").exists()
        restore_interrupted(target)
        versions.append(_version(target))

    assert all(later > earlier for earlier, later in pairwise(versions))


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        ({"": 1}, 1),
        ({"": 1, "new": 2}, 1),
        ({"old": 1, "new": 2}, 1),
        ({"": 2, "old": 1}, 2),
    ],
    ids=["idle", "writing", "between-the-renames", "before-the-old-one-is-deleted"],
)
def test_readers_and_writers_recover_from_every_state_a_crash_leaves(tmp_path, folders, found):
    paths = StudyPaths(root=tmp_path, name="shop")
    target = paths.artifact("sessions")
    for suffix, version in folders.items():
        folder = target.with_name(f".sessions.{suffix}") if suffix else target
        folder.mkdir(parents=True)
        _fill(folder, version)

    assert _version(paths.require("sessions")) == found
    with atomic_folder(target) as fresh:
        _fill(fresh, 3)
    assert _version(target) == 3
    assert [path.name for path in paths.folder.iterdir()] == ["sessions"]


def test_a_partly_deleted_old_folder_is_not_restored(tmp_path):
    target = tmp_path / "sessions"
    target.mkdir()
    _fill(target, 2)
    (tmp_path / ".sessions.old").mkdir()  # a crash while its files were being deleted

    restore_interrupted(target)

    assert _version(target) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["sessions"]


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
