"""Profile of the prepared data: events per day, splits, popularity of items, drift.

Memory grows with the catalogue and by one byte per session; clicks are read in slices of the
memory-mapped tokens, events by the streaming engine. Undefined values are None.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.tokens import SessionTokens
from pipeline.artifacts.storage import read_json
from pipeline.core.contracts import EventType, Split
from pipeline.sessions.days import day_of, events_by_day
from pipeline.sessions.token_store import open_tokens

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

LAST_LENGTH_BIN = 20
"""Sessions with more clicks share the histogram's last bin."""

LENGTH_BINS = (*(str(length) for length in range(2, LAST_LENGTH_BIN + 1)), f">{LAST_LENGTH_BIN}")

RANDOM_DIVISIONS = 10
"""Random divisions of the train and test sessions, as a baseline for drift."""

_TOP_ITEMS = 1000
_TOP_PER_CENT = (1, 10, 50)
_CURVE_POINTS = 40
_CLICKS_PER_SLICE = 1 << 23


def profile_sessions(
    events: Path, sessions: Path, *, seed: int = 0, time_zone: str = "UTC"
) -> dict[str, Any]:
    """Profile prepared data.

    Args:
        events: Folder written by :func:`pipeline.datasets.ingest_events.write_events`.
        sessions: Folder written by :func:`pipeline.sessions.prepare.write_sessions`.
        seed: Seed of the random divisions that drift is compared with.
        time_zone: The zone of the days.

    Returns:
        JSON-able values: ``events_by_day`` (days without events are absent), ``by_split``,
        ``popularity``, ``drift`` (train against test), ``rejected_by_reason`` and ``dropped``.
        Shares are in [0, 1].
    """
    read, kept = (read_json(folder / "summary.json") for folder in (events, sessions))
    happens = {event_type: read["event_types"][event_type.value] > 0 for event_type in EventType}
    totals = _totals_by_length(sessions / "sessions.parquet")
    by_split = {
        split.value: _describe(totals.filter(pl.col("split") == split.value), happens, time_zone)
        for split in Split
    }
    train, test = (
        open_tokens(sessions / "tokens.safetensors", split) for split in (Split.TRAIN, Split.TEST)
    )
    in_train, in_test = (_count(tokens, kept["items"]) for tokens in (train, test))
    divisions = _divisions(train, test, in_train + in_test, seed)
    return {
        "time_zone": time_zone,
        "has_times": read.get("has_times", True),
        "events_by_day": events_by_day(events / "events.parquet", time_zone),
        "by_split": by_split,
        "popularity": _popularity(in_train.items, in_test.items),
        "drift": {
            **_drift(in_train, in_test, divisions),
            "conversion": _change(by_split[Split.TRAIN], by_split[Split.TEST]),
        },
        "rejected_by_reason": read["rejected_by_reason"],
        "dropped": {name: n for name, n in kept.items() if _is_loss(name)},
    }


def _is_loss(name: str) -> bool:
    """Whether a count of the summary is of what was dropped, not of the input or the result."""
    return name not in {"sessions_in", "items"} and not name.startswith(tuple(Split))


def _totals_by_length(path: Path) -> pl.DataFrame:
    """One row per split and session length, with the sums from which all statistics follow."""
    carted, ordered = (pl.col(f"{what}_clicks").cast(pl.Int64) for what in ("carted", "ordered"))
    return (
        pl.scan_parquet(path, glob=False)
        .group_by("split", length=pl.col("clicks").cast(pl.Int64))
        .agg(
            sessions=pl.len().cast(pl.Int64),
            carted=carted.sum(),
            ordered=ordered.sum(),
            ordered_squared=(ordered**2).sum(),
            with_order=(ordered > 0).sum().cast(pl.Int64),
            first_ts=pl.col("first_ts").min(),
            last_ts=pl.col("last_ts").max(),
        )
        .collect(engine="streaming")
        .sort("split", "length")
    )


