"""The sample-ratio test: by hand, uniform where users are divided as planned, and sure where not."""

import numpy as np
import pytest
from scipy import stats

from pipeline.inference.diagnostics.sample_ratio import sample_ratio

HALVES = np.array([0.5, 0.5])


def test_the_test_by_hand():
    # (30² + 30²) / 500 = 3.6 on one degree of freedom
    found = sample_ratio(np.array([530.0, 470.0]), HALVES)

    assert found.users == (530, 470)
    assert found.expected == (500, 500)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(3.6**0.5))
    assert found.passed


def test_shares_need_not_be_equal_nor_sum_to_1():
    found = sample_ratio(np.array([200.0, 100.0, 100.0]), np.array([0.2, 0.1, 0.1]))

    assert found.expected == (200, 100, 100)
    assert found.p_value == 1


def test_52_to_48_of_100_000_users_is_caught_in_more_than_99_per_cent():
    rng = np.random.default_rng(1)

    caught = [
        not sample_ratio(np.array([n, 100_000.0 - n]), HALVES).passed
        for n in rng.binomial(100_000, 0.52, 1000)
    ]

    assert np.mean(caught) > 0.99


def test_p_values_are_uniform_without_a_mismatch():
    rng = np.random.default_rng(2)
    shares = np.array([0.4, 0.3, 0.3])

    p_values = [sample_ratio(row, shares).p_value for row in rng.multinomial(9000, shares, 500)]

    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_an_experiment_without_users_is_not_healthy():
    assert not sample_ratio(np.zeros(2), HALVES).passed
