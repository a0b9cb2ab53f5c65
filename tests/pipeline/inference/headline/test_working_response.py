"""The groups on the link scale and their variances, by hand."""

import numpy as np
import pytest
from scipy.special import logit

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.working_response import (
    effective_users,
    user_variance,
    working_response,
)
from pipeline.results.family import Family
from tests.pipeline.inference.headline.sums import amounts, counts

# two users with five trials each: clicks (2, 0) in the first group, (3, 2) in the second
CLICKS = GroupSums.over_users(
    Family.BINOMIAL, np.full((2, 2), 5.0), np.array([[2.0, 0.0], [3.0, 2.0]])
)


def test_of_a_line_through_all_groups_the_response_is_the_link_of_the_rate():
    found = working_response(np.array([0.0, 0.1]), CLICKS)

    assert found.values_G == pytest.approx(logit([0.2, 0.5]))


def test_all_users_share_one_correlation():
    # U/(U-1) Q: 2 · (1² + 1²) = 4 and 2 · (0.5² + 0.5²) = 1; n p q: 1.6 and 2.5
    # pairs: (50 - 10) · 0.16 and (50 - 10) · 0.25
    correlation = (4 - 1.6 + 1 - 2.5) / (6.4 + 10)

    found = user_variance(np.array([0.2, 0.5]), CLICKS)

    design = 1 + correlation * (50 / 10 - 1)
    assert found == pytest.approx([design / 1.6, design / 2.5])


def test_the_variance_is_at_least_that_of_independent_trials():
    alike = GroupSums.over_users(Family.BINOMIAL, np.full((2, 2), 5.0), np.full((2, 2), 2.0))

    assert user_variance(np.array([0.4, 0.4]), alike) == pytest.approx([1 / 2.4] * 2)


def test_one_trial_per_user_has_the_binomial_variance():
    found = user_variance(np.array([0.1, 0.2]), counts([100, 50], [10, 10]))

    assert found == pytest.approx([1 / 9, 1 / 8])


def test_a_group_without_success_has_the_variance_of_its_line():
    x = np.linspace(0, 1, 5)

    found = working_response(x, counts([1000] * 5, [0, 2, 0, 3, 1]))

    assert np.isfinite(found.values_G).all()
    assert (1 / found.variance_G).sum() == pytest.approx(6, rel=0.01)  # n p q, p small


def test_a_fit_that_has_run_off_has_no_response():
    # a rate of 1 to the last digit, and one failure in the group: (999 - 1000) / (1000 · 0)
    found = working_response(np.array([0, 0.5, 10]), counts([1000] * 3, [500, 990, 999]))

    assert np.isnan(found.values_G[2])


def test_amounts_do_not_know_their_currency():
    rng = np.random.default_rng(1)
    euros = (rng.random((4, 200)) < 0.2) * rng.lognormal(3, 1, (4, 200))
    x = np.linspace(0, 1, 4)

    one, other = (working_response(x, amounts(unit * euros)) for unit in (1, 100))

    assert other.variance_G == pytest.approx(one.variance_G)
    assert other.values_G - one.values_G == pytest.approx([np.log(100)] * 4)


def test_effective_users_by_hand():
    sums = GroupSums.over_users(
        Family.BINOMIAL, np.array([[1.0, 1.0], [9.0, 1.0]]), np.zeros((2, 2))
    )

    assert effective_users(sums) == pytest.approx(2 + 100 / 82)


def test_many_experiments_at_once_are_each_of_them():
    x, rng = np.linspace(0, 0.1, 5), np.random.default_rng(2)
    y = rng.binomial(1000, 0.1, (3, 5)).astype(float)

    batch = working_response(x, counts(np.full((3, 5), 1000), y))

    for row in range(3):
        one = working_response(x, counts([1000] * 5, y[row]))
        assert batch.values_G[row] == pytest.approx(one.values_G)
        assert batch.variance_G[row] == pytest.approx(one.variance_G)
