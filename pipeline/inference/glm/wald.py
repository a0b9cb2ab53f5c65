"""The Wald test of a slope against 0."""

from scipy.special import ndtr, ndtri, stdtr, stdtrit

from pipeline.results.reasons import Covariance
from pipeline.results.slopes import SlopeTest


def wald_test(
    slope: float,
    standard_error: float,
    *,
    covariance: Covariance,
    level: float,
    df: int | None = None,
) -> SlopeTest:
    """Test a slope against 0 with the normal distribution, or t with ``df`` degrees of freedom."""
    quantile, z = (1 + level) / 2, abs(slope) / standard_error
    width = float(ndtri(quantile) if df is None else stdtrit(df, quantile)) * standard_error
    return SlopeTest(
        covariance=covariance,
        slope=slope,
        standard_error=standard_error,
        df=df,
        level=level,
        interval=(slope - width, slope + width),
        p_value=float(2 * (ndtr(-z) if df is None else stdtr(df, -z))),
    )
