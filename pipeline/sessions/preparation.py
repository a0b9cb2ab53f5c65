"""From canonical events to the sessions a model is trained and tested on.

In this order: split by time; sessions with enough clicks; the catalogue, which is the items with
enough clicks *in train*; clicks on other items removed from every split; sessions with enough
clicks again. Carts and orders only label clicks. Every step's losses are counted.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.tokens import SessionTokens
from pipeline.errors import DataError
from pipeline.schemas import ITEMS, SESSIONS, EventKind, Split
from pipeline.sessions.splitting import STRADDLES, assign_splits
from pipeline.study import SessionsSection


@dataclass(frozen=True, slots=True)
class PreparedSessions:
    """Sessions, catalogue, and the clicks of each split.

    ``clicks`` has columns session, ts, item (index into ``items``) and ordered, sorted by split,
    then by the session's row in ``sessions``, then by time. ``counts`` says what each step dropped.
    """

    sessions: pl.DataFrame
    items: pl.DataFrame
    clicks: pl.DataFrame
    counts: dict[str, int]

    def tokens(self, split: Split) -> SessionTokens:
        """The sessions of one split as flat arrays, in the order of ``sessions``."""
        clicks = self.clicks.filter(pl.col("split") == split.value)
        lengths = self.sessions.filter(pl.col("split") == split.value)["clicks"]
        offsets = pl.concat([pl.Series([0], dtype=pl.Int64), lengths.cast(pl.Int64).cum_sum()])
        return SessionTokens(
            items=clicks["item"].to_numpy(),
            ordered=clicks["ordered"].to_numpy(),
            offsets=offsets.to_numpy(),
        )

    def times(self, split: Split) -> NDArray[np.int64]:
        """The time of every click of :meth:`tokens`, milliseconds UTC."""
        return self.clicks.filter(pl.col("split") == split.value)["ts"].to_numpy()


def prepare_sessions(events: pl.DataFrame, section: SessionsSection) -> PreparedSessions:
    """Filter, split and label.

    Raises:
        DataError: if a split or the catalogue ends up empty; the message holds all counts.
    """
    splits = assign_splits(
        events, test_days=section.test_days, validation_days=section.validation_days
    )
    labelled = label_orders(events)
    clicks = labelled.join(
        splits.filter(pl.col("split") != STRADDLES).select("session", "split"),
        on="session",
        maintain_order="left",
    )
    long_enough = _of_length(clicks, section.min_session_length)
    items = catalogue_of(long_enough, section.min_item_support)
    known = long_enough.join(
        items.select("item", "index"), on="item", how="inner", maintain_order="left"
    )
    kept = _of_length(known, section.min_session_length).select(
        "session", "split", "ts", pl.col("index").alias("item"), "ordered"
    )
    sessions = _session_table(kept, splits)
    counts = {
        "sessions_in": splits.height,
        "sessions_without_click": splits.height - _n(labelled),
        "sessions_straddling_a_cut": _n(labelled) - _n(clicks),
        "sessions_too_short": _n(clicks) - _n(long_enough),
        "clicks_on_unknown_items": long_enough.height - known.height,
        "sessions_too_short_without_unknown_items": _n(long_enough) - sessions.height,
        "items": items.height,
        **{f"{split}_sessions": _n(kept.filter(pl.col("split") == split)) for split in Split},
        **{f"{split}_clicks": kept.filter(pl.col("split") == split).height for split in Split},
        **{
            f"{split}_ordered_clicks": int(kept.filter(pl.col("split") == split)["ordered"].sum())
            for split in Split
        },
    }
    _check(counts)
    clicks_in_order = sessions.select("session").join(
        kept, on="session", how="left", maintain_order="left_right"
    )
    return PreparedSessions(
        sessions=SESSIONS.check(sessions),
        items=ITEMS.check(items),
        clicks=clicks_in_order,
        counts=counts,
    )


def label_orders(events: pl.DataFrame) -> pl.DataFrame:
    """The clicks, each with ``ordered`` = 1 if its item is ordered in the session at or after it.

    This is o_t of section 5 of the paper.
    """
    orders = (
        events.filter(pl.col("kind") == EventKind.ORDER.value)
        .group_by("session", "item")
        .agg(last_order_ts=pl.col("ts").max())
    )
    clicks = events.filter(pl.col("kind") == EventKind.CLICK.value)
    joined = clicks.join(orders, on=["session", "item"], how="left", maintain_order="left")
    ordered = (pl.col("last_order_ts") >= pl.col("ts")).fill_null(value=False).cast(pl.UInt8)
    return joined.select("session", "ts", "item", ordered=ordered)


def catalogue_of(clicks: pl.DataFrame, min_support: int) -> pl.DataFrame:
    """Items with at least ``min_support`` clicks in train, the most clicked first."""
    return (
        clicks.filter(pl.col("split") == Split.TRAIN.value)
        .group_by("item")
        .agg(train_clicks=pl.len().cast(pl.Int64))
        .filter(pl.col("train_clicks") >= min_support)
        .sort(["train_clicks", "item"], descending=[True, False])
        .with_row_index("index")
        .select(pl.col("index").cast(pl.Int32), "item", "train_clicks")
    )


def _of_length(clicks: pl.DataFrame, minimum: int) -> pl.DataFrame:
    return clicks.filter(pl.len().over("session") >= minimum)


def _n(clicks: pl.DataFrame) -> int:
    return clicks["session"].n_unique()


def _session_table(clicks: pl.DataFrame, splits: pl.DataFrame) -> pl.DataFrame:
    """Sessions by split, then by time of the first event, then by name."""
    order = pl.col("split").replace_strict({split.value: n for n, split in enumerate(Split)})
    return (
        clicks.group_by("session", "split")
        .agg(clicks=pl.len().cast(pl.Int32), ordered_clicks=pl.col("ordered").sum().cast(pl.Int32))
        .join(splits.select("session", "first_ts", "last_ts"), on="session", how="left")
        .sort(order, "first_ts", "session")
        .select(list(SESSIONS.columns))
    )


def _check(counts: dict[str, int]) -> None:
    empty = [
        name for name in ("items", *(f"{split}_sessions" for split in Split)) if not counts[name]
    ]
    if empty:
        msg = (
            f"nothing is left in {', '.join(empty)} after filtering; counts: {counts}. "
            "Lower sessions.min_item_support, or change the split"
        )
        raise DataError(msg)
