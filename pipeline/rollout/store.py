"""The rollouts of a study on the disk, and the one way to change them.

A change appends one event and then replaces ``rollout.json``, both under a lock that the operating system
releases with its process. A process may be killed anywhere: an event is complete or never happened, and who comes
next writes ``rollout.json`` again from the events.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pipeline.artifacts.lock import file_lock
from pipeline.artifacts.storage import StudyPaths, storage_errors
from pipeline.core.errors import DataError, ParetoscopeError
from pipeline.rollout.changes import Change, rolled_back
from pipeline.rollout.events import (
    EVENTS,
    Action,
    Actor,
    Event,
    EventLog,
    append_event,
    parse_events,
    read_events,
    sha256,
)
from pipeline.rollout.fold import Rollout, fold
from pipeline.rollout.served import FOLDER, ServedRollout, read_served, served_file, write_served
from pipeline.rollout.states import State
from pipeline.study import NAME_PATTERN

LOCK = ".lock"

_UNRECORDED = "rollout.json was rolled back while the events could not be written"


class RolloutRefused(ParetoscopeError):  # noqa: N818 - names what happened
    """What was asked for is not possible in the rollout's state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who changes a rollout: the kind of actor, and its name."""

    by: Actor
    who: str


def events_file(paths: StudyPaths, release: str) -> Path:
    """The events of a release."""
    return paths.folder / FOLDER / release / EVENTS


def releases(paths: StudyPaths) -> list[str]:
    """The releases of a study that have events, by name."""
    folder = paths.folder / FOLDER
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(
        one.name
        for one in found
        if re.fullmatch(NAME_PATTERN, one.name) and (one / EVENTS).is_file()
    )


def read_rollout(paths: StudyPaths, release: str) -> Rollout | None:
    """The state of a release; None if nothing has happened to it.

    Raises:
        DataError: if its events are damaged.
    """
    return fold(read_events(events_file(paths, release)))


def current_rollout(paths: StudyPaths) -> Rollout | None:
    """The release under way; without one the last that was; None if the study never had any.

    Raises:
        DataError: if no readable release is under way, and the events of one are damaged.
    """
    found, damaged = list[Rollout](), list[DataError]()
    for name in releases(paths):
        try:
            rollout = read_rollout(paths, name)
        except DataError as error:
            damaged.append(error)
        else:
            found += [rollout] if rollout else []
    last = max(found, key=lambda one: (not one.state.is_final, one.events[-1].ts), default=None)
    if last is None or last.state.is_final:
        for error in [*damaged, *_lost_events(paths, [one.release for one in found])]:
            raise error
    return last


def _lost_events(paths: StudyPaths, known: Sequence[str]) -> list[DataError]:
    """What ``rollout.json`` follows from, if it is of none of the known releases."""
    served = _served(paths)
    if served is None or served.release in known:
        return []
    msg = (
        f"{events_file(paths, served.release)} is missing, empty or no file, but rollout.json follows from line "
        f"{served.seq} of it; restore it from a backup. Without one: paretoscope rollout rollback, and move "
        f"{served_file(paths)} away"
    )
    return [DataError(msg)]


@contextmanager
def rollout_lock(paths: StudyPaths) -> Iterator[None]:
    """Hold the lock of all rollouts of a study; another process holds it for milliseconds.

    Raises:
        StorageError: if the folder cannot be written.
    """
    with file_lock(paths.folder / FOLDER / LOCK, waits=True):
        yield


def change_rollout(
    paths: StudyPaths,
    release: str,
    author: Author,
    decide: Callable[[Rollout | None], Change | None],
) -> Rollout:
    """Append what ``decide`` makes of the state, if anything, and bring ``rollout.json`` up to date.

    Args:
        paths: Of the study.
        release: Name of the release.
        author: Who changes it.
        decide: Returns the change from the state under the lock; None for none. What it raises passes.

    Raises:
        RolloutRefused: if the change is a refusal, which is recorded.
        DataError: if the events are damaged.
        StorageError: if they cannot be written.
    """
    with rollout_lock(paths):
        log = read_events(events_file(paths, release))
        _check_head(paths, release, log)
        rollout = fold(log)
        if rollout is not None and _is_unrecorded(paths, rollout):
            log = _append(paths, log, rolled_back(rollout, _UNRECORDED, {}), author, release)
            rollout = fold(log)
        change = decide(rollout)
        if change is not None:
            log = _append(paths, log, change, author, release)
            rollout = fold(log)
        if rollout is None:
            raise RolloutRefused(
                f"there is no release {release}; start it: paretoscope rollout start"
            )
        _write_served(paths, rollout)
    if change is not None and change.action is Action.REFUSE:
        raise RolloutRefused(change.reason)
    return rollout


