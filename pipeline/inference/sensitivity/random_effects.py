"""The small-sample slope: a random-effects regression on g groups.

In ``link(p_i) = a + b x_i + d_i + e_i``, d_i ~ (0, τ²) is the random effect of group i and e_i ~ (0,
v_i) is sampling, v_i from the users of the group. The number of groups limits what is known of b,
whatever the number of users, so the test uses t with g - 2 degrees of freedom.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from pipeline.inference.glm.group_regression import GroupSums, LineFit, cluster_sum_squares
from pipeline.inference.glm.wald import wald_test
from pipeline.results.family import Floats
from pipeline.results.reasons import Covariance, UndefinedReason
from pipeline.results.slopes import RandomEffectsSlope

_ON_THE_LINE = 1e-12
"""Deviations, in squared standard errors, that are round-off."""


def random_effects_slope(x: Floats, sums: GroupSums, fit: LineFit) -> RandomEffectsSlope | None:
    """The small-sample slope; None where it is undefined, see :func:`why_undefined`."""
    if why_undefined(x, sums) in {UndefinedReason.TWO_GROUPS, UndefinedReason.RATE_WITHOUT_ERROR}:
        return None
    df, level = len(x) - 2, fit.model.level
    linked, variance = sums.family.link(sums.successes / sums.trials), link_variance(sums)
    fixed = weighted_line(x, linked, 1 / variance)
    tau2 = _between_groups(x, linked, variance)
    mixed = weighted_line(x, linked, 1 / (variance + tau2))
    if mixed.deviations <= _ON_THE_LINE:
        return None
    knapp = float(np.sqrt(mixed.deviations / df * mixed.slope_variance))
    dispersion = max(1.0, fit.lack_of_fit.pearson_chi2 / df)
    return RandomEffectsSlope(
        tau=float(np.sqrt(tau2)),
        heterogeneity=max(0.0, 1 - df / fixed.deviations),
        hartung_knapp=wald_test(
            mixed.slope, knapp, covariance=Covariance.HARTUNG_KNAPP, level=level, df=df
        ),
        quasi_binomial=wald_test(
            fit.slope,
            fit.model.standard_error * dispersion**0.5,
            covariance=Covariance.QUASI_BINOMIAL,
            level=level,
            df=df,
        ),
    )


def why_undefined(x: Floats, sums: GroupSums) -> UndefinedReason:
    """The reason for a small-sample slope that is None: a group's link or error is undefined.

    If nothing else is, the groups fit the line exactly.
    """
    if len(x) < 3:
        return UndefinedReason.TWO_GROUPS
    with np.errstate(divide="ignore", invalid="ignore"):
        linked, variance = sums.family.link(sums.successes / sums.trials), link_variance(sums)
    if np.isfinite(linked).all() and np.isfinite(variance).all() and (variance > 0).all():
        return UndefinedReason.EXACT_LINE
    return UndefinedReason.RATE_WITHOUT_ERROR


@dataclass(frozen=True, slots=True)
class Line:
    """A weighted least-squares line through the groups.

    Attributes:
        slope: Of the line.
        slope_variance: If the weights are the inverse variances.
        deviations: Σ weight · residual².
    """

    slope: float
    slope_variance: float
    deviations: float


def weighted_line(x: Floats, y: Floats, weights: Floats) -> Line:
    """Fit ``y = a + b x``."""
    centred = x - np.average(x, weights=weights)
    spread = (weights * centred**2).sum()
    slope = (weights * centred * y).sum() / spread
    residuals = y - np.average(y, weights=weights) - slope * centred
    return Line(float(slope), float(1 / spread), float((weights * residuals**2).sum()))


def link_variance(sums: GroupSums) -> Floats:
    """Variance of each group's link(rate), cluster-robust: ``U/(U-1) · Q / (n v(p))²``.

    A single user counts as two.
    """
    rate, users = sums.successes / sums.trials, np.maximum(sums.users, 2)
    squares = cluster_sum_squares(rate, sums) * users / (users - 1)
    return squares / (sums.trials * sums.family.variance(rate)) ** 2


def _between_groups(x: Floats, y: Floats, variance: Floats) -> float:
    """τ² at which the groups' deviations equal their degrees of freedom (Paule–Mandel)."""
    df = len(x) - 2

    def excess(tau2: float) -> float:
        return weighted_line(x, y, 1 / (variance + tau2)).deviations - df

    if excess(0.0) <= 0:
        return 0.0
    above = float(variance.max())
    while excess(above) > 0:
        above *= 2
    return optimize.root_scalar(excess, bracket=(0.0, above), xtol=1e-16, rtol=1e-12).root
