"""The hypotheses that several studies share, pooled: ``paretoscope meta-analysis``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy.linalg import block_diag

from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError, StudyError
from pipeline.inference.headline.working_response import WorkingResponse
from pipeline.inference.meta.common_slope import (
    KnownSlope,
    NoisyGroups,
    pool_around_common_slope,
)
from pipeline.inference.meta.meta_analysis import forecast
from pipeline.inference.meta.surrogate_slope import MeasuredGroups, total_covariance
from pipeline.inference.sensitivity.errors_in_variables import relative_change_covariance
from pipeline.results.document import Report
from pipeline.results.family import Family
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
from pipeline.results.reasons import ExclusionReason, UndefinedReason, Verdict

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
    _require_same(f"x_reference of {first.metric}", {p: o.x_reference for p, o in declared.items()})
    usable = {path: one for path, one in declared.items() if _exclusion_reason(one) is None}
    pooled = _pooled_slope(list(usable.values()), level=level)
    slope = None if isinstance(pooled, UndefinedReason) else pooled
    contrasts, left_out = _total_covariance(declared, level=level)
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
        attenuated=any(one.metric_covariance is None for one in declared.values()),
        total_covariance=None if undefined else contrasts,
        total_covariance_undefined_reason=contrasts if undefined else None,
        total_covariance_excluded=left_out,
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
    if result is None:
        return ExcludedStudy(study=path, reason=ExclusionReason.NOT_DECLARED)
    return ExcludedStudy(
        study=path,
        reason=_exclusion_reason(result) or ExclusionReason.UNDEFINED,
        undefined_reason=result.undefined_reason
        or (result.headline and result.headline.undefined_reason),
    )


def _exclusion_reason(result: HypothesisResult) -> ExclusionReason | None:
    """Why the headline of a study cannot be pooled; None if it can.

    A headline of two groups can: its error comes from the users, as that of all studies here. What
    the groups of a study add to it is part of τ.
    """
    if result.exclusion_reason is None and _study(result) is None:
        return ExclusionReason.UNDEFINED
    return result.exclusion_reason


def _study(result: HypothesisResult) -> KnownSlope | NoisyGroups | None:
    """A study as it is pooled; None where it has no slope.

    With a known error of the metric it needs no slope of its own, which may not exist because of that
    error: leaving it out would select studies by their luck.
    """
    if result.metric_covariance is not None:
        groups = measured_groups(result)
        return None if isinstance(groups, UndefinedReason) else _noisy_groups(result, groups)
    found = result.headline
    if found is None or found.slope is None or not found.users_standard_error:
        return None
    return KnownSlope(slope=found.slope, standard_error=found.users_standard_error)


def _noisy_groups(result: HypothesisResult, groups: MeasuredGroups) -> NoisyGroups:
    """The groups with the variance that users have at the rate of all groups.

    Users are divided at random, so the variance of a group is that of independent trials, inflated as
    in all groups together, whatever the group's own luck.
    """
    values, trials = np.array([(p.metric_value, p.trials) for p in result.points], np.float64).T
    rate, variance_of = result.link.mean(groups.kpi), result.link.variance
    own = groups.noise.diagonal()[len(values) :]
    inflation = (own * trials * variance_of(rate)).mean()
    common = variance_of(np.array(np.average(rate, weights=trials)))
    return NoisyGroups(
        x=values / values.min() - 1,
        response=WorkingResponse(
            values_G=groups.kpi, variance_G=inflation / (common * trials), users_df=np.array(np.inf)
        ),
        covariance_GG=relative_change_covariance(values, np.array(result.metric_covariance)),
    )


def _pooled_slope(
    usable: Sequence[HypothesisResult], *, level: float
) -> PooledSlope | UndefinedReason:
    if not usable:
        return UndefinedReason.NO_STUDY
    studies = [study for study in map(_study, usable) if study]
    return pool_around_common_slope(studies, level=level)


def _forecast(usable: _Results, pooled: PooledSlope, gain: float) -> Forecast:
    """The KPI's change from its rate in all studies."""
    points = [point for one in usable.values() for point in one.points]
    rate = sum(point.successes for point in points) / sum(point.trials for point in points)
    return forecast(pooled, gain=gain, rate=rate, family=next(iter(usable.values())).link)


def _total_covariance(
    declared: _Results, *, level: float
) -> tuple[TotalCovariance | UndefinedReason, tuple[ExcludedStudy, ...]]:
    """The slope over all contrasts or the reason, and the studies that are not among them.

    A study needs no slope of its own: its contrasts count whatever its groups and users.
    """
    studies: list[MeasuredGroups] = []
    excluded: list[ExcludedStudy] = []
    for path, result in declared.items():
        blocked = result.verdict is Verdict.BLOCKED
        groups = None if blocked else measured_groups(result)
        if isinstance(groups, MeasuredGroups):
            studies.append(groups)
            continue
        reason = ExclusionReason.BLOCKED if blocked else ExclusionReason.UNDEFINED
        excluded.append(ExcludedStudy(study=path, reason=reason, undefined_reason=groups))
    return total_covariance(studies, level=level), tuple(excluded)


def measured_groups(result: HypothesisResult) -> MeasuredGroups | UndefinedReason:
    """The groups' log metrics and linked rates with their noise, or why they are undefined.

    The errors of metrics (test sessions) and KPIs (users) are independent. Successes and failures of
    a rate are ½ more, so that a group without either has log odds.
    """
    values, trials, successes, rate, error = np.array(
        [(p.metric_value, p.trials, p.successes, p.rate, p.standard_error) for p in result.points],
        dtype=np.float64,
    ).T
    if np.isnan(values).any() or values.min() <= 0:
        return UndefinedReason.METRIC_NOT_POSITIVE
    if trials.min() <= 0:
        return UndefinedReason.NO_TRIALS
    binomial = result.link is Family.BINOMIAL
    rate = (successes + 0.5) / (trials + 1) if binomial else rate
    if not binomial and not rate.min() > 0:
        return UndefinedReason.RATE_NOT_POSITIVE
    variance = result.link.variance(rate)
    noise = np.where(error > 0, (error / variance) ** 2, 1 / (trials * variance))
    known, g = result.metric_covariance, len(values)
    noise_of_log = np.zeros((g, g)) if known is None else np.array(known) / np.outer(values, values)
    return MeasuredGroups(
        proxy=np.log(values),
        kpi=result.link.link(rate),
        noise=np.asarray(block_diag(noise_of_log, np.diag(noise)), dtype=np.float64),
        noise_known=known is not None,
    )
