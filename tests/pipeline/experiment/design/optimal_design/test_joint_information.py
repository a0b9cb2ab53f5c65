"""Information on several slopes at once, against least squares by hand and against drawn errors."""

import numpy as np
import pytest
from statsmodels.regression.linear_model import WLS
from statsmodels.stats.outliers_influence import variance_inflation_factor

from pipeline.experiment.design.optimal_design.joint_information import (
    collinear_with,
    fewest_groups,
    information_matrix,
    partial_information,
    variance_inflation,
)

FRONT = np.repeat(np.linspace(0, 1, 5), 2)
SWITCH = np.tile([0.0, 1.0], 5)
EQUAL = np.ones(10)


def test_its_inverse_is_the_covariance_of_weighted_least_squares():
    rng = np.random.default_rng(1)
    x, weights = rng.normal(size=(7, 3)), rng.uniform(1, 5, 7)
    design = np.column_stack([np.ones(7), x])

    fit = WLS(np.zeros(7), design, weights=weights).fit()

    expected = fit.normalized_cov_params[1:, 1:]
    assert np.linalg.inv(information_matrix(x, weights)) == pytest.approx(expected)


def test_with_equal_weights_inflation_is_that_of_the_textbook():
    x = np.random.default_rng(2).normal(size=(8, 3))
    design = np.column_stack([np.ones(8), x])

    found = variance_inflation(information_matrix(x, np.ones(8)))

    assert found == pytest.approx([variance_inflation_factor(design, k) for k in (1, 2, 3)])


def test_of_two_metrics_it_is_1_over_1_less_r_squared():
    """x = (0, 1, 2), z = (0, 1, 1): r² = 1² / (2 · 2/3) = 3/4."""
    x = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 1.0]])

    assert variance_inflation(information_matrix(x, np.ones(3))) == pytest.approx([4, 4])


def test_crossed_axes_do_not_inflate_each_other_and_one_front_has_no_partial_slope():
    crossed = np.column_stack([FRONT, SWITCH])
    one_front = np.column_stack([FRONT, 3 * FRONT, SWITCH])

    assert variance_inflation(information_matrix(crossed, EQUAL)) == pytest.approx([1, 1])
    assert variance_inflation(information_matrix(one_front, EQUAL)) == pytest.approx(
        [np.inf, np.inf, 1]
    )


def test_a_metric_that_is_the_same_in_all_groups_has_no_slope_and_inflates_no_other():
    x = np.column_stack([FRONT, EQUAL])

    assert variance_inflation(information_matrix(x, EQUAL)) == pytest.approx([1, np.inf])


def test_errors_are_subtracted_as_they_add_on_average():
    """Two metrics whose errors correlate, also between groups: the mean over draws is the truth."""
    rng = np.random.default_rng(3)
    true, weights = np.column_stack([FRONT, SWITCH])[:6], rng.uniform(1, 2, 6)
    root = rng.normal(size=(12, 12)) * 0.2
    errors = (root @ root.T).reshape(2, 6, 2, 6).transpose(0, 2, 1, 3)
    drawn = true + (rng.normal(size=(100_000, 12)) @ root.T).reshape(-1, 2, 6).swapaxes(1, 2)

    found = information_matrix(drawn, weights, errors).mean(axis=0)

    assert found == pytest.approx(information_matrix(true, weights), abs=0.03)


def test_many_designs_at_once_are_the_same_one_by_one():
    rng = np.random.default_rng(4)
    x, weights = rng.normal(size=(5, 6, 3)), rng.uniform(1, 2, (5, 6))

    found = variance_inflation(information_matrix(x, weights))

    for n in range(5):
        assert found[n] == pytest.approx(variance_inflation(information_matrix(x[n], weights[n])))


def test_it_names_the_metrics_that_cannot_be_told_apart():
    """A sum of two metrics, a multiple of the third."""
    rng = np.random.default_rng(5)
    a, b, c = rng.normal(size=(3, 12))
    x = np.column_stack([a, b, a + b + 0.05 * rng.normal(size=12), c, 2 * c])
    information = information_matrix(x, np.ones(12))

    found = [collinear_with(information, k) for k in range(5)]

    assert found == [(1, 2), (0, 2), (0, 1), (4,), (3,)]
    assert collinear_with(information[:2, :2], 0) == ()


def test_two_groups_more_than_coefficients_are_needed():
    assert fewest_groups(2) == 3 + 2


def test_partial_information_is_the_inverse_variance_of_a_slope_in_weighted_least_squares():
    rng = np.random.default_rng(6)
    x, weights = rng.normal(size=(7, 2)), rng.uniform(1, 5, 7)
    fit = WLS(np.zeros(7), np.column_stack([np.ones(7), x]), weights=weights).fit()

    found = partial_information(information_matrix(x, weights))

    assert found == pytest.approx(1 / np.diag(fit.normalized_cov_params)[1:])
    assert partial_information(information_matrix(x[:, [0, 0]], weights)) == pytest.approx([0, 0])
