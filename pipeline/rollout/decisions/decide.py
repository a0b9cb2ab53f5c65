"""The next step of a rollout, from its events, the sums of the log and the time: a pure function.

In this order: without data, hold; if harm is proven in a guardrail, roll back; if something cannot be trusted (the
sample ratio, a KPI that cannot be computed, a signal), hold; after the stage's days and users, with no guardrail
worse than the stage's margin, go to the next stage; otherwise wait.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from pipeline.core.labels import counted
from pipeline.inference.diagnostics.sample_ratio import BLOCKED_ABOVE
from pipeline.rollout.decisions.comparison import Verdict
from pipeline.rollout.decisions.readings import Reading, read_guardrails, readings_of, stage_of
from pipeline.rollout.fold import Rollout
from pipeline.rollout.sums import RolloutSums

LARGEST_E_VALUE = BLOCKED_ABOVE
"""Of the sample ratio; above it, the arms do not have their shares. By chance in at most one of 1,000 stages."""


class Step(StrEnum):
    """What is to happen."""

    NOTHING = "nothing"
    WAIT = "wait"
    HOLD = "hold"
    RESUME = "resume"
    ADVANCE = "advance"
    ROLL_BACK = "roll back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The next step.

    Attributes:
        step: What is to happen.
        reason: Why, with numbers.
        readings: What each guardrail and signal says; empty without data.
        evidence: All numbers, as plain values.
        is_silent: Whether it holds because there is no data.
    """

    step: Step
    reason: str
    readings: Mapping[str, Reading]
    evidence: dict[str, Any]
    is_silent: bool = False


def decide(rollout: Rollout, sums: RolloutSums | None, now: datetime) -> Decision:
    """The next step of a rollout.

    Args:
        rollout: Its state, the fold of its events.
        sums: Of the log; None if there is no row of it.
        now: The time.
    """
    if not rollout.state.is_live:
        return _decision(Step.NOTHING, f"the rollout is {rollout.state}", sums)
    if silence := _silence(rollout, sums, now):
        return replace(_decision(Step.HOLD, silence, sums), is_silent=True)
    if sums is None:
        return _decision(
            Step.WAIT,
            "waits for the first row of the log, which paretoscope monitor has to read",
            sums,
        )
    readings = read_guardrails(rollout, sums)
    step, reason = _step(rollout, sums, readings)
    return _decision(step, reason, sums, readings)


def _step(rollout: Rollout, sums: RolloutSums, readings: Mapping[str, Reading]) -> tuple[Step, str]:
    """The next step where there is data, and why."""
    if harmed := readings_of(readings, Verdict.ROLL_BACK):
        automatic = rollout.plan.config.automatic.rollback
        remedy = "" if automatic else "; rollout.automatic.rollback is false"
        step = Step.ROLL_BACK if automatic else Step.HOLD
        return step, f"harm is proven: {_summaries(harmed)}{remedy}"
    if fault := _fault(rollout, sums, readings):
        return Step.HOLD, fault
    if (hold := rollout.hold) is not None:
        if rollout.is_held_by_person:
            return Step.WAIT, f"held by {hold.who}: {hold.reason}"
        return Step.RESUME, f"no longer so: {hold.reason}"
    if missing := _missing(rollout, sums, readings):
        return Step.WAIT, f"waits: {'; '.join(missing)}"
    return Step.ADVANCE, _summaries(readings.values())


def _silence(rollout: Rollout, sums: RolloutSums | None, now: datetime) -> str | None:
    """Why there is no data: neither a row nor the stage is young enough."""
    began, limit = rollout.stage_starts[-1], rollout.plan.config.no_data_minutes
    newest = began if sums is None else max(sums.newest, began)
    minutes = (now - newest).total_seconds() / 60
    if minutes <= limit:
        return None
    what = (
        "the newest row of the log" if sums and sums.newest > began else "the stage without a row"
    )
    return f"no data: {what} is {minutes:.0f} minutes old; expected at most {limit:g}"


def _fault(rollout: Rollout, sums: RolloutSums, readings: Mapping[str, Reading]) -> str | None:
    """Why the comparison cannot be trusted, or a signal is harmed."""
    ratio, fewest = sums.sample_ratio, rollout.plan.fewest_users
    counted = ", ".join(f"{n} users of the {arm}" for arm, n in sums.users.items())
    if ratio is not None and ratio > LARGEST_E_VALUE:
        return (
            f"sample ratio: the stage's users contradict a share of {rollout.share:.2%} (e-value {ratio:.3g}; "
            f"expected at most {LARGEST_E_VALUE:g}; since the start {counted}). Look at how users are assigned "
            "and logged"
        )
    unknown = [one for one in readings.values() if one.comparison is None]
    if unknown and (
        _smaller_arm(sums) >= fewest or any(one.name not in sums.kpis for one in unknown)
    ):
        return _summaries(unknown)
    if harmed := [one for one in readings.values() if one.is_signal and one.is_harmed]:
        return f"a signal is harmed: {_summaries(harmed)}"
    return None


def _missing(rollout: Rollout, sums: RolloutSums, readings: Mapping[str, Reading]) -> list[str]:
    """What the next stage waits for."""
    stage = stage_of(rollout)
    found = list[str]()
    days = (sums.newest - rollout.stage_starts[-1]).total_seconds() / 86_400
    if days < 0:
        found.append("no row of the log since the stage began")
    elif days < stage.days:
        found.append(f"{days:.2f} of {counted(stage.days, 'day')}")
    if (users := _smaller_arm(sums)) < stage.users:
        found.append(f"{users} of {stage.users} users in the smaller arm since the start")
    waiting = [one for one in readings_of(readings, Verdict.HOLD) if one.waits_for or not found]
    found += [
        f"{one.summary}; expected {one.waits_for or counted(stage.days, 'day') + ' of impressions'}"
        for one in waiting
    ]
    if awaited := rollout.awaited_stage:
        found.append(f"a person's approval: paretoscope rollout approve {awaited.name}")
    return found


def _smaller_arm(sums: RolloutSums) -> int:
    return min(sums.users.values(), default=0)


def _summaries(readings: Any) -> str:
    return "; ".join(one.summary for one in readings)


def _decision(
    step: Step,
    reason: str,
    sums: RolloutSums | None,
    readings: Mapping[str, Reading] | None = None,
) -> Decision:
    found = readings or {}
    evidence: dict[str, Any] = {name: asdict(one) for name, one in found.items()}
    if sums is not None:
        evidence |= {
            "newest": sums.newest.isoformat(),
            "users": {arm.value: users for arm, users in sums.users.items()},
            "sample_ratio": sums.sample_ratio,
        }
    return Decision(step=step, reason=reason, readings=found, evidence=evidence)
