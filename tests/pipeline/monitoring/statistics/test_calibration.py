"""Clicks against predicted clicks: by hand, stale models, and days without a fault."""

from math import exp, log, sqrt

import numpy as np
import pytest

from pipeline.monitoring.click_alarms import calibration_alarms
from pipeline.monitoring.following.click_cells import Cell
from pipeline.monitoring.statistics.calibration import (
    calibration_of,
    day_sums,
    predicted_chances,
)

T6 = 2.4469118511449692
"""The 97.5% quantile of the t distribution with 6 degrees of freedom."""


def day(a, b):
    """Two bins of one group, each with lists and clicks."""
    return {("g1", 0): Cell(*a), ("g1", 1): Cell(*b)}


def random_day(rng, factor=1.0, lists=1000):
    """Four cells with chances of 5% to 20%."""
    return {
        (f"g{n % 2}", n): Cell(lists, int(rng.binomial(lists, 0.05 * (n + 1) * factor)))
        for n in range(4)
    }


def test_predicted_clicks_by_hand():
    """Chances 0.1 and 0.3; 200 and 100 lists: 50 clicks predicted, 40 found."""
    chances = predicted_chances([day((100, 8), (100, 30)), day((300, 32), (100, 30))])
    today = day((200, 15), (100, 25)) | {("g2", 0): Cell(9, 9)}

    sums = day_sums(today, chances, None)

    assert chances == {("g1", 0): 0.1, ("g1", 1): 0.3}
    assert sums == (300, 40, pytest.approx(50), pytest.approx(11), pytest.approx(9))
    assert sums.ratio == pytest.approx(0.8)
    # residuals of the lists: -0.08 and 0.92 in the first bin, -0.24 and 0.76 in the second
    squares = 185 * 0.08**2 + 15 * 0.92**2 + 75 * 0.24**2 + 25 * 0.76**2
    assert sums.relative_variance == pytest.approx(squares * 300 / 299 / 40**2)
    assert day_sums(today, chances, "g2").users == 0


def test_the_interval_has_the_error_of_whole_days_and_of_the_reference():
    """Days with 80 to 120 clicks of 1,000 lists, then one of 80 of 1,000."""
    clicks = [80, 120, 90, 110, 100, 95, 105]
    reference = [day((1000, n), (0, 0)) for n in clicks]
    reference = [{("g1", 0): one["g1", 0]} for one in reference]

    found = calibration_of("m1", None, {("g1", 0): Cell(1000, 80)}, reference)

    between = np.var(np.log(np.array(clicks) / 100), ddof=1)
    assert between > 0.92 / 80  # more than the day's own error
    error = sqrt(between * (1 + 1 / 7))
    assert (found.users, found.clicks, found.predicted) == (1000, 80, pytest.approx(100))
    assert found.ratio == pytest.approx(0.8)
    assert found.low == pytest.approx(exp(log(0.8) - T6 * error))
    assert found.high == pytest.approx(exp(log(0.8) + T6 * error))
    assert 0.05 < found.p_value < 0.5


def test_a_day_with_few_users_has_their_error():
    """Equal days of 100 of 1,000, then 40 of 500: (0.92 / 40) · 500 / 499 and nothing between days."""
    reference = [{("g1", 0): Cell(1000, 100)}] * 7

    found = calibration_of("m1", None, {("g1", 0): Cell(500, 40)}, reference)

    assert found.high == pytest.approx(exp(log(0.8) + T6 * sqrt(0.92 / 40 * 500 / 499)))


def test_an_alarm_is_significant_above_the_floor_and_of_all_groups():
    reference = [{("g1", 0): Cell(100_000, 10_000 + n)} for n in range(7)]

    def alarms(clicks, group=None):
        found = calibration_of("m1", group, {("g1", 0): Cell(100_000, clicks)}, reference)
        return calibration_alarms([found])

    (alarm,) = alarms(8900)
    assert alarm.subject == "m1"
    assert "had 8,900 clicks on one day, 10,003 were predicted" in alarm.text
    assert alarms(9100) == []  # significant, but below the floor
    assert alarms(8900, group="g1") == []
    assert len(alarms(11_200)) == 1


def test_days_with_few_clicks_say_nothing():
    reference = [{("g1", 0): Cell(1000, 100)}] * 7

    assert calibration_of("m1", None, {("g1", 0): Cell(1000, 29)}, reference) is None
    assert calibration_of("m1", None, {}, reference) is None


@pytest.mark.parametrize("sd", [0.0, 0.1])
def test_without_a_fault_at_most_one_day_in_20_is_outside_its_interval(sd):
    """Days differ by a common factor, so that it is one in 20, or by chance alone, so that it is fewer."""
    rng, p_values = np.random.default_rng(3), []
    for _ in range(400):
        days = [random_day(rng, rng.normal(1, sd)) for _ in range(8)]
        p_values.append(calibration_of("m1", None, days[-1], days[:-1]).p_value)

    assert 0.02 * (sd > 0) <= np.mean(np.array(p_values) < 0.05) < 0.08
    assert np.mean(np.array(p_values) < 0.05 / 30) < 0.01


def test_a_stale_model_is_found_the_next_day_if_days_are_alike():
    """500 clicks a day; 40% fewer, after one week."""
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(40):
        days = [random_day(rng) for _ in range(7)]
        found += calibration_of("m1", None, random_day(rng, 0.6), days).is_alarm

    assert found >= 36
