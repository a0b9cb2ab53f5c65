"""One step of a rollout: read the sums, decide, append, replace ``rollout.json``."""

from datetime import datetime

from pipeline.artifacts.storage import StudyPaths
from pipeline.rollout.changes import Change, advanced, held, resumed, rolled_back
from pipeline.rollout.decisions.decide import Decision, Step, decide
from pipeline.rollout.decisions.recorded import record_decision
from pipeline.rollout.events import Actor
from pipeline.rollout.fold import Rollout
from pipeline.rollout.store import Author, change_rollout
from pipeline.rollout.sums import RolloutSums

SENSOR = Author(by=Actor.SENSOR, who="rollout watch")


def watch_rollout(
    paths: StudyPaths, rollout: Rollout, sums: RolloutSums | None, now: datetime
) -> tuple[Rollout, Decision]:
    """Decide on a release, do it, and record the decision.

    Decisions are made again under the lock, from what is then its state.

    Args:
        paths: Of the study.
        rollout: Its state; its release is what counts.
        sums: Of the log.
        now: The time.

    Returns:
        The state after it, and the decision.
    """
    decisions = list[Decision]()

    def change(current: Rollout | None) -> Change | None:
        decisions.append(decide(current or rollout, sums, now))
        return _change(current or rollout, decisions[-1])

    after = change_rollout(paths, rollout.release, SENSOR, change)
    record_decision(paths, rollout.release, decisions[-1], now)
    return after, decisions[-1]


def _change(rollout: Rollout, decision: Decision) -> Change | None:
    """The event of a decision; a hold that lasts is not appended again."""
    match decision.step:
        case Step.ROLL_BACK:
            return rolled_back(rollout, decision.reason, decision.evidence)
        case Step.HOLD if rollout.hold is None:
            return held(rollout, decision.reason, decision.evidence)
        case Step.RESUME:
            return resumed(rollout, decision.reason)
        case Step.ADVANCE:
            return advanced(rollout, decision.reason, decision.evidence)
        case _:
            return None
