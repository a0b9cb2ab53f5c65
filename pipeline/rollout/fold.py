"""The state of a rollout: a fold over its events."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.core.errors import DataError
from pipeline.rollout.events import NOTHING_BEFORE, Action, Actor, Event, EventLog
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.served import FORMAT, Arm, ServedRollout
from pipeline.rollout.states import TRANSITIONS, State
from pipeline.study.rollout import RolloutStage


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Where a release is.

    Attributes:
        plan: Of the release.
        events: All that happened, oldest first.
        head: SHA-256 of the last line.
        state: Now.
        index: Of the stage; None before the first.
        share: Share of the users who get the candidate.
        peak_share: Its largest value so far.
        started: When the first stage began.
        stage_starts: When each stage began, as far as they have.
        hold: The event that holds the rollout, also in its last stage, which has no state for it; None
            if nothing does.
        approved: Names of the stages that a person approved.
    """

    plan: RolloutPlan
    events: tuple[Event, ...]
    head: str
    state: State
    index: int | None = None
    share: float = 0.0
    peak_share: float = 0.0
    stage_starts: tuple[datetime, ...] = ()
    hold: Event | None = None
    approved: frozenset[str] = frozenset()

    @property
    def seq(self) -> int:
        """Number of the last event."""
        return len(self.events)

    @property
    def release(self) -> str:
        """Its name."""
        return self.plan.config.release

    @property
    def production(self) -> Arm:
        """What everybody is served after it: the candidate once it is settled, else the incumbent."""
        return self.plan.candidate if self.state is State.SETTLED else self.plan.incumbent

    @property
    def started(self) -> datetime | None:
        """When the first stage began; None before."""
        return self.stage_starts[0] if self.stage_starts else None

    @property
    def stage(self) -> RolloutStage | None:
        """The current stage; None before the first."""
        return None if self.index is None else self.plan.stages[self.index]

    @property
    def next_stage(self) -> RolloutStage | None:
        """The stage after the current one; None in the last."""
        following = 0 if self.index is None else self.index + 1
        return self.plan.stages[following] if following < len(self.plan.stages) else None

    @property
    def awaited_stage(self) -> RolloutStage | None:
        """The next stage, where a person has to approve it and has not; the first always needs it."""
        following = self.next_stage
        if following is None or following.name in self.approved:
            return None
        is_asked = following.approval or not self.plan.config.automatic.advance
        return following if self.index is None or is_asked else None

    @property
    def is_held_by_person(self) -> bool:
        """Whether only a person may resume it."""
        return self.hold is not None and self.hold.by is not Actor.SENSOR

    def served(self) -> ServedRollout:
        """What the endpoint serves."""
        return ServedRollout(
            format=FORMAT,
            release=self.release,
            salt=self.plan.salt,
            seq=self.seq,
            head=self.head,
            state=self.state,
            stage=self.stage.name if self.stage else None,
            share=self.share,
            peak_share=self.peak_share,
            holdback=self.plan.config.holdback,
            started=self.started,
            candidate=self.plan.candidate,
            incumbent=self.plan.incumbent,
        )


def fold(log: EventLog) -> Rollout | None:
    """The state after all events; None without any.

    Raises:
        DataError: if an event does not follow from the state before it.
    """
    if not log.events:
        return None
    plan = log.events[0].plan
    if plan is None:
        raise DataError("the first event of a rollout has no plan; restore events.jsonl")
    start = Rollout(plan=plan, events=(), head=NOTHING_BEFORE, state=State.DRAFT)
    return replace(_fold(start, log.events), head=log.head)


def _fold(rollout: Rollout, events: Sequence[Event]) -> Rollout:
    for event in events:
        _check(rollout, event)
        rollout = replace(
            _applied(rollout, event),
            events=(*rollout.events, event),
            state=event.to,
            share=event.share,
            peak_share=max(rollout.peak_share, event.share),
        )
    return rollout


def _applied(rollout: Rollout, event: Event) -> Rollout:
    """What an event changes besides state and share."""
    match event.action:
        case Action.HOLD:
            return replace(rollout, hold=event)
        case Action.RESUME | Action.ROLL_BACK:
            return replace(rollout, hold=None)
        case Action.APPROVE:
            approved = replace(rollout, approved=rollout.approved | {event.stage or ""})
            return _entered(approved, event) if rollout.index is None else approved
        case Action.ADVANCE:
            return _entered(rollout, event)
        case _:
            return rollout


def _entered(rollout: Rollout, event: Event) -> Rollout:
    """The rollout in the stage that begins with the event."""
    following = rollout.next_stage
    if following is None or event.stage != following.name:
        expected = following.name if following else "none"
        msg = (
            f"event {event.seq} of release {rollout.release} begins stage {event.stage}; expected "
            f"{expected}. Restore events.jsonl"
        )
        raise DataError(msg)
    index = 0 if rollout.index is None else rollout.index + 1
    starts = (*rollout.stage_starts, event.ts)
    return replace(rollout, index=index, stage_starts=starts, hold=None)


def _check(rollout: Rollout, event: Event) -> None:
    """Raise unless the event follows from the state."""
    follows = event.to == rollout.state or event.to in TRANSITIONS[rollout.state]
    if event.from_ != rollout.state or not follows:
        msg = (
            f"event {event.seq} of release {rollout.release} goes from {event.from_} to {event.to}, but the "
            f"rollout is {rollout.state}, from which it may go to "
            f"{', '.join(sorted(TRANSITIONS[rollout.state])) or 'no other state'}; restore events.jsonl"
        )
        raise DataError(msg)
