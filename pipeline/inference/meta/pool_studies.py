"""The hypotheses that several studies share, pooled: ``paretoscope meta-analysis``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy.linalg import block_diag

from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError, StudyError
from pipeline.inference.meta.meta_analysis import forecast, pool_slopes
from pipeline.inference.meta.surrogate_slope import MeasuredGroups, total_covariance
from pipeline.inference.sensitivity.errors_in_variables import relative_change_covariance
from pipeline.results.document import Report
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.pooled import (
    ExcludedStudy,
    Forecast,
    MetaAnalysis,
    PooledHypothesis,
    PooledSlope,
    TotalCovariance,
)
from pipeline.results.reader import cutoff_of, read_reports
from pipeline.results.reasons import ExclusionReason, UndefinedReason

_Value = TypeVar("_Value")
_Results = Mapping[str, HypothesisResult]
"""One hypothesis of several studies, by path of the report."""


def pool_studies(paths: Sequence[Path], *, level: float, gain: float | None = None) -> MetaAnalysis:
    """Pool the hypotheses of several reports, matched by metric and KPI.

    Args:
        paths: Two or more ``report.json``, each of a different experiment.
        level: Nominal coverage of the intervals.
        gain: A relative change of the metrics to predict the KPIs for.

    Raises:
        DataError: if a file is not a report, an experiment occurs twice, or no two reports have a
            hypothesis in common.
        StudyError: if ``gain`` is out of range.
    """
    if gain is not None and not -1 < gain <= 1:
        msg = f"gain = {gain:g}: expected a fraction above -1 and up to 1; 0.02 is 2% more"
        raise StudyError(msg)
    reports = read_reports(paths)
    by_pair: dict[tuple[str, Kpi], dict[str, HypothesisResult]] = {}
    for path, report in reports.items():
        for one in report.hypotheses:
            by_pair.setdefault((one.metric, one.kpi), {}).setdefault(path, one)
    if max(len(results) for results in by_pair.values()) < 2:
        found = ", ".join(f"{metric} on {kpi}" for metric, kpi in by_pair)
        msg = (
            f"no two of the {len(reports)} reports have a hypothesis in common; found {found}. "
            "Declare the same metric and KPI in each (regression.hypotheses in params.yaml)"
        )
        raise DataError(msg)
    pooled = (_pool(results, reports, level=level, gain=gain) for results in by_pair.values())
    return MetaAnalysis(hypotheses=tuple(pooled))


def _pool(
    declared: _Results, reports: Mapping[str, Report], *, level: float, gain: float | None
) -> PooledHypothesis:
    first = next(iter(declared.values()))
    cutoffs = {path: cutoff_of(reports[path], first.metric) for path in declared}
    responses = {path: one.response for path, one in declared.items()}
    usable = {path: one for path, one in declared.items() if one.exclusion_reason is None}
    pooled = _pooled_slope(list(usable.values()), level=level)
    slope = None if isinstance(pooled, UndefinedReason) else pooled
    contrasts, where = _total_covariance(usable, level=level)
    undefined = isinstance(contrasts, UndefinedReason)
    return PooledHypothesis(
        metric=first.metric,
        cutoff=_require_same(f"the cutoff of {first.metric}", cutoffs),
        kpi=first.kpi,
        response=_require_same(f"the response of {first.kpi}", responses) or first.response,
        studies=tuple(usable),
        excluded=tuple(
            _excluded(path, declared.get(path)) for path in reports if path not in usable
        ),
        pooled=slope,
        undefined_reason=pooled if isinstance(pooled, UndefinedReason) else None,
        largest_change=max((p.x or 0.0 for a in usable.values() for p in a.points), default=None),
        forecast=None if gain is None or slope is None else _forecast(usable, slope, gain),
        total_covariance=None if undefined else contrasts,
        total_covariance_undefined_reason=contrasts if undefined else None,
        total_covariance_undefined_in=where,
    )


def _require_same(what: str, by_study: Mapping[str, _Value | None]) -> _Value | None:
    """The one value of all studies, ignoring None.

    Raises:
        DataError: if there are several.
    """
    known = {study: value for study, value in by_study.items() if value is not None}
    if len(set(known.values())) > 1:
        found = ", ".join(f"{value} in {study}" for study, value in known.items())
        msg = f"{what} differs: {found}; pool studies with the same"
        raise DataError(msg)
    return next(iter(known.values()), None)


def _excluded(path: str, result: HypothesisResult | None) -> ExcludedStudy:
    reason = result.exclusion_reason if result else None
    return ExcludedStudy(
        study=path,
        reason=reason or ExclusionReason.NOT_DECLARED,
        undefined_reason=result.undefined_reason if result else None,
    )


def _pooled_slope(
    usable: Sequence[HypothesisResult], *, level: float
) -> PooledSlope | UndefinedReason:
    if not usable:
        return UndefinedReason.NO_STUDY
    errors = [one.cluster_robust.standard_error for one in usable if one.cluster_robust]
    slopes = np.array([one.slope for one in usable], dtype=np.float64)
    return pool_slopes(slopes, np.array(errors), level=level)


def _forecast(usable: _Results, pooled: PooledSlope, gain: float) -> Forecast:
    """The KPI's change from its rate in all studies."""
    points = [point for one in usable.values() for point in one.points]
    rate = sum(point.successes for point in points) / sum(point.trials for point in points)
    return forecast(pooled, gain=gain, rate=rate, family=next(iter(usable.values())).link)


def _total_covariance(
    usable: _Results, *, level: float
) -> tuple[TotalCovariance | UndefinedReason, str | None]:
    """The total covariance; or why there is none, and in which study, if it is one."""
    studies: list[MeasuredGroups] = []
    for path, result in usable.items():
        groups = measured_groups(result)
        if isinstance(groups, UndefinedReason):
            return groups, path
        studies.append(groups)
    return total_covariance(studies, level=level), None


def measured_groups(result: HypothesisResult) -> MeasuredGroups | UndefinedReason:
    """The groups' relative changes and linked rates with their noise, or why they are unknown.

    The errors of metrics (test sessions) and KPIs (users) are independent.
    """
    if result.metric_covariance is None:
        return UndefinedReason.METRIC_COVARIANCE_UNKNOWN
    values, x, rate, error = np.array(
        [(p.metric_value, p.x, p.rate, p.standard_error) for p in result.points], dtype=np.float64
    ).T
    with np.errstate(divide="ignore", invalid="ignore"):
        linked, noise = result.link.link(rate), (error / result.link.variance(rate)) ** 2
    if not (np.isfinite(linked) & (error > 0)).all():
        return UndefinedReason.RATE_WITHOUT_ERROR
    noise_of_x = relative_change_covariance(values, np.array(result.metric_covariance))
    return MeasuredGroups(
        proxy=x,
        kpi=linked,
        noise=np.asarray(block_diag(noise_of_x, np.diag(noise)), dtype=np.float64),
    )
