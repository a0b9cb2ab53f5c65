"""Sessions for data that knows users only: a session ends where its user rests."""

import polars as pl

from pipeline.datasets.session_runs import run_starts

_MINUTE_MS = 60_000


def sessionize_by_inactivity(events: pl.DataFrame, minutes: float) -> pl.DataFrame:
    """Name each event's session ``<user>-<n>``, n = 1, 2, … in order of time.

    A new session begins with the first event more than ``minutes`` after the user's event before
    it, whatever their event_types.

    Args:
        events: Column ``session`` holds the user; a user's rows stand together, in order of time.
        minutes: Longest rest within a session.
    """
    user, new_user = pl.col("session"), pl.lit(run_starts(events["session"]))
    rest = pl.col("ts") - pl.col("ts").shift()
    visit = (new_user | (rest > round(minutes * _MINUTE_MS))).cum_sum()
    first = pl.when(new_user).then(visit).forward_fill()
    number = visit - first + 1
    return events.with_columns(session=pl.format("{}-{}", user, number))
