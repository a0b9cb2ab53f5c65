"""The best linear proxy of several metrics, and the trade-off between its direction and its sensitivity.

With the covariance Λ of true effects and N of the errors of a test, the proxy ``wᵀŜ`` whose correlation
with the KPI's true lift is largest has ``w ∝ (Λ_SS + N)⁻¹ Λ_SY`` (Tripuraneni et al. 2023, arXiv 2309.07893,
section 2): the noisier the test, the less weight noisy metrics get. In these units it is the expected lift.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.special import ndtr, ndtri

from pipeline.inference.proxies.latent_effects import Draws, noise_covariance
from pipeline.results.family import Floats
from pipeline.results.proxies import FrontPoint, Quality

_FRONT_POINTS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTest:
    """The errors of a test of the usual precision, and how sure that is.

    Attributes:
        noise_DD: Covariance of the errors, the KPI last.
        known_M: Whether the errors of a metric are known.
    """

    noise_DD: Floats
    known_M: np.ndarray


def usual_test(errors_KD: Floats, correlation: float) -> NextTest:
    """A test with the median errors of the past."""
    middle_D = np.median(errors_KD, axis=0)
    return NextTest(
        noise_DD=noise_covariance(middle_D, correlation),
        known_M=errors_KD[:, :-1].min(axis=0) > 0,
    )


def lift_weights(covariance_NDD: Floats, noise_DD: Floats) -> Floats:
    """Expected lift per unit of each metric's measured change, of every Λ."""
    total_NMM = covariance_NDD[..., :-1, :-1] + noise_DD[:-1, :-1]
    toward_NM1 = covariance_NDD[..., :-1, -1:]
    return np.asarray(np.linalg.solve(total_NMM, toward_NM1)[..., 0], dtype=np.float64)


def correlation_with_lift(weights_M: Floats, covariance_NDD: Floats, noise_MM: Floats) -> Floats:
    """Correlation of a proxy, measured with the errors ``noise_MM``, with the KPI's true lift."""
    toward_N = covariance_NDD[..., :-1, -1] @ weights_M
    spread_N = (weights_M @ (covariance_NDD[..., :-1, :-1] + noise_MM)) @ weights_M
    return np.asarray(toward_N / np.sqrt(spread_N * covariance_NDD[..., -1, -1]), dtype=np.float64)


def quality(weights_M: Floats, draws: Draws, test: NextTest, *, level: float) -> Quality:
    """Proxy quality, direction and sensitivity of a proxy."""
    noise_MM = test.noise_DD[:-1, :-1]
    own_N = correlation_with_lift(weights_M, draws.covariance_NDD, noise_MM)
    true_N = correlation_with_lift(weights_M, draws.covariance_NDD, np.zeros_like(noise_MM))
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(own_N, tails).tolist()
    first, last = np.quantile(true_N, tails).tolist()
    mean_MM = draws.covariance_NDD.mean(axis=0)[:-1, :-1]
    known = test.known_M[weights_M != 0].all()
    return Quality(
        quality=float(np.median(own_N)),
        quality_interval=(low, high),
        direction=float(np.median(true_N)),
        direction_interval=(first, last),
        sensitivity=sensitivity(weights_M, mean_MM, noise_MM, level=level) if known else None,
    )


def sensitivity(weights_M: Floats, true_MM: Floats, noise_MM: Floats, *, level: float) -> float:
    """Expected share of tests in which the proxy's change is significant."""
    noise = float(weights_M @ noise_MM @ weights_M)
    signal = float(weights_M @ true_MM @ weights_M)
    return float(2 * ndtr(ndtri((1 - level) / 2) / np.sqrt(1 + signal / noise)))


def pareto_front(covariance_DD: Floats, test: NextTest, *, level: float) -> tuple[FrontPoint, ...]:
    """Proxies of which none is better in direction and sensitivity (Zito et al. 2023, arXiv 2307.01000).

    A proxy that is on the front has the weights ``(a Λ_SS + N)⁻¹ Λ_SY``, as its Lagrangian shows: from the
    best direction (a → ∞) over the portfolio of a test with the errors N (a = 1) to the best ratio of signal
    and noise, where ``a Λ_SS + N`` becomes singular.
    """
    true_MM, toward_M = covariance_DD[:-1, :-1], covariance_DD[:-1, -1]
    noise_MM = test.noise_DD[:-1, :-1]
    ratios = linalg.eigh(true_MM, noise_MM, eigvals_only=True)
    # a = 1/b - 1/largest ratio: b from 0, the best direction, to ∞
    steps = np.geomspace(1e-3, 1e3, _FRONT_POINTS) * float(ratios[-1])
    points: list[FrontPoint] = []
    for step in steps.tolist():
        a = 1 / step - (1 - 1e-6) / float(ratios[-1])
        weights_M = np.linalg.solve(a * true_MM + noise_MM, toward_M)
        weights_M = weights_M / np.sqrt(weights_M @ true_MM @ weights_M)
        true = correlation_with_lift(weights_M, covariance_DD, np.zeros_like(noise_MM))
        points.append(
            FrontPoint(
                weights=tuple(weights_M.tolist()),
                direction=float(true),
                sensitivity=sensitivity(weights_M, true_MM, noise_MM, level=level),
            )
        )
    return tuple(points)
