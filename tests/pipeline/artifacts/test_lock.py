"""The lock of a study: waiting, re-entry, and release by a killed process. Real processes."""

import signal
import subprocess
import sys
import textwrap

import pytest

from pipeline.artifacts.lock import LOCK, study_lock
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import StorageError

HOLDER = """
    import sys
    from pathlib import Path
    from pipeline.artifacts.lock import study_lock
    from pipeline.artifacts.storage import StudyPaths

    paths = StudyPaths(root=Path(sys.argv[1]), name="shop")
    with study_lock(paths, sys.argv[2], lambda message: print(message, flush=True)):
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def paths(tmp_path):
    return StudyPaths(root=tmp_path, name="shop")


def holder(tmp_path, action):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path), action],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_second_process_names_the_holder_and_waits_for_its_end(tmp_path):
    with holder(tmp_path, "paretoscope ingest") as first:
        assert first.stdout.readline() == "held\n"
        with holder(tmp_path, "a second run") as second:
            message = second.stdout.readline()
            assert f"study shop is being written by paretoscope ingest (process {first.pid} on" in (
                message
            )
            first.stdin.close()
            assert second.stdout.readline() == "held\n"
            second.stdin.close()


def test_a_killed_process_releases_the_lock(tmp_path, paths):
    waited = []
    with holder(tmp_path, "a run") as first:
        assert first.stdout.readline() == "held\n"
        first.send_signal(signal.SIGKILL)
        first.wait()

    with study_lock(paths, "the next", waited.append):
        pass

    assert waited == []


def test_the_holder_may_enter_again(paths):
    with study_lock(paths, "a run"), study_lock(paths, "a step of it"):
        assert "a step of it" in (paths.folder / LOCK).read_text()


def test_the_lock_is_free_after_an_error(tmp_path, paths):
    with pytest.raises(ZeroDivisionError), study_lock(paths, "a run"):
        raise ZeroDivisionError

    with holder(tmp_path, "the next") as after:
        assert after.stdout.readline() == "held\n"
        after.stdin.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "data").write_text("a file where the folder belongs")
    lock = study_lock(StudyPaths(root=tmp_path, name="shop"), "a run")

    with pytest.raises((StorageError, OSError), match="data"), lock:
        pass
