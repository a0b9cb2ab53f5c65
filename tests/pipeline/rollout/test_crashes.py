"""kill -9 at every write: the state stays readable, and no transition is lost or doubled."""

import os
import shutil
import signal

import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.rollout import operations
from pipeline.rollout.changes import advanced
from pipeline.rollout.served import read_served
from pipeline.rollout.store import change_rollout, current_rollout, verify_rollouts
from tests.pipeline.rollout.releases import ANNA, begun, gated

WRITES = ("open", "write", "ftruncate", "fsync", "replace", "mkdir")
"""What changes the disk; ``open`` creates files."""

OPERATIONS = {
    "start": lambda paths: operations.start(paths, gated(), ANNA),
    "approve": lambda paths: operations.approve(paths, "canary", ANNA, "ok"),
    "advance": lambda paths: change_rollout(paths, "spring", ANNA, _once),
    "hold": lambda paths: operations.hold(paths, ANNA, "holidays"),
    "roll back": lambda paths: operations.roll_back(paths, ANNA, "complaints"),
}


def _once(rollout):
    return advanced(rollout, "passed", {}) if rollout.index == 0 else None


def before(name, paths):
    """The state that the operation needs."""
    if name == "approve":
        operations.start(paths, gated(), ANNA)
    elif name != "start":
        begun(paths)


def killed_at(point, operation, paths):
    """Whether a process that does the operation was killed at this write, of which half is done."""
    child = os.fork()
    if child == 0:
        try:
            _arm(point)
            operation(paths)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child never returns into pytest
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _arm(point):
    """Kill this process at its n-th write."""
    left = [point]

    def patched(name, real):
        def call(*arguments, **options):
            if name == "open" and not arguments[1] & os.O_CREAT:
                return real(*arguments, **options)
            left[0] -= 1
            if left[0] < 0:
                if name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return call

    for name in WRITES:
        setattr(os, name, patched(name, getattr(os, name)))


def events_of(paths):
    return [
        (e.seq, e.action, e.from_, e.to, e.stage, e.share) for e in current_rollout(paths).events
    ]


_SLOW = {"start", "advance", "hold"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=pytest.mark.slow if one in _SLOW else ()) for one in OPERATIONS],
)
def test_killed_at_every_write(tmp_path, name):
    operation = OPERATIONS[name]
    undisturbed = StudyPaths(tmp_path / "undisturbed", "shop")
    before(name, undisturbed)
    prepared = tmp_path / "prepared"
    shutil.copytree(undisturbed.root, prepared) if undisturbed.root.exists() else prepared.mkdir()
    operation(undisturbed)
    expected, seen = events_of(undisturbed), 0

    for point in range(100):
        root = tmp_path / str(point)
        shutil.copytree(prepared, root)
        paths = StudyPaths(root, "shop")
        if not killed_at(point, operation, paths):
            break
        seen += 1
        done = current_rollout(paths)
        if done is not None:
            assert events_of(paths) == expected[: done.seq]  # some prefix, in order
        assert verify_rollouts(paths) == []
        after = operation(paths)
        assert events_of(paths) == expected
        assert read_served(paths) == after.served()
        assert verify_rollouts(paths) == []
    assert seen >= 5
