"""Which sessions are for training, validation and test: a split by time that does not leak.

A session belongs to the part of the data it lies in whole. A session that straddles a cut is
dropped and counted: nothing in train happened after the cut, and no test session began before it.
"""

import polars as pl

from pipeline.errors import DataError
from pipeline.schemas import DAY_MS, Split

STRADDLES = "straddles"


def assign_splits(
    events: pl.DataFrame, *, test_days: float, validation_days: float
) -> pl.DataFrame:
    """One row a session: first and last time of any of its events, and its split.

    The test part is the last ``test_days`` of the data, the validation part the
    ``validation_days`` before it. ``split`` is a :class:`Split` or ``"straddles"``.

    Raises:
        DataError: if the data does not reach back beyond the two parts.
    """
    end = _time(events, "max") + 1
    test_from = end - round(test_days * DAY_MS)
    validation_from = test_from - round(validation_days * DAY_MS)
    if validation_from <= (start := _time(events, "min")):
        msg = (
            f"the data covers {(end - start) / DAY_MS:.2f} days, not more than "
            f"sessions.test_days + sessions.validation_days = {test_days + validation_days}; "
            "shorten them so that training data remains"
        )
        raise DataError(msg)
    first, last = pl.col("first_ts"), pl.col("last_ts")
    split = (
        pl.when(first >= test_from)
        .then(pl.lit(Split.TEST.value))
        .when((first >= validation_from) & (last < test_from))
        .then(pl.lit(Split.VALIDATION.value))
        .when(last < validation_from)
        .then(pl.lit(Split.TRAIN.value))
        .otherwise(pl.lit(STRADDLES))
    )
    return (
        events.group_by("session", maintain_order=True)
        .agg(first_ts=pl.col("ts").min(), last_ts=pl.col("ts").max())
        .with_columns(split=split)
    )


def _time(events: pl.DataFrame, which: str) -> int:
    value = events.select(getattr(pl.col("ts"), which)()).item()
    if value is None:
        msg = "there are no events to split"
        raise DataError(msg)
    return int(value)
