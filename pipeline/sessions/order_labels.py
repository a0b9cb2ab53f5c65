"""Labels of clicks: whether an order (or cart) of the same item follows in the session."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_PAIRS = 1 << 20
"""Size of a hash table of (session, item) pairs; a collision only costs a search."""

_SPREAD = 0x9E3779B1
"""A multiplier that spreads neighbouring sessions over the table."""


def has_followup_event(
    wanted: NDArray[np.bool_],
    *,
    item: NDArray[np.int32],
    session: Ints,
    ts: Ints,
    within_ms: int | None = None,
) -> NDArray[np.bool_]:
    """For each event, whether a wanted event of its item follows in its session.

    With orders wanted and no window this is o_t of section 5 of Wilm & Normann (2025). Sessions are
    sorted by time, ties by the order of the files.

    Args:
        wanted: Which events are of the type that must follow.
        item: Code of each event's item, not negative.
        session: Number of each event's session; rows of a session are consecutive.
        ts: Time of each event, milliseconds; not decreasing within a session.
        within_ms: Longest time between the two events, inclusive; None for any.
    """
    found = np.zeros(len(wanted), dtype=np.bool_)
    # Most (session, item) pairs have no wanted event, so few events are searched.
    pair = (session * _SPREAD + item) & (_PAIRS - 1)
    maybe = np.zeros(_PAIRS, dtype=np.bool_)
    maybe[pair[wanted]] = True
    rows = np.flatnonzero(maybe[pair])
    # Item and row in one number: the next larger one among the wanted is the item's next event.
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
