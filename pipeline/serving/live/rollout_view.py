"""What the page shows of a rollout: where it is, what was decided and why, and who did what."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.core.labels import counted
from pipeline.monitoring.alert_history import AlertRecord
from pipeline.reporting.text.formatting import percent_trimmed
from pipeline.rollout.decisions.recorded import RecordedDecision
from pipeline.rollout.events import Action, Event
from pipeline.rollout.fold import Rollout
from pipeline.rollout.states import State
from pipeline.rollout.text import next_step
from pipeline.serving.live.view import (
    Endpoint,
    Fact,
    HistoryRow,
    Note,
    RolloutView,
    StageStep,
    Tone,
)
from pipeline.serving.live.words import age, ago, capitalised

_STATES: dict[State, Tone] = {
    State.HOLDING: "warn",
    State.ROLLED_BACK: "bad",
    State.REJECTED: "bad",
    State.SETTLED: "good",
}
_ACTIONS: dict[Action, Tone] = {
    Action.HOLD: "warn",
    Action.REFUSE: "warn",
    Action.ROLL_BACK: "bad",
    Action.ADVANCE: "good",
    Action.SETTLE: "good",
}
_ALERTS: dict[str, Tone] = {"firing": "bad", "still firing": "bad", "resolved": "good"}
_DAY_SECONDS = 86_400
_WAITS = "waits: "
_EXPECTED, _JOINED = "; expected ", "\0"
"""What is expected stays with what was found when a reason is divided into its parts."""


def rollout_view(
    rollout: Rollout, decision: RecordedDecision | None, endpoint: Endpoint, now: datetime
) -> RolloutView:
    """Where a release is.

    Args:
        rollout: Its state.
        decision: The last decision on it.
        endpoint: What is served.
        now: The time.
    """
    return RolloutView(
        release=rollout.release,
        state=_state(rollout),
        tone="warn" if rollout.hold else _STATES.get(rollout.state, "plain"),
        stages=_stages(rollout),
        facts=[*_facts(rollout, now), *_decided(decision, now)],
        notes=_notes(rollout, decision, endpoint, now),
    )


def _state(rollout: Rollout) -> str:
    """The state, such as ``awaiting approval``; a last stage that is held says so."""
    words = rollout.state.replace("_", " ")
    return f"{words}, held" if rollout.hold and rollout.state is not State.HOLDING else words


def history(
    rollout: Rollout | None, alerts: Sequence[AlertRecord], now: datetime, number: int
) -> list[HistoryRow]:
    """The last events of the release and of the alerts, newest first."""
    events = rollout.events[-number:] if rollout else ()
    rows = [*(_event_row(one, now) for one in events), *(_alert_row(one, now) for one in alerts)]
    return sorted(rows, key=lambda one: one.ts, reverse=True)[:number]


def _stages(rollout: Rollout) -> list[StageStep]:
    current = len(rollout.stage_starts) - 1
    is_over = rollout.state is State.SETTLED
    return [
        StageStep(
            name=stage.name,
            share=percent_trimmed(rollout.plan.share_of(n)),
            place="done" if n < current or is_over else "current" if n == current else "next",
        )
        for n, stage in enumerate(rollout.plan.stages)
    ]


def _facts(rollout: Rollout, now: datetime) -> list[Fact]:
    plan = rollout.plan
    share = percent_trimmed(rollout.share)
    served = (
        f"candidate {plan.candidate} to {share} of the users outside the groups, incumbent "
        f"{plan.incumbent} to the others"
    )
    facts = [Fact(label="Serves", text=served)]
    if (stage := rollout.stage) is not None:
        days = max((now - rollout.stage_starts[-1]).total_seconds() / _DAY_SECONDS, 0.0)
        text = (
            f"{stage.name}, {len(rollout.stage_starts)} of {len(plan.stages)}, for {days:.1f} of at least "
            f"{counted(stage.days, 'day')} and {counted(stage.users, 'user')} of the smaller arm since the start"
        )
        facts.append(Fact(label="Stage", text=text))
    if rollout.hold is not None:
        facts.append(Fact(label="Held", text=f"by {rollout.hold.who}: {rollout.hold.reason}"))
    return facts


def _decided(decision: RecordedDecision | None, now: datetime) -> list[Fact]:
    """The last decision; a reason of several parts is a list."""
    if decision is None:
        return []
    when = ago((now - decision.at).total_seconds())
    parts = decision.reason.removeprefix(_WAITS).replace(_EXPECTED, _JOINED).split("; ")
    items = tuple(part.replace(_JOINED, _EXPECTED) for part in parts)
    if len(items) == 1:
        text, items = f"{when}: {decision.reason}", ()
    else:
        text = when
    return [Fact(label="Decision", strong=decision.step, text=text, items=items)]


def _notes(
    rollout: Rollout, decision: RecordedDecision | None, endpoint: Endpoint, now: datetime
) -> list[Note]:
    notes = list[Note]()
    if endpoint.fuse:
        notes.append(
            Note(
                tone="bad",
                text=f"The endpoint's fuse has blown, it serves the incumbent to everybody: {endpoint.fuse}.",
            )
        )
    elif rollout.share != (endpoint.served_share or 0.0):
        notes.append(
            Note(
                tone="warn",
                text=f"The endpoint serves the candidate to {percent_trimmed(endpoint.served_share or 0.0)} of the "
                f"users, the events say {percent_trimmed(rollout.share)}: it has not followed yet, or could not "
                "load an arm; see its log.",
            )
        )
    if rollout.state.is_live:
        notes += _watch_notes(rollout, decision, now)
    text, _, command = (next_step(rollout) or "").partition(": ")
    if command:
        notes.append(Note(tone="warn", text=f"{capitalised(text)}:", command=command))
    return notes


def _watch_notes(rollout: Rollout, decision: RecordedDecision | None, now: datetime) -> list[Note]:
    """Whether somebody decides; a rollout that nobody watches is not rolled back."""
    command = "paretoscope rollout watch"
    if decision is None:
        return [Note(tone="warn", text="Nobody decides on this release yet:", command=command)]
    seconds = (now - decision.at).total_seconds()
    if seconds <= 60 * rollout.plan.config.no_data_minutes:
        return []
    text = f"Nobody has decided for {age(seconds)}; until somebody does, harm is not rolled back:"
    return [Note(tone="bad", text=text, command=command)]


def _event_row(event: Event, now: datetime) -> HistoryRow:
    stage = f" {event.stage}" if event.stage else ""
    return HistoryRow(
        ts=event.ts.astimezone(UTC),
        ago=ago((now - event.ts).total_seconds()),
        what=f"{event.action}{stage}, {percent_trimmed(event.share)}",
        who=f"{event.who} ({event.by})",
        why=event.reason,
        tone=_ACTIONS.get(event.action, "plain"),
    )


def _alert_row(alert: AlertRecord, now: datetime) -> HistoryRow:
    return HistoryRow(
        ts=alert.ts.astimezone(UTC),
        ago=ago((now - alert.ts).total_seconds()),
        what=" ".join(part for part in (alert.alert, alert.subject, alert.state) if part),
        who="monitor",
        why=capitalised(alert.text),
        tone=_ALERTS.get(alert.state, "plain"),
    )
