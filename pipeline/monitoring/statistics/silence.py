"""Whether it is unusual that no list is logged: a log that has stopped, not a shop at night."""

from collections.abc import Mapping
from statistics import median

HOUR_SECONDS = 3600
_WEEK = 7 * 24
_WEEKS = 4
_DAYS = 7
_THURSDAY, _SATURDAY = 3, 5
"""Of a week that begins on Monday; the first one is 1 January 1970."""

LEAST_EXPECTED = 30.0
"""Lists that must be missing: with so many expected, none has a probability below 1e-13 if lists are
independent of each other, and one in a thousand if they come in bursts of four."""


def expected_lists(impressions: Mapping[int, int], since: float, until: float) -> float:
    """The lists that were to be expected between two times (seconds since 1970).

    An hour's rate is the smallest usual one of it and of the hours before and after: hours are those of UTC, and
    local ones move by one where clocks change. The usual rate of an hour is the median of the same hour of the week in the
    four weeks before. In the first week it is the smallest of the same hour on the days before, and on Saturday
    and Sunday 0; on the first day nothing is expected, since a night would look like a fault. An hour
    without lists is one with 0.

    Args:
        impressions: Lists by hour since 1970 UTC, of hours with any.
        since: When the last list was logged.
        until: Now.
    """
    if not impressions or until <= since:
        return 0.0
    first, total = min(impressions), 0.0
    hour = last = int(since // HOUR_SECONDS)
    while hour * HOUR_SECONDS < until:
        begin, end = hour * HOUR_SECONDS, (hour + 1) * HOUR_SECONDS
        share = (min(end, until) - max(begin, since)) / HOUR_SECONDS
        near = (hour - 1, hour, hour + 1)
        total += share * min(_usual(impressions, first, one, last) for one in near)
        hour += 1
    return total


def _usual(impressions: Mapping[int, int], first: int, hour: int, last: int) -> float:
    """The usual lists of an hour; ``first`` is that of the log's begin, ``last`` that of its last list."""
    weeks = [hour - n * _WEEK for n in range(1, _WEEKS + 1)]
    if known := [one for one in weeks if first < one < last]:
        return float(median(impressions.get(one, 0) for one in known))
    if (hour // 24 + _THURSDAY) % _DAYS >= _SATURDAY:
        return 0.0  # working days say nothing about the first weekend
    days = [hour - 24 * n for n in range(1, _DAYS)]
    if known := [one for one in days if first < one < last]:
        return float(min(impressions.get(one, 0) for one in known))
    return 0.0
