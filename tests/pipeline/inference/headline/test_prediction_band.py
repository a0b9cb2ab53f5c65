"""The band is that of the line's coefficients, and x has the error that the metrics give it."""

import numpy as np
import pytest

from pipeline.inference.glm.group_regression import GroupSums, LineFit, fit_line
from pipeline.inference.headline.prediction_band import band_of, conservative_covariance
from pipeline.inference.sensitivity.errors_in_variables import relative_change_se
from pipeline.results.family import Family

X = np.array([0.0, 0.1, 0.2])


@pytest.fixture
def fit():
    """1,000 users a group with one trial each."""
    n, y = np.full(3, 1000.0), np.array([100.0, 120.0, 140.0])
    sums = GroupSums(trials=n, successes=y, users=n, sum_mm=n, sum_my=y, sum_yy=y)
    found = fit_line(X, sums, level=0.95)
    assert isinstance(found, LineFit)
    return found


def test_the_slope_s_error_is_that_of_the_covariance(fit):
    assert fit.covariance[1][1] ** 0.5 == pytest.approx(fit.cluster_robust.standard_error)
    widened = conservative_covariance(fit)[1, 1] ** 0.5
    assert widened == pytest.approx(fit.conservative.standard_error)


def test_the_band_spans_the_groups_around_the_line(fit):
    band = band_of(fit, Family.BINOMIAL, 0.2)

    assert (band[0].x, band[-1].x) == (0.0, 0.2)
    odds = np.exp(fit.intercept)
    assert band[0].rate == pytest.approx(odds / (1 + odds))
    # at x = 0 the line is the intercept, whose error is that of its variance
    width = 1.959964 * conservative_covariance(fit)[0, 0] ** 0.5
    high = np.exp(fit.intercept + width)
    assert band[0].high == pytest.approx(high / (1 + high), rel=1e-5)
    assert all(place.low < place.rate < place.high for place in band)
    middle = band[len(band) // 2]
    assert middle.high - middle.low < band[-1].high - band[-1].low


def test_the_error_of_x_agrees_with_draws():
    rng = np.random.default_rng(1)
    values, root = np.array([0.40, 0.44, 0.48]), 0.004 * np.array(
        [[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.5, 0.5, 0.7]]
    )  # fmt: skip
    drawn = values + rng.standard_normal((100_000, 3)) @ root.T

    errors = relative_change_se(values, root @ root.T)

    assert errors[0] == 0.0
    spread = (drawn / drawn[:, :1] - 1).std(axis=0)
    np.testing.assert_allclose(errors[1:], spread[1:], rtol=0.02)


def test_an_unknown_covariance_or_a_metric_of_0_has_no_error_of_x():
    assert np.isnan(relative_change_se(np.array([0.1, 0.2]), None)).all()
    assert np.isnan(relative_change_se(np.array([0.0, 0.2]), np.eye(2))).all()
