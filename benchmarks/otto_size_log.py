"""A log in OTTO's format, with the published shape of OTTO's training file.

Sessions and items have the published quantiles of their events (otto-de/recsys-dataset, README); carts and
orders have the published shares. Items stand on shelves (20 of similar meaning) within categories (200). The next
click is from the shelf of the last one (40%), its category (20%), the session before it (15%) or anywhere
(25%), by popularity each, so that an item keeps its share of the events and a model can learn what follows
what. Whether a click is followed by a cart, and a cart by an order, depends on the item alone.

Shape suffixes: I items, S sessions of a chunk, E their events.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.contracts import DAY_MS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SESSIONS, ITEMS, EVENTS = 12_899_779, 1_855_603, 216_716_096
CLICKS, CARTS, ORDERS = 194_720_954, 16_896_191, 5_098_951
"""The published counts."""

QUANTILES = (0.0, 0.5, 0.75, 0.9, 0.95, 1.0)
EVENTS_PER_SESSION = (2, 6, 15, 39, 68, 500)
EVENTS_PER_ITEM = (3, 20, 56, 183, 398, 129_004)
"""The published quantiles of events per session and per item."""
SESSION_DEVIATION, ITEM_DEVIATION = 33.58, 728.85
"""The published standard deviations of both, which are not fitted."""

FIRST_MS = 1_659_304_800_000
DAYS = 28

_SESSIONS_AT_ONCE = 200_000
_SHELF, _CATEGORY = 20, 200
_ON_SHELF, _IN_CATEGORY, _SEEN_BEFORE = 0.4, 0.6, 0.75
"""Cumulative chances of where the next click is from."""
_CART_SHARE = 1.048 * CARTS / CLICKS
_ORDER_SHARE = 1.043 * ORDERS / CARTS
"""Chances of what follows a click or a cart; higher than the published shares, since a session's last event has
no follower."""
_VISIT_SHARE, _PAUSE_MS, _ABSENCE_MS = 0.06, 60_000, 1.2 * DAY_MS
"""Chance that an event begins another visit, and the mean times between events and between visits."""
_EVENT_TYPES = ("clicks", "carts", "orders")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Items in the order of their shelves.

    Attributes:
        share_I: Share of the events of all items up to and with each one.
        id_I: The id of each, a permutation of 0 … I - 1.
        cart_I: Chance that a click on it is followed by a cart.
        order_I: Chance that a cart of it is followed by an order.
    """

    share_I: Floats
    id_I: NDArray[np.int32]
    cart_I: NDArray[np.float32]
    order_I: NDArray[np.float32]

    @classmethod
    def of(cls, items: int, rng: np.random.Generator) -> Self:
        """Items whose events have the published quantiles; some of the rarest are never drawn."""
        items = round(1.009 * items)
        curve = _curve(EVENTS_PER_ITEM, EVENTS / ITEMS)
        events_I = rng.permutation(curve((np.arange(items) + 0.5) / items))
        share_I = np.cumsum(events_I)
        return cls(
            share_I=share_I / share_I[-1],
            id_I=rng.permutation(items).astype(np.int32),
            cart_I=_propensity(_CART_SHARE, events_I, rng),
            order_I=_propensity(_ORDER_SHARE, events_I, rng),
        )

    def draw(self, last: Ints, seen: NDArray[np.int32], rng: np.random.Generator) -> Ints:
        """The next click of sessions, by the last one and one they have seen."""
        choice = rng.random(len(last))
        size = np.where(choice < _ON_SHELF, _SHELF, np.where(choice < _IN_CATEGORY, _CATEGORY, 0))
        n = len(self.share_I)
        first = np.where(size > 0, last // np.maximum(size, 1) * size, 0)
        end = np.where(size > 0, np.minimum(first + size, n), n)
        low = np.where(first > 0, self.share_I[first - 1], 0.0)
        found = self.any_of(low + rng.random(len(last)) * (self.share_I[end - 1] - low))
        is_again = (choice >= _IN_CATEGORY) & (choice < _SEEN_BEFORE)
        return np.where(is_again, seen, np.clip(found, first, end - 1))

    def any_of(self, share: Floats) -> Ints:
        """The items at shares of the events."""
        return np.searchsorted(self.share_I, share, side="right").clip(max=len(self.share_I) - 1)


def write_log(file: Path, *, sessions: int = SESSIONS, items: int = ITEMS, seed: int = 0) -> None:
    """Write the log, some sessions at a time; the same bytes for the same arguments."""
    rng = np.random.default_rng(seed)
    catalogue = Catalogue.of(items, rng)
    lengths = _curve(EVENTS_PER_SESSION, EVENTS / SESSIONS)
    with file.open("wb") as stream:
        for first in range(0, sessions, _SESSIONS_AT_ONCE):
            n = min(_SESSIONS_AT_ONCE, sessions - first)
            length_S = np.rint(lengths(rng.random(n))).astype(np.int64)
            stream.write(_lines(first, length_S, *_events(length_S, catalogue, rng)))


def _events(
    length_S: Ints, catalogue: Catalogue, rng: np.random.Generator
) -> tuple[NDArray[np.int32], Ints, NDArray[np.int8]]:
    """Item, time and event type of the events, session by session; E each.

    All sessions take a step at once; the longest are first, so that those that go on are the first ones.
    """
    order = np.argsort(-length_S, kind="stable")
    longest_S = length_S[order]
    starts_S = (np.cumsum(length_S) - length_S)[order]
    item_E = np.empty(length_S.sum(), dtype=np.int32)
    type_E = np.zeros(len(item_E), dtype=np.int8)
    active = len(longest_S)
    last, kind = catalogue.any_of(rng.random(active)), np.zeros(active, dtype=np.int8)
    item_E[starts_S] = last
    for step in range(1, int(longest_S[0])):
        active = int(np.searchsorted(-longest_S, -step))
        last, kind, place = last[:active], kind[:active], starts_S[:active]
        chance = rng.random(active)
        follows = chance < np.where(
            kind == 0, catalogue.cart_I[last], np.where(kind == 1, catalogue.order_I[last], 0)
        )
        seen = item_E[place + (rng.random(active) * step).astype(np.int64)]
        last = np.where(follows, last, catalogue.draw(last, seen, rng))
        kind = np.where(follows, kind + 1, 0).astype(np.int8)
        item_E[place + step], type_E[place + step] = last, kind
    return catalogue.id_I[item_E], _times(length_S, rng), type_E


def _times(length_S: Ints, rng: np.random.Generator) -> Ints:
    """Times of the events, within the four weeks; those of a session ascend by a millisecond at least."""
    n, first_S = int(length_S.sum()), np.cumsum(length_S) - length_S
    pause_E = rng.exponential(np.where(rng.random(n) < _VISIT_SHARE, _ABSENCE_MS, _PAUSE_MS))
    pause_E[first_S] = 0
    elapsed_E = np.cumsum(pause_E)
    elapsed_E -= np.repeat(elapsed_E[first_S], length_S)
    room_S = DAYS * DAY_MS - 1 - length_S
    start_S = rng.random(len(length_S)) * room_S
    span_S = elapsed_E[first_S + length_S - 1]
    fits_S = np.minimum(1, (room_S - start_S) / np.maximum(span_S, 1))
    number_E = np.arange(n) - np.repeat(first_S, length_S)
    times_E = np.repeat(start_S, length_S) + elapsed_E * np.repeat(fits_S, length_S)
    return FIRST_MS + times_E.astype(np.int64) + number_E


def _lines(
    first: int, length_S: Ints, item_E: NDArray[np.int32], ts_E: Ints, type_E: NDArray[np.int8]
) -> memoryview:
    """One line per session."""
    ends = np.cumsum(length_S)
    opens = np.zeros(len(item_E), dtype=np.bool_)
    closes = opens.copy()
    opens[ends - length_S], closes[ends - 1] = True, True
    session = np.repeat(np.arange(first, first + len(length_S)), length_S)
    words = pl.Series([f',"type":"{word}"}}' for word in _EVENT_TYPES])
    frame = pl.DataFrame(
        {"session": session, "aid": item_E, "ts": ts_E, "opens": opens, "closes": closes}
    )
    text = frame.select(
        pl.concat_str(
            pl.when("opens").then(pl.concat_str(pl.lit('{"session":'), "session", pl.lit(',"events":[')))
            .otherwise(pl.lit("")),
            pl.lit('{"aid":'), "aid", pl.lit(',"ts":'), "ts",
            words.gather(pl.Series(type_E, dtype=pl.UInt32)),
            pl.when("closes").then(pl.lit("]}\n")).otherwise(pl.lit(",")),
        )
    ).to_series().rechunk()  # fmt: skip
    lines = text.to_arrow(compat_level=pl.CompatLevel.oldest())
    assert lines.type == pa.large_string(), "strings that stand one behind the other"
    return memoryview(lines.buffers()[2])[: int(text.str.len_bytes().sum())]


def _propensity(mean: float, events_I: Floats, rng: np.random.Generator) -> NDArray[np.float32]:
    """A chance of each item, apart from its popularity; ``mean`` over the events."""
    drawn_I = rng.beta(0.5, 0.5 * (1 - mean) / mean, len(events_I))
    return np.minimum(drawn_I * mean / np.average(drawn_I, weights=events_I), 1).astype(np.float32)


def _curve(values: tuple[int, ...], mean: float) -> Callable[[Floats], Floats]:
    """The inverse distribution function of published quantiles.

    Below the last but one it is straight between their logarithms; above, a Pareto tail that ends at the
    maximum, with the exponent that gives the published mean.
    """
    logs, (*_, last, largest), begin = np.log(values[:-1]), values, QUANTILES[-2]

    def at(share: Floats, exponent: float) -> Floats:
        body = np.exp(np.interp(share, QUANTILES[:-1], logs))
        tail = last * ((1 - begin) / (1 - np.minimum(share, 1 - 1e-12))) ** exponent
        return np.where(share < begin, body, np.minimum(tail, largest))

    grid = 1 - np.exp(-np.linspace(0, 16, 400_001))  # fine where the tail is
    low, high = 0.0, 2.0
    for _ in range(50):
        exponent = (low + high) / 2
        is_short = np.trapezoid(at(grid, exponent), grid) < mean
        low, high = (exponent, high) if is_short else (low, exponent)
    return lambda share: at(share, low)


def main() -> None:
    """Parse the command line and write the log."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_log(
        arguments.file, sessions=arguments.sessions, items=arguments.items, seed=arguments.seed
    )


if __name__ == "__main__":
    main()
