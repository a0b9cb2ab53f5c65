"""Which of several metrics a KPI's lifts follow best, over the tests that measured all of them.

The true lifts have the variance σ_Y², of which the metric explains the share r², where r is the
correlation of the true changes and lifts. Given the measured changes of all metrics, the measured lifts are
normal (joint regression calibration: a metric's true change is predicted from all of them, so that two
metrics that differ by their errors alone cannot be told apart). Their likelihood is integrated over r,
uniform from -1 to 1, and over σ_Y. With equal prior probabilities, its share is the probability that the KPI
follows the metric, of those compared.

Shape suffixes: K contrasts, M metrics, R correlations, S spreads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from pipeline.inference.past_tests.effects import PairedEffects, StackedTests
from pipeline.results.family import Floats

_CORRELATIONS_R = np.linspace(-0.99, 0.99, 67)
_SPREADS_S = np.geomspace(0.05, 8.0, 20)
"""Of σ_Y, as multiples of the spread of the measured lifts."""

_LEAST_SIGNAL = 1e-6
"""Of the variance of a metric's true changes, as a share of the measured variance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """The correlation of the true changes and lifts of one metric.

    Attributes:
        log_evidence: Logarithm of the integrated likelihood, up to a constant of the KPI.
        median: Posterior median of r.
        interval: Posterior interval of r.
    """

    log_evidence: float
    median: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """Uncorrelated contrasts of all metrics and of the KPI, with the variances of their errors.

    ``cross_KM`` is the covariance of the errors of metric and KPI.
    """

    delta_KM: Floats
    delta_noise_KM: Floats
    cross_KM: Floats
    lift_K: Floats
    lift_noise_K: Floats


def true_correlations(
    metrics: Sequence[PairedEffects], *, correlation: float, level: float
) -> list[Correlation]:
    """The posterior of r of every metric, all on the same tests.

    ``correlation`` is that of the errors of metric and KPI; those of two metrics are independent.
    """
    measured = _stacked(metrics, correlation)
    true_MM = _true_covariance(measured)
    spread = float(np.sqrt((measured.lift_K**2).mean())) or 1.0
    logs = _log_likelihoods(measured, true_MM, (_SPREADS_S * spread) ** 2)
    return [_posterior(logs_RS, level) for logs_RS in logs]


def probabilities(found: Sequence[Correlation]) -> list[float]:
    """The probability of each metric to be the one that the KPI follows; they sum to 1."""
    logs = np.array([one.log_evidence for one in found])
    return np.exp(logs - logsumexp(logs)).tolist()


def _posterior(logs_RS: Floats, level: float) -> Correlation:
    logs_R = np.asarray(logsumexp(logs_RS, axis=1), dtype=np.float64)
    whole = float(np.asarray(logsumexp(logs_R)))
    cumulated = np.cumsum(np.exp(logs_R - whole))
    ends = np.interp([(1 - level) / 2, 0.5, (1 + level) / 2], cumulated, _CORRELATIONS_R)
    low, median, high = ends.tolist()
    return Correlation(log_evidence=whole, median=median, interval=(low, high))


def _stacked(metrics: Sequence[PairedEffects], correlation: float) -> _Measured:
    """The contrasts of all tests, made uncorrelated within each test.

    That is exact for variants of equal size; else the errors keep a small correlation.
    """
    kpi = metrics[0].blocks
    by_metric = [
        [_columns(one, "delta_EC", "delta_noise_ECC", "cross_noise_ECC") for one in pairs.blocks]
        for pairs in metrics
    ]
    lifts = [_columns(one, "lift_EC", "lift_noise_ECC") for one in kpi]
    delta, noise, cross = (
        np.stack([np.concatenate([block[side] for block in of]) for of in by_metric], axis=1)
        for side in range(3)
    )
    return _Measured(
        delta_KM=delta,
        delta_noise_KM=noise,
        cross_KM=correlation * cross,
        lift_K=np.concatenate([block[0] for block in lifts]),
        lift_noise_K=np.concatenate([block[1] for block in lifts]),
    )


def _columns(one: StackedTests, values: str, *noises: str) -> list[Floats]:
    root_CC = np.linalg.inv(np.linalg.cholesky(one.between_CC))
    turned = [(getattr(one, values) @ root_CC.T).ravel()]
    for name in noises:
        rotated = root_CC @ getattr(one, name) @ root_CC.T
        turned.append(np.diagonal(rotated, axis1=1, axis2=2).ravel())
    return turned


def _true_covariance(measured: _Measured) -> Floats:
    """Covariance of the true changes by moments, made positive definite."""
    delta, k = measured.delta_KM, len(measured.delta_KM)
    found = delta.T @ delta / k
    scale = np.sqrt(found.diagonal())
    found -= np.diag(measured.delta_noise_KM.mean(axis=0))
    values, vectors = np.linalg.eigh(found / np.outer(scale, scale))
    positive = (vectors * np.maximum(values, _LEAST_SIGNAL)) @ vectors.T
    return np.asarray(positive * np.outer(scale, scale), dtype=np.float64)


def _log_likelihoods(measured: _Measured, true_MM: Floats, spreads_S: Floats) -> list[Floats]:
    """Of the lifts given the changes of all metrics, by metric, r and σ_Y², up to a constant."""
    m = len(true_MM)
    variance_KMM = true_MM + measured.delta_noise_KM[:, :, None] * np.eye(m)
    inverse_KMM = np.linalg.inv(variance_KMM)
    cross_KM = measured.cross_KM
    of_cross_KM = np.einsum("kij,kj->ki", inverse_KMM, cross_KM)
    cross_mean_K = (of_cross_KM * measured.delta_KM).sum(axis=1)
    cross_square_K = (of_cross_KM * cross_KM).sum(axis=1)
    found: list[Floats] = []
    for metric in range(m):
        signal_M = true_MM[metric] / true_MM[metric, metric] ** 0.5
        weights_KM = inverse_KMM @ signal_M
        mean_K = (weights_KM * measured.delta_KM).sum(axis=1)
        square_K, both_K = weights_KM @ signal_M, (weights_KM * cross_KM).sum(axis=1)
        logs_RS = np.empty((len(_CORRELATIONS_R), len(spreads_S)))
        for row, r in enumerate(_CORRELATIONS_R):
            for column, spread in enumerate(spreads_S):
                b = r * spread**0.5
                rest_K = measured.lift_K - b * mean_K - cross_mean_K
                explained_K = b**2 * square_K + 2 * b * both_K + cross_square_K
                variance_K = measured.lift_noise_K + spread - explained_K
                logs_RS[row, column] = _log_normal(rest_K, variance_K)
        found.append(logs_RS)
    return found


def _log_normal(rest_K: Floats, variance_K: Floats) -> float:
    if not variance_K.min() > 0:
        return -np.inf
    return -0.5 * float((np.log(variance_K) + rest_K**2 / variance_K).sum())