def _describe(part: pl.DataFrame, happens: dict[EventType, bool], time_zone: str) -> dict[str, Any]:
    """Statistics of one split; an event type the shop never records has share None."""
    lengths, n = part["length"].to_numpy(), part["sessions"].to_numpy()
    sessions, clicks = int(n.sum()), int((lengths * n).sum())
    bins = np.bincount(np.minimum(lengths, LAST_LENGTH_BIN + 1) - 2, n, len(LENGTH_BINS)) / sessions
    days = part.select(
        day_of(end, time_zone).dt.to_string("iso")
        for end in (pl.col("first_ts").min(), pl.col("last_ts").max())
    )
    carts, orders = happens[EventType.CART], happens[EventType.ORDER]
    return {
        "sessions": sessions,
        "clicks": clicks,
        "first_day": days["first_ts"][0],
        "last_day": days["last_ts"][0],
        "median_length": _quantile(lengths, n, 0.5),
        "mean_length": clicks / sessions,
        "p90_length": _quantile(lengths, n, 0.9),
        "carted_share": int(part["carted"].sum()) / clicks if carts else None,
        "ordered_clicks": int(part["ordered"].sum()) if orders else None,
        "ordered_share": int(part["ordered"].sum()) / clicks if orders else None,
        "ordered_share_se": _ordered_share_error(part) if orders else None,
        "sessions_with_order_share": int(part["with_order"].sum()) / sessions if orders else None,
        "length_shares": dict(zip(LENGTH_BINS, bins.tolist(), strict=True)),
    }


def _quantile(values: Ints, counts: Ints, share: float) -> float:
    """``numpy.quantile`` of the values repeated by their counts."""
    place = share * (int(counts.sum()) - 1)
    ends = np.searchsorted(np.cumsum(counts), [math.floor(place), math.ceil(place)], side="right")
    below, above = values[ends]
    return float(below + (place - math.floor(place)) * (above - below))


def _ordered_share_error(part: pl.DataFrame) -> float | None:
    """Standard error of ordered / clicks with sessions as clusters (delta method).

    ``sqrt(S/(S-1) · Σ_s (y_s - p m_s)²) / Σ m`` with m clicks and y ordered clicks of session s;
    the sum is in integers, so that 0 is exact. None with fewer than two sessions.
    """
    sums = part.select(
        s=pl.col("sessions").sum(),
        m=(pl.col("length") * pl.col("sessions")).sum(),
        y=pl.col("ordered").sum(),
        mm=(pl.col("length") ** 2 * pl.col("sessions")).sum(),
        my=(pl.col("length") * pl.col("ordered")).sum(),
        yy=pl.col("ordered_squared").sum(),
    )
    s, m, y, mm, my, yy = (int(value) for value in sums.row(0))
    if s < 2:
        return None
    squares = m * m * yy - 2 * m * y * my + y * y * mm
    return math.sqrt(squares * s / (s - 1)) / m**2


def _change(train: dict[str, Any], test: dict[str, Any]) -> dict[str, float | None]:
    """Ordered share of clicks in test minus train; z assumes independent sessions."""
    shares = [split["ordered_share"] for split in (train, test)]
    errors = [split["ordered_share_se"] for split in (train, test)]
    difference = None if None in shares else shares[1] - shares[0]
    error = None if None in errors else math.hypot(*errors)
    z = difference / error if difference is not None and error else None
    return {"difference": difference, "standard_error": error, "z": z}


