"""Consistency of a traffic plan with the offline metrics, the model and a running experiment."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import polars as pl

from models.checkpoint import checkpoint_fingerprint
from pipeline.artifacts.kept_models import paths_of_model
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import LogError
from pipeline.experiment.design.traffic_plan import TrafficPlan


def check_same_preferences(plan: TrafficPlan, offline_metrics: pl.DataFrame) -> None:
    """Check that the groups' preferences are those of the offline metrics.

    Raises:
        LogError: if the preference grid changed after the plan was made.
    """
    computed = dict(offline_metrics.select("preference_id", "preference").unique().iter_rows())
    for group in plan.groups:
        found = computed.get(group.preference_id)
        if found is None or not np.allclose(found, group.preference):
            msg = (
                f"group {group.name} was served under {list(group.preference)}, but preference "
                f"{group.preference_id} of the offline metrics is {found}; materialise "
                "'traffic_plan' and its downstream assets again, or restore evaluation.preferences"
            )
            raise LogError(msg)


def paths_of_plan(plan: TrafficPlan, paths: StudyPaths) -> StudyPaths:
    """The study's paths with the model that serves the plan's groups, also if another was trained since.

    Raises:
        LogError: if the study has that model no longer; the metrics of another do not apply to the log.
    """
    if plan.model is None:
        return paths
    found = paths_of_model(paths, plan.model)
    if found is None:
        current = checkpoint_fingerprint(paths.require("conditioned_model"))
        msg = (
            f"experiment {plan.experiment!r} is served by model {plan.model[:12]}, but "
            f"'conditioned_model' is now {current[:12]}; restore that model and its "
            "'offline_metrics', or materialise 'traffic_plan' and its downstream assets again"
        )
        raise LogError(msg)
    return found


def check_has_users(plan: TrafficPlan, users: int) -> None:
    """Check that at least one user is in the experiment.

    Raises:
        LogError: if the experiment is disabled or has no users.
    """
    if not plan.enabled or not users:
        msg = (
            f"experiment {plan.experiment!r} has no users to simulate: enabled = {plan.enabled}, "
            f"traffic_share = {plan.traffic_share}, holdout = {plan.holdout}; change them in the "
            "section experiment of params.yaml and materialise 'traffic_plan' again"
        )
        raise LogError(msg)


def check_not_running(running: TrafficPlan, new: TrafficPlan) -> None:
    """Check that a running experiment keeps its assignment.

    ``enabled``, ``forced_assignment``, the incumbent and a higher ``traffic_share`` move no user between
    groups and may change. Anything else needs a new experiment name.

    Raises:
        LogError: if both plans are of the same experiment and differ in anything else.
    """
    if running.experiment != new.experiment:
        return
    if new.traffic_share < running.traffic_share:
        msg = (
            f"experiment.traffic_share = {new.traffic_share} is below the {running.traffic_share} of "
            f"the running experiment {new.experiment!r} and would drop users from it; it can only be "
            "raised. To stop the experiment set experiment.enabled: false"
        )
        raise LogError(msg)
    may_change: dict[str, Any] = {
        "enabled": True,
        "traffic_share": 1.0,
        "forced_assignment": {},
        "incumbent": None,
    }
    before, after = asdict(replace(running, **may_change)), asdict(replace(new, **may_change))
    changed = [name for name, value in after.items() if before[name] != value]
    if changed:
        msg = (
            f"experiment {new.experiment!r} is running with a different {' and '.join(changed)}, so "
            "its log would be attributed to the wrong plan; give the new experiment another "
            "experiment.name and experiment.salt"
        )
        raise LogError(msg)