def verify_rollouts(paths: StudyPaths) -> list[str]:
    """What is wrong with the events of a study's releases, and with ``rollout.json``; empty if nothing is.

    A line that was edited, inserted, moved or deleted is found, at the end of the file by ``rollout.json``.
    """
    problems = list[str]()
    for release in releases(paths):
        log, found = parse_events(events_file(paths, release))
        problems += found
        if not found:
            problems += _problem_of(lambda log=log: fold(log))
            problems += _problem_of(lambda log=log, name=release: _check_served(paths, name, log))
    problems += [str(error) for error in _lost_events(paths, releases(paths))]
    return problems + _problem_of(lambda: read_served(paths))


def _problem_of(read: Callable[[], object]) -> list[str]:
    try:
        read()
    except DataError as error:
        return [str(error)]
    return []


def _append(
    paths: StudyPaths, log: EventLog, change: Change, author: Author, release: str
) -> EventLog:
    """Append a change as an event of a release."""
    file, rollout = events_file(paths, release), fold(log)
    with storage_errors(file):
        file.parent.mkdir(exist_ok=True)
    return append_event(file, _event(paths, rollout, change, author, log.head), log)


def _is_unrecorded(paths: StudyPaths, rollout: Rollout) -> bool:
    """Whether the incumbent is served to everybody by a rollback that is not among the events."""
    served = _served(paths)
    return (
        served is not None
        and served.release == rollout.release
        and served.state is State.ROLLED_BACK
        and not rollout.state.is_final
    )


def _check_served(paths: StudyPaths, release: str, log: EventLog) -> None:
    """Raise unless ``rollout.json`` says what the event says that it follows from."""
    _check_head(paths, release, log)
    served = _served(paths)
    if served is None or served.release != release:
        return
    then = fold(EventLog(log.events[: served.seq], log.lines[: served.seq], 0))
    if then is not None and then.served() != served:
        msg = (
            f"{served_file(paths)} says that {served.share:.2%} of the users get the candidate ({served.state}); line "
            f"{served.seq} of the events of {release} says {then.share:.2%} ({then.state}). Write it again with: "
            "paretoscope rollout status"
        )
        raise DataError(msg)


def _check_head(paths: StudyPaths, release: str, log: EventLog) -> None:
    """Raise if ``rollout.json`` follows from a line that the events do not have."""
    served = _served(paths)
    if served is None or served.release != release:
        return
    found = sha256(log.lines[served.seq - 1]) if served.seq <= len(log.lines) else None
    if found != served.head:
        msg = (
            f"rollout.json follows from line {served.seq} of the events of {release}, with SHA-256 "
            f"{served.head[:12]}…, but they have {len(log.lines)} lines and that one "
            f"{'is missing' if found is None else f'has {found[:12]}…'}: lines were deleted or edited. Restore "
            f"{events_file(paths, release)} from a backup"
        )
        raise DataError(msg)


def _write_served(paths: StudyPaths, rollout: Rollout) -> None:
    """Replace ``rollout.json`` unless it says what the events of the current release say."""
    current = rollout if not rollout.state.is_final else current_rollout(paths) or rollout
    if _served(paths) != current.served():
        write_served(current.served(), paths)


def _served(paths: StudyPaths) -> ServedRollout | None:
    try:
        return read_served(paths)
    except DataError:  # it is written again
        return None


def _event(
    paths: StudyPaths, rollout: Rollout | None, change: Change, author: Author, head: str
) -> Event:
    return Event(
        seq=rollout.seq + 1 if rollout else 1,
        ts=datetime.now(UTC),
        action=change.action,
        **{"from": rollout.state if rollout else State.DRAFT},
        to=change.to,
        stage=change.stage,
        share=change.share,
        by=author.by,
        who=author.who,
        reason=change.reason,
        evidence=change.evidence,
        fingerprints={"params": _digest(paths.params_file), "paretoscope": version("paretoscope")},
        plan=change.plan,
        previous_sha256=head,
    )


def _digest(file: Path) -> str:
    """SHA-256 of a file; a rollback must work without it."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        return f"unknown: {error.strerror}"
