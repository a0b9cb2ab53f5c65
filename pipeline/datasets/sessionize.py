"""Sessionization of data without sessions, by inactivity of the user."""

import polars as pl

from pipeline.datasets.session_runs import run_starts

_MINUTE_MS = 60_000


def sessionize_by_inactivity(events: pl.DataFrame, minutes: float) -> pl.DataFrame:
    """Assign each event to a session ``<user>-<n>``, n = 1, 2, … in order of time.

    A new session starts with an event more than ``minutes`` after the user's previous event of any
    type.

    Args:
        events: Column ``session`` is the user; a user's rows are consecutive, sorted by time.
        minutes: The inactivity timeout.
    """
    user, new_user = pl.col("session"), pl.lit(run_starts(events["session"]))
    gap = pl.col("ts") - pl.col("ts").shift()
    session = (new_user | (gap > round(minutes * _MINUTE_MS))).cum_sum()
    first = pl.when(new_user).then(session).forward_fill()
    number = session - first + 1
    return events.with_columns(session=pl.format("{}-{}", user, number))
