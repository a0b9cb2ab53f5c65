"""The offline gate: metrics of the candidate, paired with the incumbent's over the test sessions."""

import math
from dataclasses import replace

import polars as pl

from pipeline.artifacts.storage import StudyPaths, read_table
from pipeline.core.contracts import ALL_TARGETS
from pipeline.core.errors import StudyError
from pipeline.rollout.gates import Gate, GateEvidence
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.served import Arm
from pipeline.steps.rollout_gates.not_worse import Change, evidence_of, failed
from pipeline.study.rollout import OfflineGate


def check_offline(gate: OfflineGate, plan: RolloutPlan, paths: StudyPaths) -> GateEvidence:
    """Compare the arms in every metric of the gate.

    Two preferences of one model are evaluated on the same sessions, so that their errors are correlated; those
    of two models are taken as independent.

    Raises:
        StudyError: if a metric is not computed.
        MissingArtifact: if the metrics of a study are missing.
    """
    changes = list[Change]()
    for metric, margin in gate.not_worse.items():
        change = _change(metric, margin, plan, paths)
        if change is None:
            return failed(
                Gate.OFFLINE,
                f"{metric} or its error is 0 or undefined for one of the two; it has no ratio",
            )
        changes.append(change)
    return evidence_of(Gate.OFFLINE, changes, level=plan.config.level)


def _change(metric: str, margin: float, plan: RolloutPlan, paths: StudyPaths) -> Change | None:
    new, old = (_row(metric, arm, paths) for arm in (plan.candidate, plan.incumbent))
    values = new["value"], old["value"]
    if any(value is None or not value > 0 for value in values):
        return None
    variances = [_covariance(metric, arm, arm, paths) for arm in (plan.candidate, plan.incumbent)]
    shared = _covariance(metric, plan.candidate, plan.incumbent, paths)
    if variances[0] is None or variances[1] is None or shared is None:
        return None
    relative = [variance / value**2 for variance, value in zip(variances, values, strict=True)]
    variance = sum(relative) - 2 * shared / (values[0] * values[1])
    sign = 1 if new["higher_is_better"] else -1
    return Change(
        name=metric,
        log_ratio=sign * math.log(values[0] / values[1]),
        standard_error=math.sqrt(max(variance, 0.0)),  # negative by rounding alone
        margin=margin,
    )


def _row(metric: str, arm: Arm, paths: StudyPaths) -> dict[str, float]:
    own = replace(paths, name=arm.study_name(paths))
    table = read_table(own.require("offline_metrics", "offline_metrics.parquet"))
    found = table.filter(
        pl.col("metric") == metric,
        pl.col("segment") == ALL_TARGETS,
        pl.col("preference_id") == arm.preference_id,
    )
    if found.is_empty():
        known = ", ".join(sorted(table["metric"].unique()))
        msg = f"rollout.gates.offline.not_worse: {metric} of {arm.preference_id} is not computed; expected {known}"
        raise StudyError(msg)
    return found.row(0, named=True)


def _covariance(metric: str, one: Arm, other: Arm, paths: StudyPaths) -> float | None:
    """Of the errors of two values; 0 for two models, None where it is undefined."""
    if one.model != other.model:
        return 0.0
    own = replace(paths, name=one.study_name(paths))
    table = read_table(own.require("offline_metrics", "offline_metric_covariance.parquet"))
    found = table.filter(
        pl.col("metric") == metric,
        pl.col("preference_id") == one.preference_id,
        pl.col("other_preference_id") == other.preference_id,
    )["covariance"]
    return found[0] if len(found) else None
