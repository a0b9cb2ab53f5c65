"""What is in production, whether a release may be proposed, and what a person types next."""

from pipeline.artifacts.storage import StudyPaths
from pipeline.rollout.fold import Rollout
from pipeline.rollout.gates import GatedPlan
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.served import Arm
from pipeline.rollout.store import RolloutRefused, current_rollout, read_rollout, releases
from pipeline.rollout.text import next_step


def arm_in_production(paths: StudyPaths) -> Arm | None:
    """What the last release has left in production; None if the study never had one.

    Raises:
        DataError: if no readable release is under way, and the events of one are damaged.
    """
    last = current_rollout(paths)
    return None if last is None else last.production


def check_proposal(paths: StudyPaths, plan: RolloutPlan) -> None:
    """Raise unless the release may be the next: no other is under way, and its incumbent is in production.

    Raises:
        RolloutRefused: if it may not.
        DataError: if the events of a release are damaged.
    """
    release = plan.config.release
    others = [read_rollout(paths, name) for name in releases(paths) if name != release]
    for other in others:
        if other is not None and not other.state.is_final:
            stage = f" in stage {other.stage.name}" if other.stage else ""
            msg = (
                f"release {other.release} is {other.state}{stage} with a share of {other.share:.2%}; expected "
                "one release at a time. Wait until it is settled, or end it: paretoscope rollout rollback"
            )
            raise RolloutRefused(msg)
    served = arm_in_production(paths)
    if release not in releases(paths) and served not in {None, plan.incumbent}:
        msg = (
            f"rollout_plan compares {plan.candidate.with_model} with {plan.incumbent.with_model}, but "
            f"{(served or plan.incumbent).with_model} is in production since; check the candidate again: dagster asset "
            "materialize --select 'candidate_gate_offline*'"
        )
        raise RolloutRefused(msg)


def proposal_line(paths: StudyPaths, gated: GatedPlan) -> str:
    """Where the release of a plan is, and what a person types next.

    Raises:
        DataError: if the events of a release are damaged.
    """
    plan = gated.plan
    what = f"release {plan.config.release}, {plan.candidate.with_model}"
    rollout = read_rollout(paths, plan.config.release)
    if rollout is not None:
        return "; ".join(one for one in (f"{what}, is {rollout.state}", _next(rollout)) if one)
    try:
        check_proposal(paths, plan)
    except RolloutRefused as refused:
        return f"{what}, has passed its gates and waits: {refused}"
    return f"{what}, has passed its gates and waits for a person: paretoscope rollout start"


def _next(rollout: Rollout) -> str | None:
    return None if rollout.state.is_final else next_step(rollout)
