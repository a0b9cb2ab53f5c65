"""The test that the slope of the working response on the metric is b.

With ``y_i = a + b ξ_i + d_i + e_i`` and ``x = ξ + error``, W the covariance of the errors, the residual
``r = y - b x`` has covariance ``Σ_b = diag(v) + τ² I + b² W``, and ``x + b W Σ_b⁻¹ (r - mean)`` is not
correlated with it, whatever the true metric ξ: a corrected regressor. Under b, r must not depend on
it. The slope of r on it, δ, has two errors:

- small sample: from how far the groups deviate from the line (Knapp & Hartung 2003), t with g - 2;
- users: the error of the same estimator if groups did not deviate, t with the effective users.

Without W this is the random-effects regression, and δ is its slope less b. Arrays are batched: the
last axis is the groups G, leading axes are experiments or candidate slopes.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipeline.inference.headline.working_response import WorkingResponse
from pipeline.results.family import Floats

_STEPS = 60
_CONVERGED = 1e-10
_SMALLEST = 1e-300
_ROUND_OFF, _NO_VARIANCE = 1e-14, 1e-30
"""Least variance of users, relative to that of the groups and as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopeScore:
    """The test of one slope.

    Attributes:
        delta: Slope of the residuals on the corrected metric; 0 at the estimate.
        small_sample: Its error from the groups' deviations.
        users: Its error from users and the metric.
        plug_in: Variance that comes of τ being estimated where the metric has errors; 0 at b = 0.
        tau2: Variance between groups, by Paule and Mandel.
        groups: Number of groups.
        users_df: Degrees of freedom of ``users``.
    """

    delta: Floats
    small_sample: Floats
    users: Floats
    plug_in: Floats
    tau2: Floats
    groups: int
    users_df: Floats

    def small_sample_width(self, level: float) -> Floats:
        """Half-width of the two-sided interval from the groups' deviations."""
        return stats.t.ppf((1 + level) / 2, max(self.groups - 2, 1)) * self.small_sample

    def users_width(self, level: float) -> Floats:
        """Half-width of the two-sided interval from the users."""
        return stats.t.ppf((1 + level) / 2, self.users_df) * self.users

    def half_width(self, level: float) -> Floats:
        """``√(max(t k, t' u)² + z² e)``; b is rejected if ``|δ|`` is larger.

        The users' error is a floor: its quantile is that of a one-sided test at 1 - level, because
        without deviations between groups the two-sided one would make coverage too high.
        """
        floor = stats.t.ppf(level, self.users_df) * self.users
        return np.sqrt(
            np.maximum(self.small_sample_width(level), floor) ** 2
            + stats.norm.ppf((1 + level) / 2) ** 2 * self.plug_in
        )

    @property
    def p_value(self) -> Floats:
        """Two-sided; below 1 - level exactly where ``|δ|`` exceeds the half-width (plug-in 0).

        With two groups, which have no deviations, that of the users.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            error2 = np.maximum(self.small_sample, self.users) ** 2
            distance = np.abs(self.delta) / np.sqrt(
                1 + self.plug_in / np.maximum(error2, _SMALLEST)
            )
            far, near = (
                np.where(distance > 0, distance / error, 0.0)
                for error in (self.small_sample, self.users)
            )
            if self.groups < 3:
                return 2 * stats.t.sf(near, self.users_df)
            groups = 2 * stats.t.sf(far, self.groups - 2)
            users = stats.t.sf(near, self.users_df)
        return np.maximum(groups, users)

    def one_sided_p_value(self, *, above: bool) -> Floats:
        """Of the null hypothesis that the slope is at most b (``above``), or at least b."""
        half = self.p_value / 2
        return np.where((self.delta > 0) == above, half, 1 - half)


def score_slope(
    b: float | Floats, x_G: Floats, response: WorkingResponse, covariance_GG: Floats | None = None
) -> SlopeScore:
    """Test the slope b.

    Args:
        b: One slope, or as many as the leading axes.
        x_G: The metric.
        response: The KPI on the link scale.
        covariance_GG: Of the errors of x; None if there are none.
    """
    b = np.asarray(b, dtype=np.float64)
    floor = _ROUND_OFF * response.values_G.var(axis=-1, keepdims=True) + _NO_VARIANCE
    basis = _diagonal_basis(b, np.maximum(response.variance_G, floor), covariance_GG)
    one, x = basis.rotate(np.ones_like(x_G)), basis.rotate(x_G)
    r = basis.rotate(response.values_G) - b[..., None] * x
    tau2 = between_groups_variance(r, basis.variance_G, one, x if covariance_GG is None else None)
    w = 1 / (basis.variance_G + tau2[..., None])
    c = _centred(w, r, one)
    xi = x
    if covariance_GG is not None:
        xi = x + b[..., None] * basis.rotate(_times(covariance_GG, basis.restore(w * c)))
    z = _centred(w, xi, one)
    spread = np.maximum((w * z**2).sum(axis=-1), _SMALLEST)
    delta = (w * z * c).sum(axis=-1) / spread
    deviations = (w * (c - delta[..., None] * z) ** 2).sum(axis=-1)
    plug_in = np.zeros_like(delta)
    if covariance_GG is not None:
        plug_in = _plug_in(b, covariance_GG, basis, tau2, w) / spread**2
    groups = x_G.shape[-1]
    return SlopeScore(
        delta=delta,
        small_sample=np.sqrt(deviations / max(groups - 2, 1) / spread),
        users=np.sqrt(((w * z) ** 2 * basis.variance_G).sum(axis=-1)) / spread,
        plug_in=plug_in,
        tau2=tau2,
        groups=groups,
        users_df=response.users_df,
    )


def between_groups_variance(
    r_G: Floats, variance_G: Floats, one_G: Floats, x_G: Floats | None = None
) -> Floats:
    """τ² at which the weighted deviations equal their degrees of freedom (Paule & Mandel 1982).

    Deviations are those from the weighted mean (g - 1), or with ``x_G`` from the line (g - 2); 0
    where they are smaller already. In ``1/deviations`` the equation is concave, so that Newton's
    method from 0 approaches the root from below.

    Args:
        r_G: Uncorrelated residuals.
        variance_G: Their variances but for τ².
        one_G: The constant, in the same basis.
        x_G: The metric, in the same basis.
    """
    df = r_G.shape[-1] - (1 if x_G is None else 2)
    tau2 = np.zeros(np.broadcast_shapes(r_G.shape, variance_G.shape)[:-1])
    if df < 1:
        return tau2
    for _ in range(_STEPS):
        w = 1 / (variance_G + tau2[..., None])
        off = _centred(w, r_G, one_G)
        if x_G is not None:
            z = _centred(w, x_G, one_G)
            spread = np.maximum((w * z**2).sum(axis=-1), _SMALLEST)
            off = off - ((w * z * off).sum(axis=-1) / spread)[..., None] * z
        q = (w * off**2).sum(axis=-1)
        slope = np.maximum((w * off * w * off).sum(axis=-1), _SMALLEST)
        step = np.where(q > df, (q / df - 1) * q / slope, 0.0)
        tau2 = tau2 + step
        if not (step > _CONVERGED * tau2).any():
            break
    return tau2


@dataclass(frozen=True, slots=True)
class _Basis:
    """The orthonormal basis in which ``diag(v) + b² W`` is diagonal; the groups' own without W."""

    variance_G: Floats
    vectors_GG: Floats | None = None

    def rotate(self, values_G: Floats) -> Floats:
        if self.vectors_GG is None:
            return values_G
        return _times(np.swapaxes(self.vectors_GG, -1, -2), values_G)

    def restore(self, values_G: Floats) -> Floats:
        return values_G if self.vectors_GG is None else _times(self.vectors_GG, values_G)


