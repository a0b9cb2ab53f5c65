"""A rollout in lines of text."""

from collections.abc import Sequence
from datetime import datetime

from pipeline.core.labels import counted
from pipeline.rollout.events import Event
from pipeline.rollout.fold import Rollout

_SHOWN = 5
"""Number of events that the status shows."""


def status_lines(rollout: Rollout, now: datetime) -> list[str]:
    """Where a rollout is, what it waits for, and what happened last."""
    plan = rollout.plan
    lines = [f"release {rollout.release}: {rollout.state}"]
    lines += [
        f"candidate {plan.candidate} for {rollout.share:.2%} of the users, incumbent {plan.incumbent} for the others"
    ]
    if rollout.stage is not None:
        number, days = (
            len(rollout.stage_starts),
            max((now - rollout.stage_starts[-1]).total_seconds() / 86_400, 0.0),
        )
        lines.append(
            f"stage {rollout.stage.name} ({number} of {len(plan.stages)}) for {days:.1f} of at least "
            f"{counted(rollout.stage.days, 'day')}"
        )
    if rollout.hold is not None:
        lines.append(f"held by {rollout.hold.who}: {rollout.hold.reason}")
    if step := next_step(rollout):
        lines.append(step)
    return [*lines, "", *event_lines(rollout.events[-_SHOWN:])]


def next_step(rollout: Rollout) -> str | None:
    """What a person may do next; None if nothing is asked of them."""
    if rollout.is_held_by_person:
        return "go on: paretoscope rollout resume"
    awaited = None if rollout.state.is_final else rollout.awaited_stage
    if awaited is None:
        return None
    return f"stage {awaited.name} needs approval: paretoscope rollout approve {awaited.name}"


def event_lines(events: Sequence[Event]) -> list[str]:
    """One line per event: when, what, who and why."""
    return [
        f"{event.ts:%Y-%m-%d %H:%M:%S} {event.action}"
        f"{f' {event.stage}' if event.stage else ''} ({event.share:.2%}) by {event.who}: {event.reason}"
        for event in events
    ]
