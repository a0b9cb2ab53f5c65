"""A log that has stopped, and a shop at night."""

import pytest

from pipeline.monitoring.statistics.silence import expected_lists

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
        expected_lists(days_of(days + 1), at(days, 22.5), at(days + 1, 6)) == 1500
    )  # until 1, not 2


def test_an_hour_next_to_a_quiet_one_is_quiet_since_clocks_change():
    """Lists come from 6 to 2: on the day after the change from 5 to 1, or from 7 to 3."""
    assert expected_lists(days_of(40), at(40, 1), at(40, 7)) == 0
    assert expected_lists(days_of(40), at(40, 0), at(40, 8)) == 2 * 600


def test_on_the_first_weekend_nothing_is_expected():
    """A shop of working days; the log begins on a Monday."""
    monday = 2
    lists = {
        hour: n
        for hour, n in days_of(12, closed=(0, 1, 7, 8)).items()
        if hour >= MIDNIGHT + 24 * monday
    }

    assert expected_lists(lists, at(6, 10), at(6, 12)) == 1200
    assert (
        expected_lists(
            {h: n for h, n in lists.items() if h < at(7, 0) / HOUR}, at(6, 23.9), at(8, 20)
        )
        == 0
    )
    assert expected_lists(lists, at(9, 10), at(9, 12)) == 1200


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
