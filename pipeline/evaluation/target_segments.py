"""Segments of the test targets, on which metrics are also computed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.scoring.target_scores import TargetScores
from pipeline.core.contracts import Segmentation

Mask = NDArray[np.bool_]

_HISTORY_BINS = {"1": (1, 1), "2": (2, 2), "3 to 5": (3, 5), "6 or more": (6, np.inf)}
_POPULARITY_BINS = ("tail", "middle", "head")
_CATEGORIES = 10


@dataclass(frozen=True, slots=True)
class HeldOutTargets:
    """The test targets with the attributes that define segments.

    Attributes:
        scores: The targets; ranks and losses are not used.
        train_clicks_I: Clicks of each item in train.
        ts_P: Time of each target's click, milliseconds since 1970-01-01 UTC.
        category_I: Category of each item; None where unknown.
    """

    scores: TargetScores
    train_clicks_I: NDArray[np.int64]
    ts_P: NDArray[np.int64]
    category_I: NDArray[np.object_]


def segments(test: HeldOutTargets, kinds: Iterable[Segmentation]) -> Iterator[tuple[str, Mask]]:
    """Name and targets of every non-empty segment, such as ``session_length=3 to 5``."""
    for kind in kinds:
        for name, mask_P in _SEGMENTATIONS[kind](test):
            if mask_P.any():
                yield f"{kind.value}={name}", mask_P


def _by_history(test: HeldOutTargets) -> Iterator[tuple[str, Mask]]:
    """By the number of clicks before the target."""
    history_P = test.scores.history
    for name, (low, high) in _HISTORY_BINS.items():
        yield name, (history_P >= low) & (history_P <= high)


def _by_popularity(test: HeldOutTargets) -> Iterator[tuple[str, Mask]]:
    """By popularity of the target; each of the three segments has a third of the train clicks.

    Items are sorted by clicks, and an item is in the segment of its middle click; the head has the
    most popular items.
    """
    order = np.argsort(test.train_clicks_I, kind="stable")
    clicks = test.train_clicks_I[order]
    middle = (np.cumsum(clicks) - clicks / 2) / max(1, clicks.sum())
    part_I = np.empty(len(order), dtype=np.int64)
    part_I[order] = np.minimum(3 * middle, 2).astype(np.int64)
    part_P = part_I[test.scores.item]
    for number, name in enumerate(_POPULARITY_BINS):
        yield name, part_P == number


def _by_day(test: HeldOutTargets) -> Iterator[tuple[str, Mask]]:
    """By the UTC day of the target's click."""
    day_P = test.ts_P.astype("datetime64[ms]").astype("datetime64[D]")
    for day in np.unique(day_P):
        yield str(day), day_P == day


def _by_category(test: HeldOutTargets) -> Iterator[tuple[str, Mask]]:
    """By the target's category: the ten largest by train clicks, and all others together."""
    written_I = np.array(["unknown" if name is None else name for name in test.category_I])
    names, number_I = np.unique(written_I, return_inverse=True)
    clicks = np.bincount(number_I, weights=test.train_clicks_I)
    largest = np.argsort(-clicks, kind="stable")[:_CATEGORIES]
    number_P = number_I[test.scores.item]
    for number in sorted(largest):
        yield str(names[number]), number_P == number
    yield "other", ~np.isin(number_P, largest)


_SEGMENTATIONS: Mapping[Segmentation, Callable[[HeldOutTargets], Iterator[tuple[str, Mask]]]] = {
    Segmentation.SESSION_LENGTH: _by_history,
    Segmentation.ITEM_POPULARITY: _by_popularity,
    Segmentation.DAY: _by_day,
    Segmentation.CATEGORY: _by_category,
}
