"""One step of the study's rollout, from the sums of its monitor."""

from datetime import datetime

from pipeline.artifacts.storage import StudyPaths
from pipeline.monitoring.rollout_sums import read_rollout_sums
from pipeline.monitoring.status import monitoring_folder
from pipeline.rollout import operations
from pipeline.rollout.decisions.decide import Decision
from pipeline.rollout.fold import Rollout
from pipeline.rollout.watch import watch_rollout


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
