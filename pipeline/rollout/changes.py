"""What may happen to a rollout: the changes that :mod:`pipeline.rollout.store` appends as events."""

from dataclasses import dataclass, replace
from typing import Any

from pipeline.rollout.events import Action
from pipeline.rollout.fold import Rollout
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.states import TRANSITIONS, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an event says, besides its place in the chain.

    Attributes:
        action: What happens.
        to: State after.
        reason: Why, with numbers.
        stage: Stage after, or the approved one; None before the first.
        share: The candidate's share of the users after it.
        evidence: The numbers.
        plan: Of a new release.
    """

    action: Action
    to: State
    reason: str
    stage: str | None
    share: float
    evidence: dict[str, Any]
    plan: RolloutPlan | None = None


def held(rollout: Rollout, reason: str, evidence: dict[str, Any]) -> Change:
    """The change that holds a live rollout."""
    can_hold = rollout.state is State.HOLDING or State.HOLDING in TRANSITIONS[rollout.state]
    to = State.HOLDING if can_hold else rollout.state
    return within_stage(rollout, Action.HOLD, reason, to=to, evidence=evidence)


def resumed(rollout: Rollout, reason: str) -> Change:
    """The change that ends a hold; the candidate has the users of its stage again."""
    index = rollout.index or 0
    change = within_stage(
        rollout, Action.RESUME, reason, to=rollout.plan.state_of(index), evidence={}
    )
    return replace(change, share=rollout.plan.share_of(index))


def rolled_back(rollout: Rollout, reason: str, evidence: dict[str, Any]) -> Change:
    """The change that ends a rollout, or rejects it before its first stage."""
    return Change(
        action=Action.ROLL_BACK,
        to=State.ROLLED_BACK if rollout.state.is_live else State.REJECTED,
        reason=reason,
        stage=rollout.stage.name if rollout.stage else None,
        share=0.0,
        evidence=evidence,
    )


def advanced(rollout: Rollout, reason: str, evidence: dict[str, Any]) -> Change:
    """The change to the next stage; after the last, the candidate is everybody's."""
    stage, index = rollout.next_stage, rollout.index
    if stage is None or index is None:
        settled = within_stage(rollout, Action.SETTLE, reason, to=State.SETTLED, evidence=evidence)
        return replace(settled, share=1.0)
    return Change(
        action=Action.ADVANCE,
        to=rollout.plan.state_of(index + 1),
        reason=reason,
        stage=stage.name,
        share=rollout.plan.share_of(index + 1),
        evidence=evidence,
    )


def within_stage(
    rollout: Rollout, action: Action, reason: str, *, to: State, evidence: dict[str, Any]
) -> Change:
    """A change within the stage."""
    return Change(
        action=action,
        to=to,
        reason=reason,
        stage=rollout.stage.name if rollout.stage else None,
        share=rollout.share,
        evidence=evidence,
    )


def refused(rollout: Rollout, problem: str) -> Change:
    """A refusal, which is recorded, too."""
    stage = f" in stage {rollout.stage.name}" if rollout.stage else ""
    reason = f"release {rollout.release} is {rollout.state}{stage} with a share of {rollout.share:.2%}: {problem}"
    return within_stage(rollout, Action.REFUSE, reason, to=rollout.state, evidence={})
