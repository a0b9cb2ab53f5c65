"""Whether a click was followed by an order (or a cart) of its item."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_PAIRS = 1 << 20
"""Room for pairs of session and item; those that meet there by chance are only searched in vain."""

_SPREAD = 0x9E3779B1
"""A multiplier that sends neighbouring sessions far apart."""


def has_followup_event(
    wanted: NDArray[np.bool_],
    *,
    item: NDArray[np.int32],
    session: Ints,
    ts: Ints,
    within_ms: int | None = None,
) -> NDArray[np.bool_]:
    """For each event, whether its item has a wanted event later in its session.

    With orders wanted and no window this is o_t of section 5 of Wilm & Normann (2025). Later means
    further down: sessions are in order of time, and events of one time in that of the files.

    Args:
        wanted: Which events are of the event_type that must follow.
        item: Code of each event's item, not negative.
        session: Number of each event's session; the events of a session stand together.
        ts: Time of each event, milliseconds; not falling within a session.
        within_ms: Longest time from the event to what follows, inclusive; None for any.
    """
    found = np.zeros(len(wanted), dtype=np.bool_)
    # Most events have a session and an item that together are never wanted: few are searched.
    pair = (session * _SPREAD + item) & (_PAIRS - 1)
    maybe = np.zeros(_PAIRS, dtype=np.bool_)
    maybe[pair[wanted]] = True
    rows = np.flatnonzero(maybe[pair])
    # Item and place in one number: the next larger one among the wanted is the item's next.
    place = (item[rows].astype(np.int64) << 32) | rows
    following = np.sort(place[wanted[rows]])
    nearest = np.searchsorted(following, place, side="right")
    rows, place, nearest = (array[nearest < len(following)] for array in (rows, place, nearest))
    next_row = following[nearest] & 0xFFFFFFFF
    same = (following[nearest] >> 32 == place >> 32) & (session[next_row] == session[rows])
    if within_ms is not None:
        same &= ts[next_row] - ts[rows] <= within_ms
    found[rows] = same
    return found
