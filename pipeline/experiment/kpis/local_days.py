"""Days of a time zone, as expressions that every engine has.

The offset from UTC is constant between two changes of the clocks, which Python knows.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import ibis

from pipeline.core.contracts import DAY_MS
from pipeline.experiment.kpis.user_totals import exact_quotient


def local_day(ts: Any, offsets: list[tuple[int, int]]) -> Any:
    """Days since 1970 of times (milliseconds since 1970 UTC).

    ``offsets`` is the result of :func:`offsets_of`.
    """
    *changes, (_, last) = offsets
    shift = (
        ibis.cases(*((ts < end, offset) for end, offset in changes), else_=last)
        if changes
        else last
    )
    return exact_quotient(ts + shift, DAY_MS).cast("int32")


def offsets_of(time_zone: str, first_ts: int, last_ts: int) -> list[tuple[int, int]]:
    """The offsets from UTC between two times, each with its end; all in milliseconds."""
    zone, found = ZoneInfo(time_zone), list[tuple[int, int]]()
    time = first_ts
    while time < last_ts:
        following = min(time + DAY_MS, last_ts)
        if _offset(zone, time) != _offset(zone, following):
            change = _change(zone, time, following)
            found.append((change, _offset(zone, time)))
        time = following
    return [*found, (last_ts + 1, _offset(zone, last_ts))]


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """The first time with the offset of ``after``; the offset changes once between the two."""
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == _offset(zone, after):
            after = middle
        else:
            before = middle
    return after


def _offset(zone: ZoneInfo, ts: int) -> int:
    """Milliseconds that local clocks are ahead of UTC."""
    moment = datetime.fromtimestamp(ts / 1000, UTC).astimezone(zone)
    return (moment.utcoffset() or timedelta(0)) // timedelta(milliseconds=1)
