"""Results with values that tests choose."""

from pipeline.core.contracts import Kpi
from pipeline.results.family import Family
from pipeline.results.headline import Headline
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reasons import Covariance, Verdict
from pipeline.results.slopes import LackOfFit, MeasurementError, RandomEffectsSlope, SlopeTest


def slope_test(interval, *, p_value=0.01, covariance=Covariance.CLUSTER_ROBUST, error=1.0):
    """A test with this interval around its slope."""
    low, high = interval
    return SlopeTest(
        covariance=covariance,
        slope=(low + high) / 2,
        standard_error=error,
        df=None,
        level=0.95,
        interval=(low, high),
        p_value=p_value,
    )


def headline(ends, *, p_value=0.01, level=0.95, **changes):
    """A headline whose slope is between these ends."""
    low, high = ends
    values = {
        "slope": (low + high) / 2,
        "interval": (low, high),
        "users_interval": (low, high),
        "small_sample_interval": (low, high),
        "level": level,
        "p_value": p_value,
        "positive": low + high > 0,
        "standard_error": 1.0,
        "users_standard_error": 1.0,
    }
    return Headline(**values | changes)


def small_sample(interval):
    """A small-sample slope with this interval."""
    test = slope_test(interval, covariance=Covariance.HARTUNG_KNAPP)
    return RandomEffectsSlope(tau=0.0, heterogeneity=0.0, hartung_knapp=test, quasi_binomial=test)


def lack_of_fit(p_value):
    """A lack of fit with this p-value."""
    return LackOfFit(pearson_chi2=1.0, clustered_chi2=1.0, df=3, p_value=p_value)


def measurement_error(reliability, interval):
    """A measurement error with this reliability and interval."""
    return MeasurementError(
        reliability=reliability, propagated=slope_test(interval), extrapolated_slope=None
    )


def hypothesis_result(**changes):
    """H1 of the paper, confirmed and without any analysis, unless changed."""
    values = {
        "id": "H1",
        "metric": "recall",
        "kpi": Kpi.CTR,
        "direction": "positive",
        "response": Kpi.CTR,
        "link": Family.BINOMIAL,
        "n": 1000,
        "groups": 3,
        "verdict": Verdict.CONFIRMED,
    }
    return HypothesisResult(**values | changes)
