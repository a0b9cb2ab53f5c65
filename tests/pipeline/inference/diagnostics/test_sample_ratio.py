"""The sample-ratio test: by hand, uniform where users are divided as planned, and sure where not."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from pipeline.inference.diagnostics.sample_ratio import (
    sample_ratio,
    sample_ratio_e_value,
    sample_ratio_of,
)

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


@pytest.mark.parametrize(
    ("users", "e_value"),
    [
        ((5000, 5000), 0.7070979424123324),
        ((5200, 4800), 38.6242634490343),
        ((1000, 1000, 1000, 1000, 1100), 1.635233025045409),
        ((0, 0), 1.0),
    ],
)
def test_the_golden_e_values(users, e_value):
    found = sample_ratio_e_value(np.array(users, dtype=float), np.ones(len(users)))

    assert found == pytest.approx(e_value, rel=1e-10)


def test_the_e_value_is_the_likelihood_ratio_of_a_beta_mixture():
    def likelihood(share):
        return share**7 * (1 - share) ** 3

    share = np.linspace(0.4, 0.6, 200_001)
    mixture = np.average(likelihood(share), weights=stats.beta.pdf(share, 5000, 5000))

    found = sample_ratio_e_value(np.array([7.0, 3.0]), HALVES)

    assert found == pytest.approx(mixture / likelihood(0.5), rel=1e-6)


def test_a_mismatch_of_any_size_has_a_finite_e_value_and_fails():
    found = sample_ratio(np.array([0.0, 1e6]), HALVES)

    assert np.isfinite(found.e_value)
    assert not found.passed


def test_a_mismatch_on_an_early_day_is_not_forgotten():
    # 5,600 to 4,400 after a day is 12 standard errors; later days balance it
    days = np.array([[5_600.0, 4_400], [50_000, 50_000]])

    found = sample_ratio(days[-1], HALVES, days)

    assert found.p_value == 1
    assert found.e_value < 1
    assert found.largest_e_value > 1000
    assert not found.passed


def test_daily_looks_at_the_e_value_alarm_in_at_most_1_in_1000():
    rng, alarms = np.random.default_rng(4), 0
    for _ in range(1000):
        users_DG = rng.multinomial(1000, HALVES, 30).cumsum(axis=0).astype(float)
        alarms += max(sample_ratio_e_value(one, HALVES) for one in users_DG) > 1000

    assert alarms <= 4


def test_users_are_summed_over_the_days_of_the_log():
    first = date(2026, 3, 1)
    days = [("b", 0, 10), ("a", 0, 4), ("a", 0, 5), ("b", 1, 10), ("a", 2, 9)]
    daily = pl.DataFrame(
        [
            {"group": group, "day": first + timedelta(days=day), "batch": n, "new_users": users}
            for n, (group, day, users) in enumerate(days)
        ]
    )
    kpis = pl.DataFrame({"group": ["a", "b"], "kpi": "ctr", "users": [18, 20]})

    found = sample_ratio_of(kpis, {"a": 1.0, "b": 1.0}, daily)

    by_day = [sample_ratio_e_value(np.array(one), HALVES) for one in ([9, 10.0], [9, 20.0])]
    assert found.users == (18, 20)
    assert found.largest_e_value == pytest.approx(max(by_day))
