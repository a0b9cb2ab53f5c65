"""Click logs for the training benchmarks: a generated OTTO-like one, and a real one.

Both come as sessions with their order labels, split by time into train, validation and test.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from models.tokens import SessionTokens

_NEIGHBOURS = 20


@dataclass(frozen=True)
class Log:
    """Sessions, split by time; items 0 … ``n_items`` - 1."""

    train: SessionTokens
    validation: SessionTokens
    test: SessionTokens
    n_items: int


def otto_like(  # noqa: PLR0913 - sizes
    *, sessions: int, items: int, validation: int, test: int, seed: int = 0, orders: float = 0.05
) -> Log:
    """Zipf popularity, item-to-item structure, and items that differ in how often they are ordered.

    The next click is a neighbour of the last one (60%), an item seen before (15%) or any item by
    popularity (25%). Whether a click is ordered depends on the item alone, not on its popularity,
    so that clicks and orders pull a list in different directions.
    """
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, items + 1) ** 0.9
    popularity = rng.permutation(popularity / popularity.sum())
    neighbours = rng.choice(items, (items, _NEIGHBOURS), p=popularity)
    appeal = rng.beta(0.3, 0.3 * (1 - orders) / orders, items)
    total = sessions + validation + test
    lengths = np.clip(rng.geometric(0.13, total) + 1, 2, 60)
    clicks = int(lengths.sum())
    fresh = rng.choice(items, clicks, p=popularity)
    choice, which = rng.random(clicks), rng.integers(0, _NEIGHBOURS, clicks)
    back = rng.random(clicks)
    found = np.empty(clicks, dtype=np.int32)
    place = 0
    for length in lengths.tolist():
        found[place] = fresh[place]
        for now in range(place + 1, place + length):
            if choice[now] < 0.6:
                found[now] = neighbours[found[now - 1], which[now]]
            elif choice[now] < 0.75:
                found[now] = found[place + int(back[now] * (now - place))]
            else:
                found[now] = fresh[now]
        place += length
    # An item of a session is ordered or not: all its clicks share the label.
    session = np.repeat(np.arange(total), lengths)
    pairs, inverse = np.unique(session * items + found, return_inverse=True)
    ordered = (rng.random(len(pairs)) < appeal[pairs % items])[inverse]
    parts = np.cumsum([sessions, validation, test])
    return _split(found, ordered, lengths, parts, items)


def retailrocket(file: Path, *, validation: int, test: int) -> Log:
    """Real click sessions in the order of the file, which is the only time they have.

    Items that train does not hold are left out of validation and test, as is a session that becomes
    shorter than two clicks.
    """
    table = pl.read_parquet(file)
    column = next(name for name, kind in table.schema.items() if isinstance(kind, pl.List))
    sessions = table[column].to_list()
    cuts = np.cumsum([len(sessions) - validation - test, validation, test])
    index: dict[int, int] = {}
    for session in sessions[: cuts[0]]:
        for item in session:
            index.setdefault(item, len(index))
    known = [[index[item] for item in session if item in index] for session in sessions]
    long_enough = [len(session) > 1 for session in known]
    kept = [session for session, long in zip(known, long_enough, strict=True) if long]
    parts = np.cumsum(long_enough)[cuts - 1]
    lengths = np.array([len(session) for session in kept])
    found = np.concatenate([np.array(session, dtype=np.int32) for session in kept])
    return _split(found, np.zeros(len(found), dtype=np.bool_), lengths, parts, len(index))


def _split(
    items: np.ndarray, ordered: np.ndarray, lengths: np.ndarray, parts: np.ndarray, n_items: int
) -> Log:
    """Sessions up to parts[0] are train, up to parts[1] validation, up to parts[2] test."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    made = []
    for first, last in zip([0, *parts[:-1]], parts, strict=True):
        begin, end = offsets[first], offsets[last]
        made.append(
            SessionTokens(
                items=items[begin:end].astype(np.int32),
                ordered=ordered[begin:end].astype(np.uint8),
                carted=np.zeros(end - begin, dtype=np.uint8),
                offsets=(offsets[first : last + 1] - begin).astype(np.int64),
            )
        )
    return Log(*made, n_items=n_items)
