"""Temporal split of sessions into train, validation and test, without leakage.

A session is in one split as a whole. A named policy decides about boundary sessions, which start
before a split boundary and end after it; by default they are dropped and counted, so that no train
event is after the boundary and no test session starts before it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.contracts import DAY_MS, Split
from pipeline.core.errors import DataError
from pipeline.core.labels import counted
from pipeline.sessions.rules import CutAnchor, Rules
from pipeline.study import BoundaryPolicy

Ints = NDArray[np.int64]

SPLITS = tuple(Split)
"""A session's split is an index of this tuple, or :data:`CROSSING`."""

CROSSING = len(SPLITS)
"""A dropped boundary session."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """The split boundaries: where validation and test start, milliseconds UTC."""

    validation_from: int
    test_from: int


def compute_cuts(end: int, *, test_days: float, validation_days: float) -> Cuts:
    """Test is the last ``test_days`` before ``end``, validation the days before it."""
    test_from = end - round(test_days * DAY_MS)
    return Cuts(test_from - round(validation_days * DAY_MS), test_from)


def cuts_of_events(rules: Rules, *, first_ts: int, last_ts: int) -> Cuts | None:
    """The boundaries by the times of the first and the last event; None if they depend on the sessions.

    Raises:
        DataError: if no data is left for train.
    """
    is_by_sessions = rules.test_sessions is not None or rules.test_files is not None
    if is_by_sessions or rules.test_end is not CutAnchor.LAST_EVENT:
        return None
    return _cuts_before(last_ts + 1, start=first_ts, rules=rules)


def cuts_of_kept(rules: Rules, *, start: int, last_start: int, last_end: int) -> Cuts:
    """The boundaries that depend on the sessions that pass the filters.

    Args:
        rules: The rules, whose anchor is not the last event.
        start: Earliest start of these sessions, without those of test files.
        last_start: Latest start.
        last_end: Latest end.

    Raises:
        DataError: if no data is left for train.
    """
    if rules.test_files is not None:
        validation_from = last_end + 1 - round(rules.validation_days * DAY_MS)
        cuts = Cuts(validation_from, last_end + 1)
        check_date_range(cuts, start=start, end=last_end)
        return cuts
    by_day = rules.test_end is CutAnchor.LAST_START_DAY
    end = last_start // DAY_MS * DAY_MS if by_day else last_start
    return _cuts_before(end, start=start, rules=rules)


def _cuts_before(end: int, *, start: int, rules: Rules) -> Cuts:
    """The boundaries of the last days before ``end``, of data that begins at ``start``."""
    cuts = compute_cuts(end, test_days=rules.test_days, validation_days=rules.validation_days)
    check_date_range(cuts, start=start, end=end)
    return cuts


def ranks_of_cuts(sessions: int, rules: Rules) -> tuple[int, int]:
    """Which sessions, counted from 0 in the order of their start, are the first of validation and of test.

    Args:
        sessions: The number of sessions that are long enough.
        rules: The rules; test and validation are each a share (below 1) or a number of the sessions.

    Raises:
        DataError: if no session is left for train.
    """
    sizes = (rules.test_sessions, rules.validation_sessions)
    tests, validations = (
        round(size * sessions) if size < 1 else round(size) for size in sizes if size is not None
    )
    if not 0 < tests <= tests + validations < sessions or not validations:
        msg = (
            f"{counted(sessions, 'session')} long enough, but test takes {tests:,} and validation {validations:,}; "
            "change sessions.test_sessions and sessions.validation_sessions so that each split has "
            "sessions and training data remains"
        )
        raise DataError(msg)
    return sessions - tests - validations, sessions - tests


def check_date_range(cuts: Cuts, *, start: int, end: int) -> None:
    """Check that data from ``start`` to ``end`` starts before both splits.

    Raises:
        DataError: if it does not.
    """
    if cuts.validation_from <= start:
        msg = (
            f"the data covers {(end - start) / DAY_MS:.2f} days, but test and validation take "
            f"{(end - cuts.validation_from) / DAY_MS:.2f}; shorten sessions.test_days or "
            "sessions.validation_days so that training data remains"
        )
        raise DataError(msg)


def assign_split(
    start: Ints, end: Ints, cuts: Cuts, boundary_sessions: BoundaryPolicy
) -> NDArray[np.int8]:
    """The split of each session, an index of :data:`SPLITS` or :data:`CROSSING`.

    Args:
        start: Start of each session, milliseconds UTC.
        end: End of each session, inclusive.
        cuts: The split boundaries.
        boundary_sessions: The policy for sessions that start and end in different splits.
    """
    first, last = _split_at(start, cuts), _split_at(end, cuts)
    match boundary_sessions:
        case BoundaryPolicy.LATER:
            part = last
        case BoundaryPolicy.EARLIER | BoundaryPolicy.TRIM:
            part = first
        case BoundaryPolicy.DROP:
            part = np.where(first == last, first, CROSSING)
    return part.astype(np.int8)


def in_start_split(ts: Ints, start: Ints, cuts: Cuts) -> NDArray[np.bool_]:
    """Which events are in the split their session starts in; the others are to be trimmed.

    Args:
        ts: Time of each event.
        start: Start of its session.
        cuts: The split boundaries.
    """
    return _split_at(ts, cuts) == _split_at(start, cuts)


def _split_at(ts: Ints, cuts: Cuts) -> Ints:
    """The split of each time, an index of :data:`SPLITS`."""
    return np.searchsorted([cuts.validation_from, cuts.test_from], ts, side="right")
