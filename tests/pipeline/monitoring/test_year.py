"""A year of a shop that sleeps at night and on Sundays, where clocks change, by a clock that the test turns."""

import json
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.monitoring.alarms import AlertName, silence_alarms
from pipeline.monitoring.evaluate import Watched, evaluate
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.ledger import Ledger, Period, UserSums
from pipeline.monitoring.following.outcomes import MONITORED
from pipeline.monitoring.following.rows import Slice
from pipeline.monitoring.statistics.silence import expected_lists
from tests.pipeline.serving.shop import write_params, write_plan

HOUR = 3600
BERLIN = ZoneInfo("Europe/Berlin")
FIRST = datetime(2026, 1, 7, tzinfo=BERLIN)
"""A Wednesday."""


def is_open(at):
    """From 6 to 24 on working days; from 9 on Saturday; never on Sunday."""
    return at.hour >= {5: 9, 6: 24}.get(at.weekday(), 6)


def lists_of_a_year(rng):
    """Lists by hour since 1970 UTC: 4,000 in an hour of the day on average."""
    start = int(FIRST.timestamp()) // HOUR
    return {
        hour: int(rng.poisson(4000))
        for hour in range(start, start + 365 * 24)
        if is_open(datetime.fromtimestamp(hour * HOUR, BERLIN))
    }


def nights_of(lists):
    """The hours without lists: the end of the last one with any, and the beginning of the next one."""
    return [((a + 1) * HOUR, b * HOUR) for a, b in pairwise(lists) if b > a + 1]


@pytest.fixture(scope="module")
def lists():
    return lists_of_a_year(np.random.default_rng(0))


def before(lists, now):
    """What is read at a look: four weeks of hours."""
    return {hour: n for hour, n in lists.items() if now // HOUR - 29 * 24 <= hour < now // HOUR}


def test_a_year_without_traffic_at_night_raises_no_alarm(lists):
    """At the last second of each night, when the most lists are missing."""
    nights = nights_of(lists)
    loud = [
        datetime.fromtimestamp(until, BERLIN).isoformat()
        for since, until in nights
        if silence_alarms(
            until - 1 - since, expected_lists(before(lists, until), since, until - 1), 3
        )
    ]

    assert loud == []
    assert len(nights) == 312  # each before a day that is not a Sunday
    assert {datetime.fromtimestamp(since, BERLIN).utcoffset() for since, _ in nights} == {
        timedelta(hours=1),
        timedelta(hours=2),
    }


def test_a_fault_by_day_is_found_in_four_minutes_on_the_days_after_a_change_of_the_clock(lists):
    """From one hour after the shop opens to one before it closes."""
    for month, day in ((3, 30), (4, 7), (10, 26), (11, 3)):
        for hour in range(8, 22):
            since = datetime(2026, month, day, hour, tzinfo=BERLIN).timestamp()
            expected = expected_lists(before(lists, since), since, since + 240)
            assert silence_alarms(240, expected, 3), (month, day, hour)


@pytest.mark.slow
def test_looks_in_the_nights_of_the_first_weekend_and_of_changes_of_the_clock(
    lists, tmp_path, small_params
):
    """Whole looks at sums in the database; the same look by day has the alarm from the second week on, and no other."""
    study = write_params(tmp_path, small_params)
    plan = write_plan(StudyPaths.of(study, tmp_path))
    watched = Watched(
        plan=plan, kpis=["ctr"], dropped=["ctr"], planned_users=1e6, silence_minutes=3
    )
    database = Database.open(tmp_path / "monitor.sqlite")
    with database.transaction():
        part = Ledger(database).slice_number(Slice(experiment="spring", group="g1"))
        for hour, n in lists.items():
            sums = dict.fromkeys(MONITORED, UserSums()) | {"ctr": UserSums(n, n, 0, n, 0, 0)}
            row = (Period.HOUR, hour, part, json.dumps(sums))
            database.connection.execute("INSERT INTO sums VALUES (?, ?, ?, ?)", row)
    days = {
        (2026, 1, 10),
        (2026, 1, 12),
        (2026, 3, 30),
        (2026, 3, 31),
        (2026, 10, 26),
        (2026, 10, 27),
    }
    nights = [
        (since, until)
        for since, until in nights_of(lists)
        if tuple(datetime.fromtimestamp(until, BERLIN).timetuple()[:3]) in days
    ]

    assert len(nights) == 6
    for since, until in nights:
        assert evaluate(database, watched, now=until - 1, written=since).alarms == []
        noon = until + 6 * HOUR
        found = evaluate(database, watched, now=noon + 240, written=noon).alarms
        is_known = noon > FIRST.timestamp() + 7 * 24 * HOUR  # a closed day was the quietest before
        assert [one.name for one in found] == [AlertName.LOG_STOPPED] * is_known
    database.close()
