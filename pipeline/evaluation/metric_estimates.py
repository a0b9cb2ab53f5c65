"""Values of metrics with their standard errors and covariances, one per preference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.list_metrics import Lists, jackknife
from pipeline.evaluation.ranking_metrics import RatioTerms
from pipeline.evaluation.standard_errors import SessionSums, covariance_of, jackknife_covariance

_Sample = TypeVar("_Sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEstimate:
    """One metric under G preferences; nan where it is undefined.

    Attributes:
        value_G: Its values.
        standard_error_G: By the delta method for ratios, by the jackknife for the others.
        covariance_GG: Covariance of the values, by ``method``.
        method: ``delta``, ``bootstrap`` or ``jackknife``.
    """

    value_G: NDArray[np.float64]
    standard_error_G: NDArray[np.float64]
    covariance_GG: NDArray[np.float64]
    method: str


def sum_by_session(
    samples: Sequence[_Sample],
    metrics: Mapping[str, Callable[[_Sample], RatioTerms]],
    session: NDArray,
) -> dict[str, SessionSums]:
    """Sums of each metric's numerators and denominators by session.

    Args:
        samples: Targets or lists, one element per preference.
        metrics: The metrics, by name.
        session: Session of each target or list; the same for all preferences.
    """
    sums: dict[str, SessionSums] = {}
    for name, terms in metrics.items():
        numerators, denominators = zip(*(terms(one) for one in samples), strict=True)
        sums[name] = SessionSums.of(numerators, denominators, session)
    return sums


def estimate_ratios(
    sums: Mapping[str, SessionSums], replicates_RMG: NDArray[np.float64] | None = None
) -> dict[str, MetricEstimate]:
    """Metrics that are ratios; with bootstrap replicates of them, their covariance is theirs."""
    delta = {name: one.delta_covariance_GG() for name, one in sums.items()}
    return {
        name: MetricEstimate(
            value_G=one.ratio_G(),
            standard_error_G=np.sqrt(np.diag(delta[name])),
            covariance_GG=delta[name]
            if replicates_RMG is None
            else covariance_of(replicates_RMG[:, number]),
            method="delta" if replicates_RMG is None else "bootstrap",
        )
        for number, (name, one) in enumerate(sums.items())
    }


def estimate_from_counts(
    lists: Sequence[Lists],
    n_items: int,
    metrics: Mapping[str, Callable[[NDArray[np.int64]], float]],
) -> dict[str, MetricEstimate]:
    """Metrics of how often each item is recommended; ``lists`` has one element per preference."""
    estimates: dict[str, MetricEstimate] = {}
    for name, statistic in metrics.items():
        found = [jackknife(statistic, one, n_items) for one in lists]
        covariance_GG = jackknife_covariance(np.stack([without for _, without in found], axis=1))
        estimates[name] = MetricEstimate(
            value_G=np.array([value for value, _ in found]),
            standard_error_G=np.sqrt(np.diag(covariance_GG)),
            covariance_GG=covariance_GG,
            method="jackknife",
        )
    return estimates
