"""Intervals that hold on all days at once: by hand, and against looking every day."""

from math import exp, log, sqrt

import numpy as np
import pytest

from pipeline.inference.glm.group_regression import fit_line
from pipeline.inference.sensitivity.sequential import confidence_sequence
from tests.pipeline.inference.shops import X, weeks


def test_the_interval_of_the_first_day_by_hand():
    outcome = weeks(2, days=3)
    fit = fit_line(X, outcome.until(0), level=0.95)
    variance = fit.cluster_robust.standard_error**2

    first = confidence_sequence(X, outcome, level=0.95, planned_days=3)[0]

    mixture = (-2 * log(0.05) + log(1 - 2 * log(0.05))) * variance / 3
    width = sqrt(variance * (1 + variance / mixture) * log((1 + mixture / variance) / 0.05**2))
    assert first.day == outcome.days[0]
    assert first.slope == fit.slope
    assert first.interval == pytest.approx((fit.slope - width, fit.slope + width))
    # 1 / Λ of the mixture sequential probability ratio test
    ratio = sqrt(variance / (variance + mixture)) * exp(
        mixture * fit.slope**2 / (2 * variance * (variance + mixture))
    )
    assert first.p_value == pytest.approx(min(1.0, 1 / ratio))


@pytest.mark.slow
def test_intervals_and_p_values_say_the_same():
    for seed, slope in ((1, 0.0), (2, 2.0), (3, -4.0)):
        looks = confidence_sequence(X, weeks(seed, slope=slope), level=0.95, planned_days=30)
        p_values = [look.p_value for look in looks]
        outside = [look.excludes_0 for look in looks]

        assert p_values == sorted(p_values, reverse=True)
        assert [p < 0.05 for p in p_values] == [any(outside[: n + 1]) for n in range(len(looks))]


def test_on_the_planned_last_day_the_interval_is_half_as_wide_again():
    # 3.04 instead of 1.96 errors where the variance falls with the days (statistics of AsympCS)
    last = confidence_sequence(X, weeks(4), level=0.95, planned_days=30)[-1]

    assert (last.interval[1] - last.slope) / last.standard_error == pytest.approx(3.05, abs=0.05)


def test_days_without_a_slope_have_no_interim_estimate():
    outcome = weeks(6, days=5)
    outcome.successes_GDB[:, :2] = 0

    looks = confidence_sequence(X, outcome, level=0.95, planned_days=5)

    assert [look.day for look in looks] == list(outcome.days[2:])


def ever_wrong(seeds):
    """Share of null worlds in which some of 30 daily looks excludes 0: ours, and 95 % intervals."""
    ours, naive = [], []
    for seed in seeds:
        looks = confidence_sequence(X, weeks(seed), level=0.95, planned_days=30)
        tests = list(looks)
        ours.append(any(one.excludes_0 for one in tests))
        naive.append(any(abs(one.slope) > 1.96 * one.standard_error for one in tests))
    return np.mean(ours), np.mean(naive)


@pytest.mark.slow
def test_thirty_interim_tests_have_few_false_positives():
    ours, naive = ever_wrong(range(30))

    assert ours <= 0.1  # of 30; 5 % of 400 in the slow one
    assert naive > ours


@pytest.mark.slow
def test_thirty_interim_tests_have_at_most_five_percent_of_false_positives():
    ours, naive = ever_wrong(range(1000, 1400))

    assert ours <= 0.05
    assert naive > 0.25


@pytest.mark.slow
def test_a_planted_slope_is_held_on_all_days_at_once():
    held = []
    for seed in range(2000, 2200):
        looks = confidence_sequence(
            X, weeks(seed, slope=1.5, spread=0.5), level=0.95, planned_days=30
        )
        intervals = [look.interval for look in looks]
        # users differ, so the marginal slope is a little below the planted one
        truth = 1.5 / sqrt(1 + 0.346 * 0.5**2)
        held.append(all(low < truth < high for low, high in intervals))

    assert np.mean(held) >= 0.95
