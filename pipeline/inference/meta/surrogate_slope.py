"""The slope over all group contrasts of many studies, corrected for noise (total covariance).

The covariance of measured differences is that of the true ones plus that of their errors, whatever
the number of studies: noise in the proxy attenuates the slope, and noise shared by proxy and KPI
(measured on the same users) biases it towards the slope of the noise. The covariance of the noise is
known and subtracted (Bibaut, Chou, Ejdemyr & Kallus 2024, arXiv 2402.17637).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.inference.glm.wald import wald_test
from pipeline.results.family import Floats
from pipeline.results.pooled import TotalCovariance
from pipeline.results.reasons import Covariance, UndefinedReason

_SAME = 1e-12
"""A jackknife error below this, relative to the slope, is round-off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredGroups:
    """The g groups of one study.

    Attributes:
        proxy: Logarithm of the offline metric (or another proxy), one per group. Centred within a
            study it has no reference group; ``M / min M - 1`` would have the noisiest one in every
            denominator.
        kpi: Log odds (or log rate) of the KPI, one per group.
        noise: Covariance of the errors, 2 g by 2 g: the proxies of all groups first, then the KPIs.
            Offline metrics of all groups come from the same test sessions, so the block of the
            proxies is not diagonal; that of proxy and KPI is 0 unless they share users.
        noise_known: Whether the errors of the proxies are known; if not, their block is 0.
    """

    proxy: Floats
    kpi: Floats
    noise: Floats
    noise_known: bool = True


def total_covariance(
    experiments: Sequence[MeasuredGroups], *, level: float
) -> TotalCovariance | UndefinedReason:
    """Fit the slope; where it is undefined, return the reason.

    Groups are centred within their study, so there is no reference group, and differences between
    studies cancel.
    """
    if len(experiments) < 2:
        return UndefinedReason.ONE_STUDY
    moments = [group_moments(one) for one in experiments]
    observed_EAA = np.array([observed for observed, _ in moments])
    signal_EAA = observed_EAA - np.array([noise for _, noise in moments])
    observed_AA, signal_AA = observed_EAA.sum(axis=0), signal_EAA.sum(axis=0)
    without_EAA = signal_AA - signal_EAA
    if signal_AA[0, 0] <= 0:
        return UndefinedReason.METRIC_WITHIN_NOISE
    if (without_EAA[:, 0, 0] <= 0).any():
        return UndefinedReason.METRIC_VARIES_IN_ONE_STUDY
    slope = float(signal_AA[0, 1] / signal_AA[0, 0])
    error = _jackknife_error(without_EAA[:, 0, 1] / without_EAA[:, 0, 0])
    if not error > _SAME * abs(slope):
        return UndefinedReason.IDENTICAL_SLOPES
    return TotalCovariance(
        slope=wald_test(
            slope,
            error,
            covariance=Covariance.JACKKNIFE,
            level=level,
            df=len(experiments) - 1,
        ),
        naive_slope=float(observed_AA[0, 1] / observed_AA[0, 0]),
        reliability=float(signal_AA[0, 0] / observed_AA[0, 0])
        if all(one.noise_known for one in experiments)
        else None,
        correlation=float(signal_AA[0, 1] / np.sqrt(signal_AA[0, 0] * signal_AA[1, 1]))
        if signal_AA[1, 1] > 0
        else None,
        contrasts=sum(len(one.proxy) - 1 for one in experiments),
    )


def group_moments(groups: MeasuredGroups) -> tuple[Floats, Floats]:
    """Sums of squares and products of the centred pairs, and their expectation under noise.

    With the projector P = I - 1 1ᵀ / g these are ``D P Dᵀ`` and ``tr(P Ξ_ab)`` for a, b = proxy, KPI.
    """
    g = len(groups.proxy)
    centring_GG = np.eye(g) - 1 / g
    measured_AG = np.stack([groups.proxy, groups.kpi])
    noise_AGAG = groups.noise.reshape(2, g, 2, g)
    return (
        measured_AG @ centring_GG @ measured_AG.T,
        np.einsum("gh,agbh->ab", centring_GG, noise_AGAG),
    )


def _jackknife_error(without_each: Floats) -> float:
    """Standard error from the estimates without each study (Efron & Stein 1981)."""
    e = len(without_each)
    return float(np.sqrt((e - 1) * without_each.var()))
