"""Errors of the offline metrics: what they hide is found, and what they add is added."""

import numpy as np
import pytest

from pipeline.inference.glm.group_regression import GroupSums, fit_line
from pipeline.inference.sensitivity.errors_in_variables import measurement_error

TRUE = np.array([0.40, 0.41, 0.42, 0.43, 0.44])
SLOPE = 3.0


def sums_of(metric, n=3_000_000):
    """Counts that lie on the line exactly."""
    y = np.round(n / (1 + np.exp(2 - SLOPE * (metric / metric.min() - 1))))
    m = np.full(len(metric), float(n))
    return GroupSums(trials=m, successes=y, users=m, sum_mm=m, sum_my=y, sum_yy=y)


def study(values, covariance, sums, seed=0):
    fit = fit_line(values / values.min() - 1, sums, level=0.95)
    return fit, measurement_error(values, covariance, sums, fit, seed=seed)


def test_metrics_without_error_change_nothing():
    fit, found = study(TRUE, np.zeros((5, 5)), sums_of(TRUE))

    assert found.reliability == 1
    assert found.propagated.standard_error == pytest.approx(fit.cluster_robust.standard_error)
    assert found.extrapolated_slope == pytest.approx(fit.slope, rel=1e-6)


def test_an_error_all_groups_share_hardly_matters():
    own = 0.003**2 * np.eye(5)
    shared = np.full((5, 5), 0.003**2)

    (_, alone), (_, together) = (study(TRUE, one, sums_of(TRUE)) for one in (own, shared))

    # together the metrics move up or down: their differences stay, and x with them
    assert together.reliability > 0.999
    assert alone.reliability == pytest.approx(1 - 0.003**2 / np.var(TRUE, ddof=1), abs=0.03)
    assert together.propagated.standard_error < alone.propagated.standard_error / 5


@pytest.mark.slow
def test_the_propagated_interval_covers_where_the_plain_one_does_not():
    covariance = 0.002**2 * np.eye(5)
    sums = sums_of(TRUE, n=30_000_000)
    rng = np.random.default_rng(4)

    plain, propagated, slopes, extrapolated = [], [], [], []
    for seed in range(120):
        measured = TRUE + 0.002 * rng.standard_normal(5)
        fit, found = study(measured, covariance, sums, seed=seed)
        slopes.append(fit.slope)
        extrapolated.append(found.extrapolated_slope)
        plain.append(fit.cluster_robust.interval[0] <= SLOPE <= fit.cluster_robust.interval[1])
        propagated.append(found.propagated.interval[0] <= SLOPE <= found.propagated.interval[1])

    assert np.mean(plain) < 0.3
    assert np.mean(propagated) > 0.9
    # error pulls the slope towards 0 by the reliability, and SIMEX takes most of that back
    reliability = 1 - 0.002**2 / np.var(TRUE, ddof=1)
    assert np.mean(slopes) == pytest.approx(SLOPE * reliability, rel=0.03)
    known = np.array([one for one in extrapolated if one is not None])
    assert abs(known.mean() - SLOPE) < abs(np.mean(slopes) - SLOPE)


def test_metrics_that_are_all_error_have_no_extrapolation():
    _, found = study(TRUE, 0.02**2 * np.eye(5), sums_of(TRUE))

    assert found.reliability < 0.5
    assert found.extrapolated_slope is None


def test_metrics_whose_error_reaches_0_have_no_answer():
    _, found = study(TRUE, 0.5**2 * np.eye(5), sums_of(TRUE))

    assert found is None


def test_the_draws_follow_the_seed():
    one, again, other = (
        study(TRUE, 0.003**2 * np.eye(5), sums_of(TRUE), seed=seed)[1] for seed in (1, 1, 2)
    )

    assert one == again
    assert one != other
