"""One step of the study's rollout, from the sums of its monitor."""

from datetime import datetime

from models.checkpoint import checkpoint_fingerprint
from pipeline.artifacts.storage import StudyPaths, read_table
from pipeline.core.errors import USER_ERRORS
from pipeline.monitoring.rollout_sums import read_rollout_sums
from pipeline.monitoring.status import monitoring_folder
from pipeline.rollout import operations
from pipeline.rollout.decisions.decide import Decision
from pipeline.rollout.fold import Rollout
from pipeline.rollout.served import Arm
from pipeline.rollout.watch import watch_rollout
from pipeline.serving.ranking.snapshot import paths_of_arm

_FRONT = ("preference_id", "preference")


def watch_release(paths: StudyPaths, now: datetime) -> tuple[Rollout, Decision]:
    """Read the monitor's sums, decide, append and replace ``rollout.json``.

    The monitor is another process; if it has stopped, its newest row is old, and the rollout holds.

    Raises:
        RolloutRefused: if there is no release.
        DataError: if the events or the monitor's database are damaged.
    """
    rollout = operations.look(paths)
    sums = read_rollout_sums(monitoring_folder(paths), rollout)
    return watch_rollout(paths, rollout, sums, now)


def incumbent_problem(incumbent: Arm, paths: StudyPaths) -> str | None:
    """Why a rollback could not serve the incumbent: its model is gone or damaged, or has no such preference."""
    try:
        own = paths_of_arm(incumbent, paths)
        found = checkpoint_fingerprint(own.require("conditioned_model"))
        front = read_table(own.require("pareto_front", "pareto_front.parquet"))
    except USER_ERRORS as error:
        return str(error)
    name, known = incumbent.preference_id, dict(front.select(_FRONT).iter_rows())
    if found != incumbent.model:
        return (
            f"{own.artifact('conditioned_model')} has the fingerprint {found[:12]}; expected {incumbent.model[:12]}. "
            "Restore it from a backup"
        )
    if name not in known or tuple(known[name]) != incumbent.preference:
        return (
            f"{name} with the weights {list(incumbent.preference)} is not of model {found[:12]}, whose preferences are "
            f"{', '.join(known)}; roll back, and start a new release"
        )
    return None
