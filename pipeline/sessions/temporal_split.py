"""Which sessions are for training, validation and test: a split by time that does not leak.

A session lies in one part whole. What becomes of one that begins before a cut and ends after it is
a named rule; by default it is dropped and counted, so that nothing in train happened after the cut
and no test session began before it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.contracts import DAY_MS, Split
from pipeline.core.errors import DataError
from pipeline.study import BoundaryPolicy

Ints = NDArray[np.int64]

PARTS = tuple(Split)
"""A session's part is a place in this tuple, or :data:`STRADDLES`."""

STRADDLES = len(PARTS)


@dataclass(frozen=True, slots=True)
class Cuts:
    """The first moments of the validation and of the test part, milliseconds UTC."""

    validation_from: int
    test_from: int


def compute_cuts(end: int, *, test_days: float, validation_days: float) -> Cuts:
    """The test part is the ``test_days`` before ``end``, the validation part those before it."""
    test_from = end - round(test_days * DAY_MS)
    return Cuts(test_from - round(validation_days * DAY_MS), test_from)


def check_date_range(cuts: Cuts, *, start: int, end: int) -> None:
    """Whether the data, which lasts from ``start`` to ``end``, reaches back beyond both parts.

    Raises:
        DataError: if it does not.
    """
    if cuts.validation_from <= start:
        msg = (
            f"the data covers {(end - start) / DAY_MS:.2f} days, and the test and validation parts "
            f"take {(end - cuts.validation_from) / DAY_MS:.2f}; shorten sessions.test_days or "
            "sessions.validation_days so that training data remains"
        )
        raise DataError(msg)


def assign_split(
    begin: Ints, end: Ints, cuts: Cuts, boundary_sessions: BoundaryPolicy
) -> NDArray[np.int8]:
    """The part of each session, a place in :data:`PARTS` or :data:`STRADDLES`.

    Args:
        begin: When each session begins, milliseconds UTC.
        end: When it ends, inclusive.
        cuts: Where the parts begin.
        boundary_sessions: What becomes of a session whose beginning and end lie in two parts.
    """
    first, last = _part_at(begin, cuts), _part_at(end, cuts)
    match boundary_sessions:
        case BoundaryPolicy.LATER:
            part = last
        case BoundaryPolicy.EARLIER | BoundaryPolicy.TRIM:
            part = first
        case BoundaryPolicy.DROP:
            part = np.where(first == last, first, STRADDLES)
    return part.astype(np.int8)


def in_start_split(ts: Ints, begin: Ints, cuts: Cuts) -> NDArray[np.bool_]:
    """Which events lie in the part their session begins in; the others are trimmed off.

    Args:
        ts: Time of each event.
        begin: When its session begins.
        cuts: Where the parts begin.
    """
    return _part_at(ts, cuts) == _part_at(begin, cuts)


def _part_at(ts: Ints, cuts: Cuts) -> Ints:
    """The part each moment lies in, a place in :data:`PARTS`."""
    return np.searchsorted([cuts.validation_from, cuts.test_from], ts, side="right")