def _diagonal_basis(b: Floats, variance_G: Floats, covariance_GG: Floats | None) -> _Basis:
    if covariance_GG is None:
        return _Basis(variance_G)
    known_G = np.where(np.isfinite(variance_G), variance_G, 1.0)
    total_GG = known_G[..., None] * np.eye(known_G.shape[-1]) + (
        b[..., None, None] ** 2 * covariance_GG
    )
    values_G, vectors_GG = np.linalg.eigh(total_GG)
    return _Basis(np.maximum(values_G, _SMALLEST), vectors_GG)


def _times(matrix_GG: Floats, values_G: Floats) -> Floats:
    return (matrix_GG @ values_G[..., None])[..., 0]


def _centred(w_G: Floats, values_G: Floats, one_G: Floats) -> Floats:
    """The values less their generalised least-squares mean."""
    mean = (w_G * one_G * values_G).sum(axis=-1) / (w_G * one_G**2).sum(axis=-1)
    return values_G - mean[..., None] * one_G


def _plug_in(b: Floats, covariance_GG: Floats, basis: _Basis, tau2: Floats, w_G: Floats) -> Floats:
    """Variance that estimating τ² adds to the numerator of δ.

    ``2 tr(K K) τ² / (τ² + noise)`` with ``K = P b W Σ⁻¹ P``, P the centring. Left out up to five
    groups, where t is wide enough, and in full from ten.
    """
    groups = w_G.shape[-1]
    share = float(np.clip((groups - 5) / 5, 0, 1))
    vectors_GG = basis.vectors_GG
    if not share or vectors_GG is None:
        return np.zeros_like(tau2)
    centring_GG = np.eye(groups) - 1 / groups
    inverse_GG = (vectors_GG * w_G[..., None, :]) @ np.swapaxes(vectors_GG, -1, -2)
    k_GG = centring_GG @ (b[..., None, None] * (covariance_GG @ inverse_GG)) @ centring_GG
    metric = b**2 * np.trace(centring_GG @ covariance_GG, axis1=-2, axis2=-1) / (groups - 1)
    users = (
        basis.variance_G.mean(axis=-1) - b**2 * np.trace(covariance_GG, axis1=-2, axis2=-1) / groups
    )
    squares = (k_GG * np.swapaxes(k_GG, -1, -2)).sum(axis=(-1, -2))
    return share * np.maximum(2 * squares * tau2 / (tau2 + users + metric), 0.0)
