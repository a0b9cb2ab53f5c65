"""The band is that of the headline's line, and x has the error that the metrics give it."""

import numpy as np
import pytest

from pipeline.inference.headline.interval import headline
from pipeline.inference.headline.line import margin
from pipeline.inference.headline.prediction_band import band_of, predicted_change
from pipeline.inference.hypotheses.metric_change import metric_change
from pipeline.results.family import Family
from pipeline.results.headline import Headline
from pipeline.study import RegressionConfig
from tests.pipeline.inference.headline.sums import counts
from tests.pipeline.results.samples import hypothesis_result

X = np.array([0.0, 0.1, 0.2, 0.3])


@pytest.fixture
def found():
    """1,000 users per group with one trial each."""
    return headline(X, counts([1000] * 4, [100, 125, 138, 170]), level=0.95)


def test_the_band_spans_the_groups_around_the_line(found):
    band = band_of(found, Family.BINOMIAL, 0.0, 0.3)

    assert (band[0].x, band[-1].x) == (0.0, 0.3)
    odds = np.exp(found.intercept)
    assert band[0].rate == pytest.approx(odds / (1 + odds))
    # at x = 0 the line is the intercept
    high = np.exp(found.intercept + margin(found.margins, (1.0, 0.0)))
    assert band[0].high == pytest.approx(high / (1 + high), rel=1e-5)
    assert all(place.low < place.rate < place.high for place in band)


def test_the_band_of_equal_groups_is_that_of_least_squares():
    """t with g - 2 times the residual standard deviation times √(1/g + (x - mean)² / Sxx)."""
    n, y = np.full(4, 1e9), np.array([0.1, 0.126, 0.134, 0.17]) * 1e9
    found = headline(X, counts(n, y), level=0.95)
    line = np.polynomial.Polynomial.fit(X, np.log(y / (n - y)), 1)
    residuals = np.log(y / (n - y)) - line(X)
    deviation = np.sqrt((residuals**2).sum() / 2)

    width = margin(found.margins, (1.0, 0.3))

    expected = 4.302653 * deviation * np.sqrt(1 / 4 + (0.3 - 0.15) ** 2 / 0.05)
    assert width == pytest.approx(expected, rel=0.01)


def test_a_line_without_an_interval_has_no_band():
    open_end = Headline(level=0.95, slope=1.0, intercept=-2.0, interval=(0.1, None))

    assert band_of(open_end, Family.BINOMIAL, 0.0, 0.2) == ()
    assert predicted_change(hypothesis_result(headline=open_end), 0.0, 0.1) is None


def test_the_predicted_change_of_an_amount_is_its_slope_times_the_change_of_x(found):
    result = hypothesis_result(headline=found, link=Family.POISSON)

    change = predicted_change(result, 0.1, 0.3)

    assert np.log1p(change.change) == pytest.approx(0.2 * found.slope)
    assert np.log1p(change.interval) == pytest.approx(0.2 * np.array(found.interval))


def test_the_error_of_x_agrees_with_draws():
    rng = np.random.default_rng(1)
    values, root = np.array([0.40, 0.44, 0.48]), 0.004 * np.array(
        [[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.5, 0.5, 0.7]]
    )  # fmt: skip
    drawn = values + rng.standard_normal((100_000, 3)) @ root.T

    change = metric_change(values, root @ root.T, RegressionConfig(), ["a", "b", "c"])
    errors = np.sqrt(change.covariance_GG.diagonal())

    assert errors[0] == pytest.approx(0.0, abs=1e-12)
    spread = (drawn / drawn[:, :1] - 1).std(axis=0)
    np.testing.assert_allclose(errors[1:], spread[1:], rtol=0.02)


def test_an_unknown_covariance_or_a_metric_of_0_has_no_error_of_x():
    known, zero = np.array([0.1, 0.2]), np.array([0.0, 0.2])
    assert metric_change(known, None, RegressionConfig(), ["a", "b"]).covariance_GG is None
    assert metric_change(zero, np.eye(2), RegressionConfig(), ["a", "b"]).covariance_GG is None
