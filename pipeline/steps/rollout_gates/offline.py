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
    candidate, incumbent = plan.candidate, plan.incumbent
    new, is_higher_better = _value(metric, candidate, paths)
    old, _ = _value(metric, incumbent, paths)
    own = _covariance(metric, candidate, candidate, paths)
    other = _covariance(metric, incumbent, incumbent, paths)
    shared = _covariance(metric, candidate, incumbent, paths)
    if own is None or other is None or shared is None:
        return None
    if new is None or old is None or min(new, old) <= 0:
        return None
    variance = own / new**2 + other / old**2 - 2 * shared / (new * old)
    return Change(
        name=metric,
        log_ratio=math.log(new / old) * (1 if is_higher_better else -1),
        standard_error=math.sqrt(max(variance, 0.0)),  # negative by rounding alone
        margin=margin,
    )


def _value(metric: str, arm: Arm, paths: StudyPaths) -> tuple[float | None, bool]:
    """Of an arm, and whether higher is better."""
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
    return found["value"][0], found["higher_is_better"][0]


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
