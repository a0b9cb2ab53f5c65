"""A slope with its error under one set of assumptions, and the test against 0."""

from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopeTest:
    """A slope, its error and its Wald test against 0.

    Attributes:
        covariance: What the error takes for granted; see where it is made.
        slope: The estimate the test is about.
        standard_error: Of the slope.
        df: Degrees of freedom of the t distribution; None for the normal distribution.
        level: Coverage the interval aims at.
        interval: Lower and upper end.
        p_value: Two-sided.
    """

    covariance: str
    slope: float
    standard_error: float
    df: int | None
    level: float
    interval: tuple[float, float]
    p_value: float

    @property
    def excludes_0(self) -> bool:
        """Whether 0 lies outside the interval."""
        low, high = self.interval
        return low > 0 or high < 0


def wald_test(
    slope: float, standard_error: float, *, covariance: str, level: float, df: int | None = None
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
