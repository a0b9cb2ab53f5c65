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


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """Whether a slope is too small to matter, or at least not harmful.

    Attributes:
        margin: Slopes from -margin to margin are of no consequence; above 0.
        p_value: That the slope lies outside of the margins (two one-sided tests; Schuirmann 1987).
        equivalent: Whether that is excluded at 1 - level.
        non_inferiority_p_value: That the slope is worse than the margin, against the declared
            direction.
        non_inferior: Whether that is excluded at 1 - level.
    """

    margin: float
    p_value: float
    equivalent: bool
    non_inferiority_p_value: float
    non_inferior: bool


def equivalence(test: SlopeTest, margin: float, *, positive: bool) -> Equivalence:
    """Test a slope against margins; ``positive`` is the direction in which more is better."""
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