def _popularity(train: Ints, test: Ints) -> dict[str, Any]:
    """Distribution of clicks over the catalogue, items sorted by their clicks in train."""
    items, order = len(train), np.argsort(-train, kind="stable")
    of_train, of_test = (np.cumsum(clicks[order]) / clicks.sum() for clicks in (train, test))
    tops = [(share, -(-items * share // 100)) for share in _TOP_PER_CENT]
    points = np.unique(np.geomspace(1, items, _CURVE_POINTS).round().astype(np.int64))
    return {
        "items": items,
        "gini": _gini(train),
        "top": [
            {"per_cent": share, "items": n, "train": float(of_train[n - 1])} for share, n in tops
        ],
        "curve": [
            {"items": int(n), "train": float(of_train[n - 1]), "test": float(of_test[n - 1])}
            for n in points
        ],
    }


def _gini(clicks: Ints) -> float:
    """Gini index of clicks: 0 if all items have equally many, (n - 1) / n if one of n has all."""
    n, ranks = len(clicks), np.arange(1, len(clicks) + 1)
    return 2 * int((ranks * np.sort(clicks)).sum()) / (n * int(clicks.sum())) - (n + 1) / n


@dataclass(frozen=True, slots=True)
class _Counts:
    """Clicks of each item and sessions of each (binned) length, of a set of sessions."""

    items: Ints
    lengths: Ints

    def __add__(self, other: "_Counts") -> "_Counts":
        return _Counts(self.items + other.items, self.lengths + other.lengths)

    def __sub__(self, other: "_Counts") -> "_Counts":
        return _Counts(self.items - other.items, self.lengths - other.lengths)


def _count(tokens: SessionTokens, items: int, chosen: Flags | None = None) -> _Counts:
    """Counts of the chosen sessions, or of all."""
    total = _Counts(np.zeros(items, np.int64), np.zeros(LAST_LENGTH_BIN + 2, np.int64))
    for piece in _slices(tokens.offsets):
        offsets = tokens.offsets[piece.start : piece.stop + 1]
        clicked, lengths = tokens.items[offsets[0] : offsets[-1]], np.diff(offsets)
        if chosen is not None:  # far fewer than all: the test split's share
            rows = np.flatnonzero(chosen[piece])
            clicked = tokens.items[tokens.clicks_of(piece.start + rows)]
            lengths = lengths[rows]
        binned = np.minimum(lengths, LAST_LENGTH_BIN + 1)
        total.items[:] += np.bincount(clicked, minlength=items)
        total.lengths[:] += np.bincount(binned, minlength=LAST_LENGTH_BIN + 2)
    return total


def _slices(offsets: Ints) -> Iterator[slice]:
    """Consecutive ranges of sessions with about :data:`_CLICKS_PER_SLICE` clicks each."""
    starts = np.arange(0, int(offsets[-1]), _CLICKS_PER_SLICE)
    bounds = np.unique([*np.searchsorted(offsets[:-1], starts), len(offsets) - 1])
    for first, last in pairwise(bounds.tolist()):
        yield slice(first, last)


def _divisions(
    train: SessionTokens, test: SessionTokens, whole: _Counts, seed: int
) -> Iterator[tuple[_Counts, _Counts]]:
    """Random divisions of the train and test sessions into parts of the same two sizes."""
    items, generator = len(whole.items), np.random.default_rng(seed)
    for _ in range(RANDOM_DIVISIONS):
        chosen = np.arange(train.n_sessions + test.n_sessions) < test.n_sessions
        generator.shuffle(chosen)
        part = _count(train, items, chosen[: train.n_sessions])
        part += _count(test, items, chosen[train.n_sessions :])
        yield whole - part, part


def _drift(
    train: _Counts, test: _Counts, divisions: Iterator[tuple[_Counts, _Counts]]
) -> dict[str, Any]:
    """Distance of test from train, and of random parts, which differ by chance alone.

    Distances are total variation: 0 if two distributions are equal, 1 if they are disjoint. An
    excess over chance need not be a change over time: the catalogue does not depend on test, so
    only test has lost clicks on other items, and the sessions that became too short.
    """
    found = _differences(train, test)
    by_chance = [_differences(*division) for division in divisions]
    drift: dict[str, Any] = {
        name: {"value": value, "by_chance": _range([chance[name] for chance in by_chance])}
        for name, value in found.items()
    }
    top = _share_on_top(train.items, train.items)
    items = min(_TOP_ITEMS, len(train.items))
    drift["test_clicks_on_top_items"] |= {"items": items, "train": top}
    return drift | {"random_divisions": RANDOM_DIVISIONS}


def _differences(train: _Counts, test: _Counts) -> dict[str, float]:
    return {
        "length_distance": _distance(train.lengths, test.lengths),
        "item_distance": _distance(train.items, test.items),
        "test_clicks_on_top_items": _share_on_top(train.items, test.items),
    }


def _distance(left: Ints, right: Ints) -> float:
    return float(np.abs(left / left.sum() - right / right.sum()).sum() / 2)


def _share_on_top(ranking: Ints, clicks: Ints) -> float:
    """Share of clicks on the top items by another count; ties go to the lower index."""
    top = np.argsort(-ranking, kind="stable")[:_TOP_ITEMS]
    return float(clicks[top].sum() / clicks.sum())


def _range(values: list[float]) -> dict[str, float]:
    return {"mean": sum(values) / len(values), "smallest": min(values), "largest": max(values)}
