"""The hypotheses that several studies share, pooled: ``paretoscope meta-analysis``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from pipeline.core.errors import DataError, StudyError
from pipeline.inference.meta.meta_analysis import Forecast, PooledSlope, forecast, pool_slopes
from pipeline.inference.meta.surrogate_slope import (
    MeasuredGroups,
    TotalCovariance,
    total_covariance,
)
from pipeline.inference.report_files import Answer, Report, read_reports, require_same
from pipeline.inference.sensitivity.errors_in_variables import relative_change_covariance


@dataclass(frozen=True, slots=True)
class ExcludedStudy:
    """A study that says nothing of a hypothesis.

    Attributes:
        study: The path of its report.
        because: The reason.
    """

    study: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledHypothesis:
    """One metric and KPI over several studies.

    Attributes:
        metric: The offline metric.
        cutoff: The k it is measured at; None where the reports do not say or it has none.
        kpi: The KPI.
        response: The KPI that was fitted.
        studies: Paths of the reports that were pooled.
        left_out: The others.
        pooled: The slope of the log odds, of amounts of the log rate; None where it is undefined.
        undefined_because: The reason where it is.
        largest_change: The largest x in the pooled studies, a fraction; beyond it nothing is known.
        foretold: What the gain that was asked for makes of the KPI.
        total_covariance: The slope over all group contrasts, free of noise; None where undefined.
        total_covariance_undefined_because: The reason where it is.
    """

    metric: str
    cutoff: int | None
    kpi: str
    response: str
    studies: tuple[str, ...]
    left_out: tuple[ExcludedStudy, ...]
    pooled: PooledSlope | None
    undefined_because: str | None
    largest_change: float | None
    foretold: Forecast | None
    total_covariance: TotalCovariance | None
    total_covariance_undefined_because: str | None

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return asdict(self)


def pool_studies(
    paths: Sequence[Path], *, level: float, gain: float | None = None
) -> list[PooledHypothesis]:
    """Pool the hypotheses of several reports, matched by metric and KPI.

    Args:
        paths: Of two or more ``report.json``, each of another experiment.
        level: Coverage the intervals aim at.
        gain: A relative change of the metrics to foretell the KPIs for.

    Raises:
        DataError: if a file is no report, an experiment is there twice, or no two reports speak of
            the same metric and KPI in the same way.
        StudyError: if ``gain`` is out of range.
    """
    if gain is not None and not -1 < gain <= 1:
        msg = f"--gain {gain:g}: expected a fraction above -1 and up to 1; 0.02 is 2 % more"
        raise StudyError(msg)
    reports = read_reports(paths)
    declared = [(a.metric, a.kpi) for report in reports.values() for a in report.hypotheses]
    pairs = dict.fromkeys(declared)
    if (
        max(sum(report.answer(*pair) is not None for report in reports.values()) for pair in pairs)
        < 2
    ):
        found = ", ".join(f"{metric} on {kpi}" for metric, kpi in pairs)
        msg = (
            f"no two of the {len(reports)} reports have a hypothesis in common; they have {found}. "
            "Declare the same metric and KPI in each (regression.hypotheses in params.yaml)"
        )
        raise DataError(msg)
    return [_pool(metric, kpi, reports, level=level, gain=gain) for metric, kpi in pairs]


def _pool(
    metric: str, kpi: str, reports: Mapping[str, Report], *, level: float, gain: float | None
) -> PooledHypothesis:
    answers = {path: report.answer(metric, kpi) for path, report in reports.items()}
    declared = {path: answer for path, answer in answers.items() if answer}
    cutoffs = {path: reports[path].cutoff_of(metric) for path in declared}
    usable = {path: answer for path, answer in declared.items() if not answer.unusable_because}
    pooled = _pooled_slope(list(usable.values()), level=level)
    contrasts = _total_covariance(usable, level=level)
    return PooledHypothesis(
        metric=metric,
        cutoff=require_same(f"the cutoff of {metric}", cutoffs),
        kpi=kpi,
        response=require_same(
            f"the response of {kpi}", {p: a.response for p, a in declared.items()}
        ),
        studies=tuple(usable),
        left_out=tuple(
            ExcludedStudy(path, (answer and answer.unusable_because) or "it does not declare it")
            for path, answer in answers.items()
            if path not in usable
        ),
        pooled=None if isinstance(pooled, str) else pooled,
        undefined_because=pooled if isinstance(pooled, str) else None,
        largest_change=max((p.x or 0.0 for a in usable.values() for p in a.points), default=None),
        foretold=None
        if gain is None or isinstance(pooled, str)
        else _foretold(list(usable.values()), pooled, gain),
        total_covariance=None if isinstance(contrasts, str) else contrasts,
        total_covariance_undefined_because=contrasts if isinstance(contrasts, str) else None,
    )


def _pooled_slope(usable: Sequence[Answer], *, level: float) -> PooledSlope | str:
    if not usable:
        return "no study has a slope that can be pooled"
    errors = [a.user_clustered.standard_error for a in usable if a.user_clustered]
    return pool_slopes(
        np.array([a.slope for a in usable], dtype=np.float64), np.array(errors), level=level
    )


def _foretold(usable: Sequence[Answer], pooled: PooledSlope, gain: float) -> Forecast:
    return forecast(pooled, gain=gain, rate=_rate(usable), family=usable[0].link)


def _rate(usable: Sequence[Answer]) -> float:
    """Successes over trials in all studies."""
    points = [point for answer in usable for point in answer.points]
    return sum(point.successes for point in points) / sum(point.trials for point in points)


def _total_covariance(usable: Mapping[str, Answer], *, level: float) -> TotalCovariance | str:
    experiments: list[MeasuredGroups] = []
    for path, answer in usable.items():
        groups = measured_groups(answer)
        if isinstance(groups, str):
            return f"{path}: {groups}"
        experiments.append(groups)
    return total_covariance(experiments, level=level)


def measured_groups(answer: Answer) -> MeasuredGroups | str:
    """The groups' relative changes and linked rates with their noise, or why they are not known.

    The errors of metrics (held-out sessions) and KPIs (users) have nothing in common.
    """
    if answer.metric_covariance is None:
        return "metric_covariance, the metrics' errors, is not in the report"
    values, x, rate, error = np.array(
        [(p.metric_value, p.x, p.rate, p.standard_error) for p in answer.points], dtype=np.float64
    ).T
    with np.errstate(divide="ignore", invalid="ignore"):
        linked, noise = answer.link.link(rate), (error / answer.link.variance(rate)) ** 2
    if not (np.isfinite(linked) & (error > 0)).all():
        return "a group's rate is 0 or 1, or its error is not known"
    noise_of_x = relative_change_covariance(values, np.array(answer.metric_covariance))
    return MeasuredGroups(
        proxy=x,
        kpi=linked,
        noise=np.asarray(block_diag(noise_of_x, np.diag(noise)), dtype=np.float64),
    )
