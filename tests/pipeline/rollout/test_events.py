"""The events: what was changed in them is found, and what was not written never happened."""

import orjson
import pytest

from pipeline.core.errors import DataError
from pipeline.rollout import operations
from pipeline.rollout.events import read_events
from pipeline.rollout.fold import fold
from pipeline.rollout.served import served_file
from pipeline.rollout.store import current_rollout, events_file, verify_rollouts
from tests.pipeline.rollout.releases import ANNA, begun


@pytest.fixture
def file(paths):
    begun(paths)
    operations.hold(paths, ANNA, "holidays")
    return events_file(paths, "spring")


def changed(file, change):
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(change(lines)))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: [*lines[:2], lines[2].replace(b"skipped", b"passed!"), *lines[3:]], "line 4"),
        (lambda lines: [*lines[:2], *lines[3:]], "line 3 follows a line with SHA-256"),
        (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], "line 4"),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], "line 4"),
        (lambda lines: lines[1:], "line 1"),
        (lambda lines: lines[:-1], "that one is missing"),
        (lambda lines: [*lines[:-1], lines[-1].replace(b"anna", b"carl")], "lines were deleted or edited"),
        (lambda lines: [*lines[:-1], b"{}\n"], "line 6 is not an event"),
    ],
    ids=["edited", "deleted", "swapped", "repeated", "first", "last deleted", "last edited", "no event"],
)  # fmt: skip
def test_a_changed_line_is_found(paths, file, change, problem):
    assert verify_rollouts(paths) == []

    changed(file, change)

    assert problem in verify_rollouts(paths)[0]
    with pytest.raises(DataError, match=r"Restore|restore"):
        operations.resume(paths, ANNA, "x")


def test_an_event_that_does_not_follow_is_found(paths, file):
    """A chain that was made anew, with a state that cannot be."""
    lines = file.read_bytes().splitlines()
    last = orjson.loads(lines[-1]) | {"to": "settled"}
    changed(file, lambda kept: [*kept[:-1], orjson.dumps(last) + b"\n"])
    served_file(paths).unlink()

    problems = verify_rollouts(paths)

    assert "from canary to settled, but the rollout is canary" in problems[0]


def test_a_line_without_its_end_never_happened(paths, file):
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"seq":7,"ts":"2026-')

    assert current_rollout(paths).seq == 6
    after = operations.resume(paths, ANNA, "back")

    assert after.seq == 7
    assert file.read_bytes().startswith(whole)
    assert verify_rollouts(paths) == []


def test_an_event_survives_its_file(paths, file):
    log = read_events(file)

    assert fold(log) == current_rollout(paths)
    assert [event.seq for event in log.events] == [1, 2, 3, 4, 5, 6]
    assert log.events[-1].reason == "holidays"
    assert log.events[-1].fingerprints["params"] != ""
