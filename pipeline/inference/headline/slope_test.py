"""The test that the slope of the working response on a metric is b, other metrics held fixed or not.

With ``y_i = a + b ξ_i + d_i + e_i`` and ``x = ξ + error``, W the covariance of the errors, the residual
``r = y - b x`` has covariance ``Σ_b = diag(v) + τ² I + b² W``, and ``x + b W Σ_b⁻¹ (r - mean)`` is not
correlated with it, whatever the true metric ξ: a corrected regressor. Under b, r must not depend on
it. The slope of r on it, δ, has two errors:

- small sample: from how far the groups deviate from the line (Knapp & Hartung 2003), t with g - 2;
- users: the error of the same estimator if groups did not deviate, t with the effective users.

Without W this is the random-effects regression, and δ is its slope less b.

Other metrics z in the regression have slopes c, for which ``r = y - b x - c z`` does not depend on the
corrected z; b² W is then the covariance of ``b x + c z``. δ is the slope on what the corrected x has in
addition to the corrected z, and t has a degree of freedom less for each. Arrays are batched: the last
axis is the groups G, leading axes are experiments or candidate slopes; K metrics, of which M are others.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from pipeline.inference.headline.deviations import SMALLEST, deviations, orthogonalise, times
from pipeline.inference.headline.residuals import (
    Residuals,
    residuals_without_errors,
    settled_residuals,
)
from pipeline.inference.headline.working_response import WorkingResponse
from pipeline.results.family import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherMetrics:
    """The metrics that are held fixed.

    Attributes:
        x_MG: Their values.
        covariance_KKGG: Of the errors of all metrics, the tested one first: of metric k in group g and
            metric l in group h. None if there are none.
    """

    x_MG: Floats
    covariance_KKGG: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopeScore:
    """The test of one slope.

    Attributes:
        delta: Slope of the residuals on the corrected metric; 0 at the estimate.
        small_sample: Its error from the groups' deviations.
        users: Its error from users and the metric.
        plug_in: Variance that comes of τ being estimated where the metric has errors; 0 at b = 0.
        tau2: Variance between groups, by Paule and Mandel.
        groups_df: Degrees of freedom of ``small_sample``: groups less coefficients; 0 for none.
        users_df: Degrees of freedom of ``users``.
    """

    delta: Floats
    small_sample: Floats
    users: Floats
    plug_in: Floats
    tau2: Floats
    groups_df: int
    users_df: Floats

    def small_sample_width(self, level: float) -> Floats:
        """Half-width of the two-sided interval from the groups' deviations."""
        return stdtrit(max(self.groups_df, 1), (1 + level) / 2) * self.small_sample

    def users_width(self, level: float) -> Floats:
        """Half-width of the two-sided interval from the users."""
        return stdtrit(self.users_df, (1 + level) / 2) * self.users

    def half_width(self, level: float) -> Floats:
        """``√(max(t k, t' u)² + z² e)``; b is rejected if ``|δ|`` is larger.

        The users' error is a floor: its quantile is that of a one-sided test at 1 - level, because
        without deviations between groups the two-sided one would make coverage too high.
        """
        floor = stdtrit(self.users_df, level) * self.users
        return np.sqrt(
            np.maximum(self.small_sample_width(level), floor) ** 2
            + ndtri((1 + level) / 2) ** 2 * self.plug_in
        )

    @property
    def p_value(self) -> Floats:
        """Two-sided; below 1 - level exactly where ``|δ|`` exceeds the half-width (plug-in 0).

        With as many coefficients as groups there are no deviations: that of the users.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            error2 = np.maximum(self.small_sample, self.users) ** 2
            distance = np.abs(self.delta) / np.sqrt(1 + self.plug_in / np.maximum(error2, SMALLEST))
            far, near = (
                np.where(distance > 0, distance / error, 0.0)
                for error in (self.small_sample, self.users)
            )
            if self.groups_df < 1:
                return 2 * stdtr(self.users_df, -near)
            groups = 2 * stdtr(self.groups_df, -far)
            users = stdtr(self.users_df, -near)
        return np.maximum(groups, users)

    def one_sided_p_value(self, *, above: bool) -> Floats:
        """Of the null hypothesis that the slope is at most b (``above``), or at least b."""
        half = self.p_value / 2
        return np.where((self.delta > 0) == above, half, 1 - half)


def score_slope(
    b: float | Floats,
    x_G: Floats,
    response: WorkingResponse,
    covariance_GG: Floats | None = None,
    others: OtherMetrics | None = None,
) -> SlopeScore:
    """Test the slope b.

    Args:
        b: One slope, or as many as the leading axes.
        x_G: The metric.
        response: The KPI on the link scale.
        covariance_GG: Of the errors of x; None if there are none.
        others: The metrics that are held fixed, with the errors of all; None for the marginal slope.

    Returns:
        The score; nan where the other metrics' errors leave their slopes no value.
    """
    b = np.asarray(b, dtype=np.float64)
    if others is None:
        x_KG = [x_G]
        errors_KKGG = None if covariance_GG is None else covariance_GG[None, None]
    else:
        x_KG = [x_G, *np.moveaxis(others.x_MG, -2, 0)]
        errors_KKGG = others.covariance_KKGG
    if errors_KKGG is None:
        return _score(residuals_without_errors(b, x_KG, response), response)
    return _score(settled_residuals(b, x_KG, response, errors_KKGG), response)


def _score(found: Residuals, response: WorkingResponse) -> SlopeScore:
    w_G = found.w_G
    columns = orthogonalise(w_G, [found.one_G, *found.corrected_KG[1:]])
    z_G = deviations(w_G, found.corrected_KG[0], columns)
    off_G = deviations(w_G, found.off_G, columns[1:])
    spread = np.maximum((w_G * z_G**2).sum(axis=-1), SMALLEST)
    delta = (w_G * z_G * off_G).sum(axis=-1) / spread
    squares = (w_G * (off_G - delta[..., None] * z_G) ** 2).sum(axis=-1)
    df = z_G.shape[-1] - 1 - len(found.corrected_KG)
    return SlopeScore(
        delta=delta,
        small_sample=np.sqrt(squares / max(df, 1) / spread),
        users=np.sqrt(((w_G * z_G) ** 2 * found.basis.variance_G).sum(axis=-1)) / spread,
        plug_in=_plug_in(found) / spread**2,
        tau2=found.tau2,
        groups_df=df,
        users_df=response.users_df,
    )


def _plug_in(found: Residuals) -> Floats:
    """Variance that estimating τ² adds to the numerator of δ.

    ``2 tr(K K) τ² / (τ² + noise)`` with ``K = P b W Σ⁻¹ P``, P the centring; with other metrics P is also
    the projection off them, and b W the covariance of the error of what x has in addition. Left out up
    to five groups, where t is wide enough, and in full from ten; each other metric counts as a group.
    """
    vectors_GG, errors_KKGG, slopes_K = found.basis.vectors_GG, found.errors_KKGG, found.slopes_K
    groups, others = found.w_G.shape[-1], len(found.corrected_KG) - 1
    share = float(np.clip((groups - others - 5) / 5, 0, 1))
    if not share or vectors_GG is None or errors_KKGG is None:
        return np.zeros_like(found.tau2)
    centring_GG = np.eye(groups) - 1 / groups
    unexplained_GG = _off_others(found, centring_GG)
    inverse_GG = (vectors_GG * found.w_G[..., None, :]) @ np.swapaxes(vectors_GG, -1, -2)
    own_K = [
        np.ones_like(found.tau2),
        *(-one for one in found.slopes_on_others(found.corrected_KG[0])),
    ]
    pairs = [(k, m) for k in range(others + 1) for m in range(others + 1)]
    k_GG = (
        unexplained_GG
        @ sum(
            (own_K[k] * slopes_K[m])[..., None, None] * (errors_KKGG[k, m] @ inverse_GG)
            for k, m in pairs
        )
        @ unexplained_GG
    )
    metric, known = (
        sum(
            slopes_K[k] * slopes_K[m] * np.trace(one @ errors_KKGG[k, m], axis1=-2, axis2=-1)
            for k, m in pairs
        )
        for one in (centring_GG, np.eye(groups))
    )
    users = found.basis.variance_G.mean(axis=-1) - known / groups
    squares = (k_GG * np.swapaxes(k_GG, -1, -2)).sum(axis=(-1, -2))
    metric = metric / (groups - 1)
    return share * np.maximum(2 * squares * found.tau2 / (found.tau2 + users + metric), 0.0)


def _off_others(found: Residuals, centring_GG: Floats) -> Floats:
    """The centring, and the projection off the corrected other metrics."""
    for one_G in found.corrected_KG[1:]:
        x_G = times(centring_GG, found.basis.restore(one_G))
        norm = np.maximum((x_G**2).sum(axis=-1), SMALLEST)[..., None, None]
        centring_GG = centring_GG - x_G[..., :, None] * x_G[..., None, :] / norm
    return centring_GG
