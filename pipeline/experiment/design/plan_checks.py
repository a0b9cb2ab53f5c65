"""What must agree with a traffic plan that users are served under: the preferences and the model."""

from dataclasses import asdict, replace

import numpy as np
import polars as pl

from pipeline.core.errors import LogError
from pipeline.experiment.design.traffic_plan import TrafficPlan


def check_same_preferences(plan: TrafficPlan, offline_metrics: pl.DataFrame) -> None:
    """Check that every group was served under the preference its metrics were computed for.

    Raises:
        LogError: if the grid of preferences changed after the plan was made.
    """
    measured = dict(offline_metrics.select("preference_id", "preference").unique().iter_rows())
    for group in plan.groups:
        found = measured.get(group.preference_id)
        if found is None or not np.allclose(found, group.preference):
            msg = (
                f"group {group.name} was served under {list(group.preference)}, but preference "
                f"{group.preference_id} of the offline metrics is {found}; materialise "
                "'traffic_plan' and what follows anew, or restore the study's preferences"
            )
            raise LogError(msg)


def check_same_model(plan: TrafficPlan, model: str) -> None:
    """Check that the study's model of today is the one the plan's groups are served by.

    Args:
        plan: The experiment.
        model: Fingerprint of the checkpoint of today.

    Raises:
        LogError: if it is another, whose offline metrics say nothing of what users were shown.
    """
    if plan.model is not None and plan.model != model:
        msg = (
            f"experiment {plan.experiment!r} is served by model {plan.model[:12]}, but "
            f"'conditioned_model' is {model[:12]} by now; restore that model and its "
            "'offline_metrics', or materialise 'traffic_plan' and what follows anew"
        )
        raise LogError(msg)


def check_has_users(plan: TrafficPlan, users: int) -> None:
    """Check that some of those who came are in the experiment.

    Raises:
        LogError: if it is switched off, or none of its users came.
    """
    if not plan.enabled or not users:
        msg = (
            f"experiment {plan.experiment!r} has no users: enabled = {plan.enabled}, coverage = "
            f"{plan.traffic_share}, holdout = {plan.holdout}; nothing can be simulated. Change them under "
            "'experiment' in params.yaml and materialise 'traffic_plan' anew"
        )
        raise LogError(msg)


def check_not_running(running: TrafficPlan, new: TrafficPlan) -> None:
    """Check that a plan users are being served under is not replaced under the same name.

    The experiment may be switched off and on, its coverage raised and its testers changed: none of
    it moves a user from one group to another. Nothing else may change.

    Raises:
        LogError: if it does, and both plans belong to the same experiment.
    """
    if running.experiment != new.experiment:
        return
    if new.traffic_share < running.traffic_share:
        msg = (
            f"experiment.traffic_share = {new.traffic_share} is less than the {running.traffic_share} under way in "
            f"experiment {new.experiment!r}, and users that were in it would be out; coverage only "
            "rises. To end the experiment set experiment.enabled: false"
        )
        raise LogError(msg)
    may_change = {"enabled": True, "traffic_share": 1.0, "forced_assignment": {}}
    before, after = asdict(replace(running, **may_change)), asdict(replace(new, **may_change))
    changed = [name for name, value in after.items() if before[name] != value]
    if changed:
        msg = (
            f"experiment {new.experiment!r} is under way with another {' and '.join(changed)} than "
            "the study and the model of today would give it, and its log would be read as theirs. "
            "Give the new one another experiment.name and experiment.salt"
        )
        raise LogError(msg)
