"""Wald tests of a slope: against 0, and against an equivalence margin."""

from scipy import stats

from pipeline.results.reasons import Covariance
from pipeline.results.slopes import Equivalence, SlopeTest


def wald_test(
    slope: float,
    standard_error: float,
    *,
    covariance: Covariance,
    level: float,
    df: int | None = None,
) -> SlopeTest:
    """Test a slope against 0 with the normal distribution, or t with ``df`` degrees of freedom."""
    distribution = stats.norm if df is None else stats.t(df)
    width = float(distribution.ppf((1 + level) / 2)) * standard_error
    return SlopeTest(
        covariance=covariance,
        slope=slope,
        standard_error=standard_error,
        df=df,
        level=level,
        interval=(slope - width, slope + width),
        p_value=float(2 * distribution.sf(abs(slope) / standard_error)),
    )


def equivalence(test: SlopeTest, margin: float, *, positive: bool) -> Equivalence:
    """Two one-sided tests of a slope against ±margin; ``positive`` is the declared direction."""
    distribution = stats.norm if test.df is None else stats.t(test.df)
    low = float(distribution.sf((test.slope + margin) / test.standard_error))
    high = float(distribution.cdf((test.slope - margin) / test.standard_error))
    worse = low if positive else high
    return Equivalence(
        margin=margin,
        p_value=max(low, high),
        equivalent=max(low, high) < 1 - test.level,
        non_inferiority_p_value=worse,
        non_inferior=worse < 1 - test.level,
    )
