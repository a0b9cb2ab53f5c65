"""A log that has stopped, and a shop at night."""

import pytest

from pipeline.monitoring.statistics.silence import LEAST_EXPECTED, expected_lists

HOUR = 3600
MIDNIGHT = 20_400 * 24


def days_of(n, *, night=frozenset(range(2, 6)), per_hour=600, closed=()):
    """Lists by hour of so many days; none at night and on closed days."""
    return {
        MIDNIGHT + 24 * day + hour: per_hour
        for day in range(n)
        for hour in range(24)
        if hour not in night and day not in closed
    }


def at(day, hour):
    return (MIDNIGHT + 24 * day + hour) * HOUR


@pytest.mark.parametrize("days", [2, 10, 40])
def test_as_many_lists_are_expected_as_at_that_hour_before(days):
    since = at(days, 10)

    assert expected_lists(days_of(days), since, since + 300) == 50
    assert expected_lists(days_of(days), since, since + 2 * HOUR) == 1200
    assert (
        expected_lists(days_of(days), at(days, 1.5), at(days, 6)) == 300
    )  # half an hour, no night


@pytest.mark.parametrize("days", [2, 10, 40])
def test_no_list_is_expected_at_night(days):
    assert expected_lists(days_of(days), at(days, 2), at(days, 6)) == 0


def test_a_shop_that_is_closed_on_sundays():
    """From the second week on the weekday is known; before, the quietest day counts."""
    assert expected_lists(days_of(14, closed=(6, 13)), at(20, 10), at(20, 12)) == 0
    assert expected_lists(days_of(14, closed=(6, 13)), at(15, 10), at(15, 12)) == 1200


def test_one_broken_day_does_not_make_the_next_week_blind():
    assert expected_lists(days_of(28, closed=(21,)), at(28, 10), at(28, 11)) == 600


def test_on_the_first_day_nothing_is_expected():
    lists = {MIDNIGHT: 100, MIDNIGHT + 1: 1200, MIDNIGHT + 2: 10}

    assert expected_lists(lists, at(0, 2.1), at(0, 2.6)) == 0
    assert expected_lists({}, at(0, 1), at(0, 3)) == 0
    assert expected_lists(lists, at(0, 3), at(0, 3)) == 0


def test_a_year_of_nights_without_traffic_raises_no_alarm():
    lists = days_of(365, per_hour=36_000)

    loud = [
        day
        for day in range(1, 365)
        if expected_lists(lists, at(day, 2), at(day, 6)) >= LEAST_EXPECTED
    ]

    assert loud == []
