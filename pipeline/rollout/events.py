"""``events.jsonl``: what happened to a release, one line per event; its only truth.

Lines are appended and synchronised to the disk, never changed. Each has the SHA-256 of the line before, so that
an edited, inserted or deleted line is found; that of the last line is also in ``rollout.json``. A line without
its end is of a process that was killed while it wrote: it never happened, and the next writer removes it.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
from annotated_types import Interval, Len
from pydantic import Field, TypeAdapter, ValidationError
from pydantic import dataclasses as checked

from models.strict import STRICT, first_problem
from pipeline.artifacts.durable import sync, write_all
from pipeline.artifacts.storage import storage_errors
from pipeline.core.errors import DataError
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.states import State

EVENTS = "events.jsonl"
NOTHING_BEFORE = "0" * 64
"""In place of the SHA-256 before the first line."""


class Action(StrEnum):
    """What an event does."""

    PROPOSE = "propose"
    GATE = "gate passed"
    APPROVE = "approve"
    ADVANCE = "advance"
    HOLD = "hold"
    RESUME = "resume"
    ROLL_BACK = "roll back"
    SETTLE = "settle"
    REFUSE = "refuse"


class Actor(StrEnum):
    """Who acts."""

    PERSON = "person"
    SENSOR = "sensor"
    ENDPOINT = "endpoint"


@checked.dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Event:
    """One line.

    Attributes:
        seq: Number of the line, from 1.
        ts: When.
        action: What happened.
        from_: State before.
        to: State after.
        stage: Stage after; of an approval, the approved stage; None before the first.
        share: The candidate's share of the users after it.
        by: Kind of actor.
        who: Name of the person, or of the process.
        reason: Why, with numbers.
        evidence: The numbers.
        fingerprints: Versions of the parameters and of the software.
        plan: Of the release; in the first event only.
        previous_sha256: Of the line before.
    """

    seq: Annotated[int, Interval(ge=1)]
    ts: datetime
    action: Action
    from_: Annotated[State, Field(alias="from")]
    to: State
    stage: str | None
    share: Annotated[float, Interval(ge=0, le=1)]
    by: Actor
    who: Annotated[str, Len(1)]
    reason: Annotated[str, Len(1)]
    evidence: dict[str, Any]
    fingerprints: dict[str, str]
    plan: RolloutPlan | None
    previous_sha256: Annotated[str, Len(64, 64)]


@dataclass(frozen=True, slots=True)
class EventLog:
    """The complete lines of a release.

    Attributes:
        events: In order.
        lines: Their bytes, without line ends.
        size: Bytes of the complete lines; what follows in the file never happened.
    """

    events: tuple[Event, ...]
    lines: tuple[bytes, ...]
    size: int

    @property
    def head(self) -> str:
        """SHA-256 of the last line."""
        return sha256(self.lines[-1]) if self.lines else NOTHING_BEFORE


_EVENT = TypeAdapter(Event)


def sha256(line: bytes) -> str:
    """Of a line without its end."""
    return hashlib.sha256(line).hexdigest()


def read_events(file: Path) -> EventLog:
    """The events of a release; none if the file does not exist.

    Raises:
        DataError: if a line is not an event, or does not follow the line before.
    """
    log, problems = parse_events(file)
    if problems:
        msg = (
            f"{problems[0]}. The state of the rollout is unknown; restore the file from a backup, or see what "
            "changed with: paretoscope rollout verify"
        )
        raise DataError(msg)
    return log


def parse_events(file: Path) -> tuple[EventLog, list[str]]:
    """The events up to the first problem, and all problems of the chain.

    Raises:
        DataError: if the file cannot be read.
    """
    content, source = _content(file), str(file)
    complete, end, _ = content.rpartition(b"\n")
    lines = complete.split(b"\n") if end else []
    events, problems, previous = list[Event](), list[str](), NOTHING_BEFORE
    for number, line in enumerate(lines, start=1):
        try:
            event = _EVENT.validate_json(line)
        except ValidationError as error:
            problems.append(
                f"{source}: line {number} is not an event: {first_problem(error, 'the whole line')}"
            )
        else:
            if fault := _fault(event, number, previous):
                problems.append(f"{source}: line {number} {fault}")
            elif not problems:
                events.append(event)
        previous = sha256(line)
    return EventLog(tuple(events), tuple(lines[: len(events)]), len(complete) + len(end)), problems


def append_event(file: Path, event: Event, log: EventLog) -> EventLog:
    """Append an event, and return when it is on the disk; the caller holds the lock of the rollouts.

    Raises:
        StorageError: if it cannot be written.
    """
    line = orjson.dumps(_plain(event))
    with storage_errors(file):
        is_new = not file.exists()
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.ftruncate(descriptor, log.size)
            write_all(descriptor, line + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync(file.parent)
            sync(file.parent.parent)
    return EventLog((*log.events, event), (*log.lines, line), log.size + len(line) + 1)


def event_dict(event: Event) -> dict[str, Any]:
    """As plain values for JSON."""
    return orjson.loads(orjson.dumps(_plain(event)))


def _plain(event: Event) -> Mapping[str, Any]:
    return _EVENT.dump_python(event, mode="json", by_alias=True)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror}; change its permissions"
        raise DataError(msg) from error


def _fault(event: Event, number: int, previous: str) -> str | None:
    """What contradicts the chain; lines that were deleted, moved or edited do."""
    if event.previous_sha256 != previous:
        return (
            f"follows a line with SHA-256 {event.previous_sha256[:12]}…, but the line before has "
            f"{previous[:12]}…: it was edited, or a line is missing"
        )
    if event.seq != number:
        return f"has the number {event.seq}; expected {number}"
    if (event.plan is None) != (number > 1):
        return "should have the plan of the release" if number == 1 else "has a second plan"
    return None
