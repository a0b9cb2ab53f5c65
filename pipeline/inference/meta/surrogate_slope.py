"""The slope across all group contrasts of many experiments, without the noise they share.

The covariance of measured differences is that of the true ones plus that of their errors, however
many experiments there are: noise in the proxy pulls the slope towards 0, and noise that proxy and
KPI share (both measured on the same users) towards the slope of the noise. The noise is known, so it
is subtracted (Bibaut, Chou, Ejdemyr & Kallus 2024, arXiv 2402.17637).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.inference.glm.wald import SlopeTest, wald_test
from pipeline.results.family import Floats

_SAME = 1e-12
"""A spread of the slopes below this, relative to the slope, is round-off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredGroups:
    """The g groups of one experiment.

    Attributes:
        proxy: Relative change of the offline metric (or any other proxy), one a group.
        kpi: Log odds (or log rate) of the KPI, one a group.
        noise: Covariance of the errors, 2 g by 2 g: the proxies of all groups first, then the KPIs.
            Offline metrics of all groups come from the same test sessions, so the proxies' block is
            no diagonal; the block of proxy and KPI is 0 unless both come from the same users.
    """

    proxy: Floats
    kpi: Floats
    noise: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalCovariance:
    """The slope of the KPI on the proxy over all contrasts, free of noise.

    Attributes:
        slope: ``Λ_SY / Λ_SS`` with Λ = covariance of the measured contrasts - mean covariance of
            their noise; error by the jackknife over the E experiments, t with E - 1. Experiments
            weigh by how far the proxy varies in them.
        naive_slope: The same without subtracting the noise.
        reliability: Share of the proxy's measured variance that is not noise, at most 1.
        correlation: ``Λ_SY / √(Λ_SS Λ_YY)``: how closely the KPI follows the proxy once the noise
            is gone; an estimate, which may pass 1. None where Λ_YY is not positive.
        contrasts: Σ (g - 1).
    """

    slope: SlopeTest
    naive_slope: float
    reliability: float
    correlation: float | None
    contrasts: int


def total_covariance(
    experiments: Sequence[MeasuredGroups], *, level: float
) -> TotalCovariance | str:
    """Fit the slope; where it is undefined, return the reason instead.

    Groups are centred within their experiment, so that none of them is a reference and what
    experiments differ by as a whole plays no part.
    """
    if len(experiments) < 2:
        return "one experiment alone has no error by the jackknife over experiments"
    moments = [_moments(one) for one in experiments]
    observed_EAA = np.array([observed for observed, _ in moments])
    signal_EAA = observed_EAA - np.array([noise for _, noise in moments])
    observed_AA, signal_AA = observed_EAA.sum(axis=0), signal_EAA.sum(axis=0)
    without_EAA = signal_AA - signal_EAA
    if signal_AA[0, 0] <= 0:
        return "the groups' metrics differ by no more than the noise they are measured with"
    if (without_EAA[:, 0, 0] <= 0).any():
        return "the groups' metrics differ by more than their noise in one experiment alone"
    slope = float(signal_AA[0, 1] / signal_AA[0, 0])
    error = _jackknife_error(without_EAA[:, 0, 1] / without_EAA[:, 0, 0])
    if not error > _SAME * abs(slope):
        return "every experiment has the same slope to the last digit, so it has no error"
    return TotalCovariance(
        slope=wald_test(
            slope,
            error,
            covariance="jackknife over experiments",
            level=level,
            df=len(experiments) - 1,
        ),
        naive_slope=float(observed_AA[0, 1] / observed_AA[0, 0]),
        reliability=float(signal_AA[0, 0] / observed_AA[0, 0]),
        correlation=float(signal_AA[0, 1] / np.sqrt(signal_AA[0, 0] * signal_AA[1, 1]))
        if signal_AA[1, 1] > 0
        else None,
        contrasts=sum(len(one.proxy) - 1 for one in experiments),
    )


def _moments(groups: MeasuredGroups) -> tuple[Floats, Floats]:
    """Sums of squares and products of the centred pairs, and what noise adds to them on average.

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
    """Standard error from the estimates without each experiment (Efron & Stein 1981)."""
    e = len(without_each)
    return float(np.sqrt((e - 1) * without_each.var()))
