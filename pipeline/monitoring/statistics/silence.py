"""Whether it is unusual that no list is logged: a log that has stopped, not a shop at night."""

from collections.abc import Mapping
from statistics import median

HOUR_SECONDS = 3600
_WEEK = 7 * 24
_WEEKS = 4
_DAYS = 7

LEAST_EXPECTED = 30.0
"""Lists that must be missing: with so many expected, none has a probability below 1e-13 if lists are
independent of each other, and one in a thousand if they come in bursts of four."""


def expected_lists(impressions: Mapping[int, int], since: float, until: float) -> float:
    """The lists that were to be expected between two times (seconds since 1970).

    The rate of an hour is the median of the same hour of the week in the four weeks before; in the first
    week, the smallest of the same hour on the days before; on the first day nothing is expected, since a
    night would look like a fault. An hour without lists is one with 0.

    Args:
        impressions: Lists by hour since 1970 UTC, of hours with any.
        since: When the last list was logged.
        until: Now.
    """
    if not impressions or until <= since:
        return 0.0
    first, total = min(impressions), 0.0
    hour = int(since // HOUR_SECONDS)
    while hour * HOUR_SECONDS < until:
        begin, end = hour * HOUR_SECONDS, (hour + 1) * HOUR_SECONDS
        share = (min(end, until) - max(begin, since)) / HOUR_SECONDS
        total += share * _rate(impressions, first, hour, int(since // HOUR_SECONDS))
        hour += 1
    return total


def _rate(impressions: Mapping[int, int], first: int, hour: int, last: int) -> float:
    """The usual lists of an hour; ``first`` is that of the log's begin, ``last`` that of its last list."""
    weeks = [hour - n * _WEEK for n in range(1, _WEEKS + 1)]
    if known := [one for one in weeks if first < one < last]:
        return float(median(impressions.get(one, 0) for one in known))
    days = [hour - 24 * n for n in range(1, _DAYS)]
    if known := [one for one in days if first < one < last]:
        return float(min(impressions.get(one, 0) for one in known))
    return 0.0
