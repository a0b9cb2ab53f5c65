"""The probability that a metric is the one that a KPI follows, and which metrics are not told apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.deviations import between_groups_variance
from pipeline.inference.ranking.marginal_likelihood import log_marginal_likelihood
from pipeline.inference.ranking.pooled_response import pooled_response
from pipeline.inference.ranking.true_metrics import standardised, true_metrics
from pipeline.results.decisions import Rival
from pipeline.results.family import Floats
from pipeline.results.reasons import UndefinedReason

LEAST_GROUPS = 4
"""Below it, two coefficients and a variance leave nothing to tell metrics apart by."""

ASSOCIATED = 0.10
"""p-value below which a metric is associated with a KPI at all; without one, nothing is ranked."""

ONE_DIRECTION = 0.95
"""Correlation over the groups, positive or negative, from which two metrics are one direction."""

TOLD_APART = 0.95
"""Probability from which one metric is better than another."""

_SMALLEST_RANGE = 1e-9
"""A metric that varies less than this, relative to its largest value, is constant."""

_FULL_SHARE = 1 / 3
"""Share of two metrics' difference that is signal from which their likelihoods count in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A metric that varies over the groups.

    Attributes:
        metric: Its name.
        values: Finite, one per group.
        p_value: Of its association with the KPI; None where undefined.
        undefined_reason: Why it is undefined.
        error_covariance: Of the values' errors; None for no error.
        replicates_RG: Bootstrap replicates of the values, on the same test sets for all metrics;
            None if unknown. They have the covariance of the errors of two metrics.
    """

    metric: str
    values: Floats
    p_value: float | None
    undefined_reason: UndefinedReason | None = None
    error_covariance: Floats | None = None
    replicates_RG: Floats | None = None

    @property
    def error_variance(self) -> float:
        """Mean error variance of the centred metric: tr(P W) / (g - 1), P the centring."""
        if self.error_covariance is None:
            return 0.0
        covariance, groups = self.error_covariance, len(self.values)
        return float((np.trace(covariance) - covariance.sum() / groups) / (groups - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """The metrics that vary over the groups, compared as predictors of one KPI.

    Attributes:
        metrics: Their names.
        correlation_KK: Pearson correlation over the groups.
        probability_K: That each is the one the KPI follows, of those measured; None where unknown.
        undefined_reason: Why it is unknown.
    """

    metrics: tuple[str, ...]
    correlation_KK: Floats
    probability_K: Floats | None = None
    undefined_reason: UndefinedReason | None = None

    @property
    def best(self) -> str | None:
        """The most probable metric; None where the probabilities are unknown."""
        return (
            None if self.probability_K is None else self.metrics[int(self.probability_K.argmax())]
        )

    def probability(self, metric: str) -> float | None:
        """The probability that the KPI follows the metric; None where unknown."""
        if self.probability_K is None:
            return None
        return float(self.probability_K[self.metrics.index(metric)])

    def correlation(self, metric: str, other: str) -> float:
        """Of two metrics over the groups."""
        return float(self.correlation_KK[self.metrics.index(metric), self.metrics.index(other)])

    def probability_better(self, metric: str, other: str) -> float | None:
        """The probability that the KPI follows ``metric``, if it follows one of the two."""
        one, two = self.probability(metric), self.probability(other)
        return None if one is None or two is None else one / (one + two)

    def rivals(self, metric: str) -> tuple[Rival, ...]:
        """The metrics that cannot be told apart from ``metric``, the most correlated first.

        These are metrics of the same direction (see :data:`ONE_DIRECTION`), and those over which
        ``metric`` is not better with a probability of :data:`TOLD_APART`. Where the probability is
        unknown, all are rivals.
        """
        found = [
            Rival(
                metric=other,
                correlation=self.correlation(metric, other),
                probability_better=self.probability_better(metric, other),
            )
            for other in self.metrics
            if other != metric
        ]
        return tuple(
            sorted(filter(_is_rival, found), key=lambda one: (-abs(one.correlation), one.metric))
        )


def _is_rival(one: Rival) -> bool:
    better = one.probability_better
    return abs(one.correlation) >= ONE_DIRECTION or better is None or better < TOLD_APART


def compare_metrics(candidates: Sequence[Candidate], sums: GroupSums) -> MetricComparison:
    """Compare metrics as predictors of one KPI; at least one metric."""
    metrics_GK = np.stack([one.values for one in candidates], axis=-1)
    found = _probabilities(candidates, metrics_GK, sums)
    unknown = isinstance(found, UndefinedReason)
    return MetricComparison(
        metrics=tuple(one.metric for one in candidates),
        correlation_KK=correlations(metrics_GK),
        probability_K=None if unknown else found,
        undefined_reason=found if unknown else None,
    )


def _probabilities(
    candidates: Sequence[Candidate], metrics_GK: Floats, sums: GroupSums
) -> Floats | UndefinedReason:
    if len(metrics_GK) < LEAST_GROUPS:
        return UndefinedReason.FEWER_THAN_4_GROUPS
    known = [one.p_value for one in candidates if one.p_value is not None]
    if not any(p_value < ASSOCIATED for p_value in known):
        reason = None if known else candidates[0].undefined_reason
        return reason or UndefinedReason.NOT_ASSOCIATED
    response = pooled_response(sums)
    if isinstance(response, UndefinedReason):
        return response
    kpi_G, variance_G = response
    tau2 = between_groups_variance(kpi_G, variance_G, [np.ones_like(kpi_G), metrics_GK.T]).min()
    return metric_probabilities(metrics_GK, error_covariance(candidates), kpi_G, variance_G + tau2)


def error_covariance(candidates: Sequence[Candidate]) -> Floats:
    """Covariance of the errors of the centred metrics, K × K, the mean over the groups.

    Of metrics with replicates, the same number for all, it is theirs; others are independent.
    """
    error_KK = np.diag([one.error_variance for one in candidates])
    drawn = {
        n: one.replicates_RG for n, one in enumerate(candidates) if one.replicates_RG is not None
    }
    if len({len(one) for one in drawn.values()}) != 1:
        return error_KK
    drawn_RGK = np.stack(list(drawn.values()), axis=-1)
    off_RGK = drawn_RGK - drawn_RGK.mean(axis=0)
    off_RGK = off_RGK - off_RGK.mean(axis=1, keepdims=True)
    replicates, groups, _ = off_RGK.shape
    joint_KK = np.einsum("rgj,rgk->jk", off_RGK, off_RGK) / (replicates - 1) / (groups - 1)
    error_KK[np.ix_(list(drawn), list(drawn))] = joint_KK
    return error_KK


def varies(values: Floats) -> bool:
    """Whether a metric is known in all groups and not the same in all of them."""
    if not len(values) or not np.isfinite(values).all():
        return False
    return bool(np.ptp(values) > _SMALLEST_RANGE * np.abs(values).max())


def correlations(metrics_GK: Floats) -> Floats:
    """Pearson correlation of metrics over the groups, K × K; none of them is constant."""
    centred_GK = metrics_GK - metrics_GK.mean(axis=0)
    x_GK = centred_GK / np.linalg.norm(centred_GK, axis=0)
    return np.clip(x_GK.T @ x_GK, -1.0, 1.0)


def metric_probabilities(
    metrics_GK: Floats, error_KK: Floats, kpi_G: Floats, variance_G: Floats
) -> Floats:
    """The probability that a KPI follows each metric, all equally likely beforehand; they sum to 1.

    A metric's log likelihood ratio to the best one counts by ``min(1, 3 s)``, s being the share of
    the variance of their standardised difference over the groups that is signal: metrics that
    differ by no more than their errors are tied. Calibrated by simulation.

    Args:
        metrics_GK: As :func:`true_metrics` takes them; at least 4 groups.
        error_KK: The same.
        kpi_G: Working response (link scale), not constant.
        variance_G: Variances of the groups in relation to each other.
    """
    expected_GK, left_K = true_metrics(metrics_GK, error_KK)
    relative_G = variance_G / variance_G.mean(axis=-1, keepdims=True)
    log_K = log_marginal_likelihood(
        np.swapaxes(expected_GK, -1, -2), left_K, kpi_G[..., None, :], relative_G[..., None, :]
    )
    best = log_K.argmax(axis=-1)[..., None]
    ratio_K = log_K - np.take_along_axis(log_K, best, axis=-1)
    share_K = _signal_share(metrics_GK, error_KK, best)
    odds_K = np.exp(ratio_K * np.minimum(1.0, share_K / _FULL_SHARE))
    return odds_K / odds_K.sum(axis=-1, keepdims=True)


def _signal_share(metrics_GK: Floats, error_KK: Floats, best: NDArray[np.intp]) -> Floats:
    """Share of the variance of each metric's difference from the best that is not error; 1 for it."""
    x_GK, error_KK = standardised(metrics_GK, error_KK)
    metrics = np.arange(x_GK.shape[-1])
    best_G1 = np.take_along_axis(x_GK, best[..., None, :], axis=-1)
    correlation_K = (x_GK * best_G1).sum(axis=-2) / (x_GK.shape[-2] - 1)
    difference_K = np.maximum(2 - 2 * np.abs(correlation_K), 1e-12)
    is_best_K = metrics == best
    own_K = np.einsum("...kk->...k", error_KK)
    common_K = (error_KK * is_best_K[..., None, :]).sum(axis=-1) * np.sign(correlation_K)
    error_K = own_K + (own_K * is_best_K).sum(axis=-1, keepdims=True) - 2 * common_K
    return np.where(is_best_K, 1.0, np.clip(1 - error_K / difference_K, 0.0, 1.0))
