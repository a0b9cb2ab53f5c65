"""Clicks against predicted clicks, by day: the sign of a model that has become stale.

A model's scores are not probabilities. What its first days have seen turns them into some: the predicted
chance of a click is the share of lists that were clicked in the list's group and bin of the best score, over the
model's reference days. Days differ for reasons that are not the model's, such as a weekend, so the error of a
day's ratio is that of whole days, not only of the users of one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from pipeline.monitoring.following.click_cells import DayCells
from pipeline.monitoring.statistics.rates import FAMILY_ALPHA, LEVEL, MONTH_DAYS

SMALLEST_MISCALIBRATION = 0.1
"""Relative deviation of clicks from predicted clicks below which no alarm is raised."""

LEAST_DAYS, MOST_DAYS = 7, 28
"""Of a reference: every day of the week, once to four times. The more, the smaller a fault that is found."""

LEAST_CLICKS = 30
"""Of a day; with fewer, the logarithm of its ratio is not normal enough."""

ALPHA = FAMILY_ALPHA / MONTH_DAYS / 2
"""Of one day. Half of the family's error rate is left for days whose logarithms are not normal."""

Chances = Mapping[tuple[str, int], float]
"""Predicted chance of a click by group and bin."""


class DaySums(NamedTuple):
    """Sums over the users of one day, each with one list: its predicted chance p, and y = 1 if it was clicked."""

    users: int = 0
    clicks: int = 0
    predicted: float = 0.0
    sum_pp: float = 0.0
    sum_py: float = 0.0

    @property
    def ratio(self) -> float:
        """Clicks per predicted click."""
        return self.clicks / self.predicted

    @property
    def relative_variance(self) -> float:
        """Of the ratio, clustered by user: Σ_u (y_u - r p_u)² / (Σ y)²; infinite without clicks."""
        if not self.clicks or self.users < 2:
            return inf
        squares = self.clicks - 2 * self.ratio * self.sum_py + self.ratio**2 * self.sum_pp
        return squares * self.users / (self.users - 1) / self.clicks**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Clicks of one day against those predicted from the model's reference days.

    Attributes:
        model: The model's version.
        group: The group; None for all together.
        users: Users with a list that has a prediction; of each, the first one of the day.
        clicks: Clicks of these lists.
        predicted: Their predicted clicks.
        ratio: Clicks per predicted click, at least 0; 1 if the model is calibrated.
        low: Lower limit of its 95% confidence interval.
        high: Its upper limit.
        p_value: Two-sided, of a ratio of 1.
    """

    model: str
    group: str | None
    users: int
    clicks: int
    predicted: float
    ratio: float
    low: float
    high: float
    p_value: float

    @property
    def is_alarm(self) -> bool:
        """Whether all groups together are off, significantly in a month's family and by more than the floor."""
        is_significant = self.p_value < ALPHA
        return (
            self.group is None and is_significant and abs(self.ratio - 1) > SMALLEST_MISCALIBRATION
        )


def predicted_chances(reference: Sequence[DayCells]) -> Chances:
    """The share of clicked lists by group and bin over the reference days."""
    lists: dict[tuple[str, int], int] = {}
    clicks: dict[tuple[str, int], int] = {}
    for day in reference:
        for key, cell in day.items():
            lists[key] = lists.get(key, 0) + cell.lists
            clicks[key] = clicks.get(key, 0) + cell.clicks
    return {key: clicks[key] / n for key, n in lists.items()}


def day_sums(day: DayCells, chances: Chances, group: str | None) -> DaySums:
    """The sums of a group on a day, or of all groups; lists without a predicted chance are left out."""
    cells = [
        (cell, chances[key])
        for key, cell in day.items()
        if key in chances and group in (None, key[0])
    ]
    return DaySums(
        users=sum(cell.lists for cell, _ in cells),
        clicks=sum(cell.clicks for cell, _ in cells),
        predicted=sum(cell.lists * p for cell, p in cells),
        sum_pp=sum(cell.lists * p * p for cell, p in cells),
        sum_py=sum(cell.clicks * p for cell, p in cells),
    )


def calibration_of(
    model: str, group: str | None, day: DayCells, reference: Sequence[DayCells]
) -> Calibration | None:
    """Clicks of a day against those predicted; None if a day has fewer than 30 clicks.

    With x the logarithm of a day's ratio, and s² its variance over the k reference days, x / √(max(s², v) + s²/k)
    has a t distribution with k - 1 degrees of freedom without a fault. v is the variance of the day itself,
    clustered by user, which exceeds s² on a day with fewer users; s²/k is the error of the reference.

    Args:
        model: The model's version.
        group: A group, or None for all together.
        day: The cells of the day.
        reference: Those of the reference days, at least two.
    """
    chances = predicted_chances(reference)
    today = day_sums(day, chances, group)
    known = [day_sums(one, chances, group) for one in reference]
    if min(one.clicks for one in (today, *known)) < LEAST_CLICKS:
        return None
    k = len(known)
    between = float(np.var([log(one.ratio) for one in known], ddof=1))
    error = sqrt(max(between, today.relative_variance) + between / k)
    width = float(stdtrit(k - 1, (1 + LEVEL) / 2)) * error
    x = log(today.ratio)
    return Calibration(
        model=model,
        group=group,
        users=today.users,
        clicks=today.clicks,
        predicted=today.predicted,
        ratio=today.ratio,
        low=exp(x - width),
        high=exp(x + width),
        p_value=2 * float(stdtr(k - 1, -abs(x) / error)),
    )
