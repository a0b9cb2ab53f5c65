"""The last step of preparation: which sessions are kept, and what each filter drops."""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.core.contracts import SESSIONS, Split
from pipeline.sessions.spill import SpilledSessions
from pipeline.sessions.temporal_split import CROSSING, SPLITS

Ints = NDArray[np.int64]

DROPPED = (
    "sessions_in",
    "sessions_without_click",
    "boundary_sessions",
    "sessions_too_short",
    "clicks_on_unknown_items",
    "sessions_too_short_without_unknown_items",
)
"""What is counted: the sessions before the filters, and what each filter drops."""


class Selection(NamedTuple):
    """The sessions of a piece that are kept.

    Attributes:
        sessions: As :data:`pipeline.core.contracts.SESSIONS`.
        splits: Of each split, its clicks and the clicks of each session.
        dropped: The counts of :data:`DROPPED`.
    """

    sessions: pl.DataFrame
    splits: list[tuple[Split, pl.DataFrame, Ints]]
    dropped: dict[str, int]


def select_sessions(
    staged: SpilledSessions, index: NDArray[np.int32], part: NDArray[np.int8], min_length: int
) -> Selection:
    """Drop boundary sessions, clicks on items outside the catalogue, and short sessions.

    Args:
        staged: Labelled sessions.
        index: Catalogue index of each click's item, -1 outside the catalogue.
        part: Split of each session, as :func:`pipeline.sessions.temporal_split.assign_split`.
        min_length: Smallest number of clicks of a session, before and after the item filter.
    """
    clicks, known = staged.sessions["clicks"].to_numpy(), staged.count(index >= 0)
    inside = (part != CROSSING) & (clicks > 0)
    long_enough = inside & (clicks >= min_length)
    stays = long_enough & (known >= min_length)
    losses = (
        len(clicks),
        (clicks == 0).sum(),
        ((part == CROSSING) & (clicks > 0)).sum(),
        (inside & ~long_enough).sum(),
        (clicks - known)[long_enough].sum(),
        (long_enough & ~stays).sum(),
    )
    chosen = np.flatnonzero(stays[staged.number] & (index >= 0))
    number = staged.number[chosen]
    kept = staged.clicks[chosen].select(pl.Series("item", index[chosen]), "ts", "ordered", "carted")
    sessions = staged.sessions.select(
        "session",
        "first_ts",
        "last_ts",
        split=pl.Series([*(split.value for split in Split), None]).gather(part),
        clicks=pl.Series(known).cast(pl.Int32),
        carted_clicks=pl.Series(_per_session(number, kept["carted"], len(clicks))),
        ordered_clicks=pl.Series(_per_session(number, kept["ordered"], len(clicks))),
    )
    return Selection(
        sessions=sessions.filter(stays).select(list(SESSIONS.columns)),
        splits=[
            (split, kept.filter(part[number] == place), known[stays & (part == place)])
            for place, split in enumerate(SPLITS)
        ],
        dropped={name: int(n) for name, n in zip(DROPPED, losses, strict=True)},
    )


def _per_session(number: Ints, flags: pl.Series, sessions: int) -> NDArray[np.int32]:
    return np.bincount(number[flags.to_numpy()], minlength=sessions).astype(np.int32)
