"""The offline gate: metrics of the candidate, paired with the incumbent's over the test sessions."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from pipeline.artifacts.storage import StudyPaths, read_table
from pipeline.core.contracts import ALL_TARGETS
from pipeline.core.errors import DataError, StudyError
from pipeline.evaluation.metric_registry import build_metrics
from pipeline.experiment.design.optimal_design.measured_front import Floats, covariance_of
from pipeline.rollout.gates import Gate, GateEvidence
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.served import Arm
from pipeline.serving.ranking.snapshot import paths_of_arm
from pipeline.steps.rollout_gates.arm_lists import arm_lists
from pipeline.steps.rollout_gates.not_worse import Change, evidence_of, failed
from pipeline.study import Study
from pipeline.study.rollout import OfflineGate

_NO_RATIO = "{} or its error is 0 or undefined for one of the two; it has no ratio"


def check_offline(
    gate: OfflineGate, plan: RolloutPlan, study: Study, paths: StudyPaths
) -> GateEvidence:
    """Compare the arms in every metric of the gate.

    Two preferences of one model are evaluated on the same sessions, so that their errors are correlated; those
    of two models are taken as independent. Offline metrics are of the model alone: arms with different rules
    are compared by the lists that users would get.

    Raises:
        StudyError: if a metric is not computed.
        MissingArtifact: if the metrics of a study are missing.
        LogError: if a study has the model of an arm no longer.
    """
    if plan.candidate.rules != plan.incumbent.rules:
        return _check_lists(gate, plan, study, paths)
    new, old = (_Measured.of(arm, paths) for arm in (plan.candidate, plan.incumbent))
    changes = list[Change]()
    for metric, margin in gate.not_worse.items():
        change = _change(metric, margin, new, old)
        if change is None:
            return failed(Gate.OFFLINE, _NO_RATIO.format(metric))
        changes.append(change)
    return evidence_of(Gate.OFFLINE, changes, level=plan.config.level)


def _check_lists(
    gate: OfflineGate, plan: RolloutPlan, study: Study, paths: StudyPaths
) -> GateEvidence:
    """Compare the places of the last clicks of test sessions in the lists of both arms."""
    config = study.evaluation
    known, directions = build_metrics(config), config.metrics(study.training.losses)
    if unknown := sorted(set(gate.not_worse) - set(known)):
        return failed(
            Gate.OFFLINE,
            f"{', '.join(unknown)}: of lists under other rules, only {', '.join(known)} are computed",
        )
    lists = arm_lists(plan, study, paths)
    if config.deepest_cutoff > lists.k:
        return failed(
            Gate.OFFLINE,
            f"metrics of the first {config.deepest_cutoff} items need lists of as many, but they have {lists.k}",
        )
    try:
        found = lists.estimates(list(gate.not_worse), config)
    except DataError as error:
        return failed(Gate.OFFLINE, f"{error}: lists have places, but no scores; remove the metric")
    changes = list[Change]()
    for name, estimate in found.items():
        candidate, incumbent = (float(value) for value in estimate.value_G)
        change = _paired_change(
            name, gate.not_worse[name], (candidate, incumbent), estimate.covariance_GG
        )
        if change is None:
            return failed(Gate.OFFLINE, _NO_RATIO.format(name))
        changes.append(change if directions[name].higher_is_better else change.reversed)
    return evidence_of(Gate.OFFLINE, changes, level=plan.config.level)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """An arm, with the metrics of its model and the covariances of their errors."""

    arm: Arm
    metrics: pl.DataFrame
    covariances: pl.DataFrame

    @classmethod
    def of(cls, arm: Arm, paths: StudyPaths) -> Self:
        own = paths_of_arm(arm, paths)
        return cls(
            arm=arm,
            metrics=read_table(own.require("offline_metrics", "offline_metrics.parquet")),
            covariances=read_table(
                own.require("offline_metrics", "offline_metric_covariance.parquet")
            ),
        )

    def value(self, metric: str) -> tuple[float | None, bool]:
        """Of the arm, and whether higher is better."""
        found = self.metrics.filter(
            metric=metric, segment=ALL_TARGETS, preference_id=self.arm.preference_id
        )
        if found.is_empty():
            known = ", ".join(sorted(self.metrics["metric"].unique()))
            msg = (
                f"rollout.gates.offline.not_worse: {metric} of {self.arm.preference_id} is not computed; expected "
                f"{known}"
            )
            raise StudyError(msg)
        return found["value"][0], found["higher_is_better"][0]


def _change(metric: str, margin: float, new: _Measured, old: _Measured) -> Change | None:
    (candidate, is_higher_better), (incumbent, _) = new.value(metric), old.value(metric)
    covariance = _covariance(metric, new, old)
    if covariance is None or candidate is None or incumbent is None:
        return None
    change = _paired_change(metric, margin, (candidate, incumbent), covariance)
    return change if change is None or is_higher_better else change.reversed


def _paired_change(
    metric: str, margin: float, values: tuple[float, float], covariance: Floats
) -> Change | None:
    """The change between two values above 0 whose errors have this covariance; None if there is no ratio."""
    candidate, incumbent = values
    if not (min(values) > 0 and np.isfinite(covariance).all()):
        return None
    gradient = np.array([1 / candidate, -1 / incumbent])
    variance = float(gradient @ covariance @ gradient)
    return Change(
        name=metric,
        log_ratio=math.log(candidate / incumbent),
        standard_error=math.sqrt(max(variance, 0.0)),  # negative by rounding alone
        margin=margin,
    )


def _covariance(metric: str, new: _Measured, old: _Measured) -> Floats | None:
    """Of the errors of both values, 2 × 2; of two models they are independent. None where it is undefined."""
    ids = [one.arm.preference_id for one in (new, old)]
    if new.arm.model == old.arm.model:
        return covariance_of(new.covariances, metric, ids)
    own = [
        covariance_of(one.covariances, metric, [name])
        for one, name in zip((new, old), ids, strict=True)
    ]
    known = [float(one[0, 0]) for one in own if one is not None]
    return np.diag(known) if len(known) == len(own) else None
