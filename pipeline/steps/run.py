"""Run the chain, or the part of it that leads to one asset, in the order of the asset graph."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.artifacts.lock import study_lock
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.asset_graph import ASSET_GRAPH, assets_of
from pipeline.core.errors import StudyError
from pipeline.steps import data, experiment, inference, model, policies
from pipeline.steps.result import StepResult
from pipeline.steps.rollout_gates import steps as rollout_gates
from pipeline.steps.storage import on_storage
from pipeline.study import Study

Step = Callable[[Study, StudyPaths], StepResult[Any]]

STEPS: Mapping[str, Step] = {
    "raw_events": data.check_raw_events,
    "events": data.ingest_events,
    "sessions": data.prepare_sessions,
    "conditioned_model": model.fit_model,
    "preference_scores": model.score_preferences,
    "offline_metrics": model.compute_offline_metrics,
    "pareto_front": model.find_pareto_front,
    "traffic_plan": experiment.plan_traffic,
    "experiment_log_files": experiment.collect_log_files,
    "experiment_log": experiment.ingest_log,
    "group_kpis": experiment.aggregate_kpis,
    "regression_estimates": inference.estimate_slopes,
    "regression_report": inference.write_regression_report,
    "paired_lists": policies.pair_experiment_lists,
    "counterfactual_estimates": policies.estimate_counterfactuals,
    "counterfactual_report": policies.write_counterfactual_report,
    "candidate_gate_offline": rollout_gates.check_candidate_offline,
    "candidate_gate_counterfactual": rollout_gates.check_candidate_counterfactual,
    "candidate_gate_simulation": rollout_gates.check_candidate_simulation,
    "rollout_plan": rollout_gates.write_rollout_plan,
}
"""The step of every asset of the graph, in its order."""

_log = logging.getLogger(__name__)


def run(
    study: Study, paths: StudyPaths, until: str = "regression_report"
) -> dict[str, StepResult[Any]]:
    """Run every step that ``until`` is derived from, then its own; returns the results in order.

    Waits while another process writes artifacts of the study.

    A study of external variants has no model, and begins with its traffic plan.

    Raises:
        StudyError: if ``until`` is not an asset of the study.
        ParetoscopeError, ModelError: as the steps do.
    """
    with study_lock(paths, f"a run of the steps to {until}"):
        return {asset: run_step(asset, study, paths) for asset in steps_until(study, until)}


def run_step(asset: str, study: Study, paths: StudyPaths) -> StepResult[Any]:
    """Run one step on the artifacts that exist.

    Raises:
        StudyError: if there is no such asset.
        ParetoscopeError, ModelError: as the step does.
    """
    if asset not in STEPS:
        msg = f"{asset!r} is not an asset; expected one of {', '.join(STEPS)}"
        raise StudyError(msg)
    with study_lock(paths, f"the step {asset}"):
        started = time.perf_counter()
        with on_storage(asset, study, paths):
            result = STEPS[asset](study, paths)
    _log.info("%s: done in %.1f s", asset, time.perf_counter() - started)
    return result


def steps_until(study: Study, until: str) -> list[str]:
    """The assets that ``until`` is derived from, in order, and itself.

    Raises:
        StudyError: if the study has no such asset.
    """
    assets = list(assets_of(trains=study.trains))
    if until not in assets:
        msg = (
            f"{until!r} is not an asset of {study.study.name}; expected one of {', '.join(assets)}"
        )
        raise StudyError(msg)
    needed = {until}
    for asset in reversed(ASSET_GRAPH):
        if asset in needed:
            needed.update(ASSET_GRAPH[asset])
    return [asset for asset in assets if asset in needed]
