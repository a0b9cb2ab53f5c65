"""Alarms: significant, and above a floor."""

import numpy as np
import pytest

from pipeline.monitoring.alarms import (
    AlertName,
    check_sample_ratio,
    fallback_alarms,
    is_above,
    overlap_alarms,
    quality_alarms,
    sample_ratio_alarms,
    silence_alarms,
)
from pipeline.monitoring.following.ledger import UserSums


@pytest.mark.parametrize(
    ("users", "e_value"),
    [
        ([5000, 5000], 0.7070979424123324),
        ([5200, 4800], 38.6242634490343),
        ([52_000, 48_000], 1.179231095575911e31),
        ([1000] * 4 + [1100], 1.635233025045409),
    ],
)
def test_the_sample_ratio_is_the_golden_one(users, e_value):
    names = [f"g{n}" for n in range(len(users))]

    found = check_sample_ratio(dict(zip(names, users, strict=True)), dict.fromkeys(names, 1.0))

    assert found.e_value == pytest.approx(e_value, rel=1e-9)
    assert bool(sample_ratio_alarms(found)) == (e_value > 20)


def test_a_group_that_is_missing_counts_as_0_users():
    found = check_sample_ratio({"a": 1000}, {"a": 0.5, "b": 0.5})
    (alarm,) = sample_ratio_alarms(found)

    assert found.users == {"a": 1000, "b": 0}
    assert "sample ratio mismatch: users per group are a 1,000, b 0; e-value" in alarm.text
    assert check_sample_ratio({}, {"a": 0.5, "b": 0.5}).e_value == 1


def test_a_tiny_mismatch_of_many_users_is_no_alarm():
    found = check_sample_ratio({"a": 50_400_000, "b": 49_600_000}, {"a": 0.5, "b": 0.5})

    assert found.e_value > 1e6
    assert found.largest_error == pytest.approx(0.008)
    assert sample_ratio_alarms(found) == []


def test_a_fifth_that_is_short_by_5_percent_is_found_and_a_right_one_is_not():
    """Looks every 500 users up to 50,000; 30 experiments each."""
    rng = np.random.default_rng(1)
    names = ["a", "b", "c", "d", "e"]
    plan = dict.fromkeys(names, 0.2)
    found = {}
    for short in (0.0, 0.01):
        shares = [0.2 - short, *[0.2 + short / 4] * 4]
        users = rng.multinomial(500, shares, size=(30, 100)).cumsum(axis=1)
        found[short] = sum(
            any(
                sample_ratio_alarms(check_sample_ratio(dict(zip(names, look, strict=True)), plan))
                for look in looks.tolist()
            )
            for looks in users
        )

    assert found[0.01] >= 27
    assert found[0.0] <= 3


@pytest.mark.parametrize(
    ("minutes", "expected", "is_alarm"),
    [(3.5, 100, True), (2.9, 1000, False), (60, 29, False), (60, 30, True)],
)
def test_silence(minutes, expected, is_alarm):
    assert bool(silence_alarms(60 * minutes, expected, 3.0)) == is_alarm


def test_rows_with_problems():
    rows = {
        ("clicks", ""): 800,
        ("clicks", "no impression"): 150,
        ("clicks", "unknown impression"): 50,
        ("clicks", "repeated click"): 900,  # a user who clicks two items of a list: no fault
        ("orders", ""): 10,
        ("orders", "no impression"): 1,  # a tenth, but of 11
        ("impressions", ""): 10_000,
        ("impressions", "duplicate"): 600,
        ("impressions", "invalid row"): 90,  # 0.8%
        ("impressions", "explored list"): 5000,
    }

    (orphans,) = quality_alarms(rows)

    assert (orphans.name, orphans.subject) == (AlertName.ORPHANS, "clicks")
    assert orphans.value == 200 / 1900
    assert (
        "200 of 1,900 rows of clicks in a day have no impression: 10.5%, above 5%" in orphans.text
    )


def test_a_share_is_above_its_limit_if_that_is_significant():
    assert not is_above(60, 1000, 0.05)
    assert is_above(100, 1000, 0.05)
    assert not is_above(0, 0, 0.05)


def test_fallbacks_by_group():
    """200 users of 5 lists: all of them popular, or 6% of them."""
    every = UserSums(200, 1000, 1000, 5000, 5000, 5000)
    some = UserSums(200, 1000, 60, 5000, 300, 60)

    found = fallback_alarms({"a": every, "b": some, "c": UserSums(9, 9, 9, 9, 9, 9)})

    assert [one.subject for one in found] == ["a"]


def test_lists_that_differ():
    assert [one.subject for one in overlap_alarms({"a": 0.899, "b": 0.95})] == ["a"]
