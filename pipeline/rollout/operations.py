"""What operators and the endpoint do to a rollout. It needs the events only: neither model, database nor network.

Each may be repeated: what is already so is not done twice.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import DataError, ParetoscopeError, StorageError
from pipeline.rollout.changes import Change, held, refused, resumed, rolled_back, within_stage
from pipeline.rollout.events import Action, Actor
from pipeline.rollout.fold import Rollout
from pipeline.rollout.gates import Gate, GatedPlan
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.proposal import check_proposal
from pipeline.rollout.served import read_served, write_served
from pipeline.rollout.states import State
from pipeline.rollout.store import (
    Author,
    RolloutRefused,
    change_rollout,
    current_rollout,
    rollout_lock,
)

_GATES: dict[State, tuple[State, tuple[Gate, ...]]] = {
    State.DRAFT: (State.OFFLINE_PASSED, (Gate.OFFLINE,)),
    State.OFFLINE_PASSED: (State.SIMULATED, (Gate.COUNTERFACTUAL, Gate.SIMULATION)),
    State.SIMULATED: (State.AWAITING_APPROVAL, ()),
}
"""What follows each state before ``awaiting_approval``, and the gates between the two."""


def start(paths: StudyPaths, gated: GatedPlan, author: Author) -> Rollout:
    """Propose a release; it then waits for the approval of its first stage.

    Raises:
        RolloutRefused: if another release is under way, one had this name, or something else is in production
            than what the candidate was compared with.
    """
    release = gated.plan.config.release

    def propose(rollout: Rollout | None) -> Change | None:
        check_proposal(paths, gated.plan)
        if rollout is None:
            return _proposal(gated.plan)
        is_started = rollout.state is State.AWAITING_APPROVAL and rollout.plan == gated.plan
        return None if is_started else _passed(rollout, gated)

    while True:
        rollout = change_rollout(paths, release, author, propose)
        if rollout.state not in _GATES:
            return rollout


def _proposal(plan: RolloutPlan) -> Change:
    return Change(
        action=Action.PROPOSE,
        to=State.DRAFT,
        reason=f"{plan.candidate} instead of {plan.incumbent}",
        stage=None,
        share=0.0,
        evidence={},
        plan=plan,
    )


def _passed(rollout: Rollout, gated: GatedPlan) -> Change:
    """The event of the next gates."""
    if rollout.state not in _GATES or rollout.plan != gated.plan:
        msg = (
            f"release {rollout.release} has {rollout.seq} events and is {rollout.state}; expected a new name "
            "in rollout.release for every candidate"
        )
        raise RolloutRefused(msg)
    to, gates = _GATES[rollout.state]
    found = [one for one in gated.gates if one.gate in gates]
    reason = "; ".join(f"{one.gate} gate {one.outcome}: {one.reason}" for one in found)
    evidence = {one.gate.value: one.numbers for one in found}
    return within_stage(
        rollout, Action.GATE, reason or "all gates are behind it", to=to, evidence=evidence
    )


def approve(paths: StudyPaths, stage: str, author: Author, reason: str) -> Rollout:
    """Approve a stage. The first begins at once, others when the stage before them has passed.

    Raises:
        RolloutRefused: if there is no such stage to come.
    """

    def change(rollout: Rollout) -> Change | None:
        plan = rollout.plan
        index = plan.index_of(stage)
        if index is None:
            names = ", ".join(one.name for one in plan.stages)
            raise RolloutRefused(
                f"release {rollout.release} has no stage {stage}; expected one of {names}"
            )
        if stage in rollout.approved:
            return None
        first = rollout.state is State.AWAITING_APPROVAL
        begun = rollout.index is not None and index <= rollout.index
        if begun or not (rollout.state.is_live or first) or (first and index > 0):
            return refused(rollout, f"stage {stage} cannot be approved")
        return Change(
            action=Action.APPROVE,
            to=plan.state_of(0) if first else rollout.state,
            reason=reason,
            stage=stage,
            share=plan.share_of(0) if first else rollout.share,
            evidence={},
        )

    return _change_current(paths, author, change)


def hold(paths: StudyPaths, author: Author, reason: str) -> Rollout:
    """Stay in the stage until a person resumes; guardrails still roll back.

    Raises:
        RolloutRefused: if no user gets the candidate.
    """

    def change(rollout: Rollout) -> Change | None:
        if rollout.is_held_by_person:
            return None
        if not rollout.state.is_live:
            return refused(rollout, "nothing can be held")
        return held(rollout, reason, {})

    return _change_current(paths, author, change)


def blow_fuse(
    paths: StudyPaths, release: str, author: Author, reason: str, evidence: dict[str, Any]
) -> Rollout:
    """Serve everybody the incumbent until a person resumes.

    Raises:
        RolloutRefused: if there is no such release.
    """

    def change(rollout: Rollout | None) -> Change | None:
        if rollout is None or not rollout.state.is_live or not rollout.share:
            return None
        return replace(held(rollout, reason, evidence), share=0.0)

    return change_rollout(paths, release, author, change)


def resume(paths: StudyPaths, author: Author, reason: str) -> Rollout:
    """Go on after a hold.

    Raises:
        RolloutRefused: if no user gets the candidate.
    """

    def change(rollout: Rollout) -> Change | None:
        if not rollout.state.is_live:
            return refused(rollout, "nothing can be resumed")
        return None if rollout.hold is None else resumed(rollout, reason)

    return _change_current(paths, author, change)


def roll_back(
    paths: StudyPaths, author: Author, reason: str, evidence: dict[str, Any] | None = None
) -> Rollout:
    """Serve everybody the incumbent, for good; before the first stage, reject the candidate.

    Raises:
        RolloutRefused: if the rollout is settled.
        DataError: if the events are damaged or cannot be written; the incumbent is then served all the same.
        StorageError: if ``rollout.json`` cannot be written; the message says who still gets the candidate.
    """

    def change(rollout: Rollout) -> Change | None:
        if rollout.state in {State.ROLLED_BACK, State.REJECTED}:
            return None
        if rollout.state is State.SETTLED:
            return refused(
                rollout, "it cannot be rolled back; release the former incumbent as a new candidate"
            )
        return rolled_back(rollout, reason, evidence or {})

    try:
        return _change_current(paths, author, change)
    except (DataError, StorageError) as error:
        raise _without_events(paths, error) from error


def look(paths: StudyPaths) -> Rollout:
    """The release under way, or the last that was; ``rollout.json`` is written again if it is behind.

    Raises:
        RolloutRefused: if there never was one.
        DataError: if the events are damaged.
    """
    return _change_current(paths, Author(by=Actor.PERSON, who="reader"), lambda _: None)


def _change_current(
    paths: StudyPaths, author: Author, change: Callable[[Rollout], Change | None]
) -> Rollout:
    """Change the release under way, or the last that was."""
    current = current_rollout(paths)
    if current is None:
        raise RolloutRefused("there is no release; start one: paretoscope rollout start")
    return change_rollout(
        paths, current.release, author, lambda rollout: change(rollout or current)
    )


def _without_events(paths: StudyPaths, error: DataError | StorageError) -> ParetoscopeError:
    """Serve the incumbent although nothing can be appended, and say so."""
    try:
        served = read_served(paths)
    except DataError:  # it is unknown who is served what
        return type(error)(
            f"{error}. Until then the endpoint serves what it has read before, also to users of the candidate"
        )
    if served is None or served.state is State.SETTLED:  # then there is nothing to go back to
        return error
    try:
        with rollout_lock(paths):
            write_served(replace(served, state=State.ROLLED_BACK, share=0.0), paths)
    except StorageError as unwritten:
        return StorageError(f"{unwritten}. {served.share:.2%} of the users still get the candidate")
    msg = f"the incumbent is served to everybody, but it is not recorded: {error}; then roll back again"
    return DataError(msg)
