"""Whether as many users came as planned, and which days the log covers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
from scipy import stats

from pipeline.core.contracts import Kpi
from pipeline.results.family import Floats

BLOCKED_BELOW = 5e-4
"""P-value of the sample-ratio test below which nothing is estimated (Fabijan et al., KDD 2019)."""


_EDGE = 0.1
"""Share of the middle day's impressions below which a first or last day is no day of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Whether as many users came to each group as the plan says.

    Attributes:
        users: Of each group.
        expected: By the plan's shares.
        p_value: Of Pearson's χ² test.
    """

    users: tuple[int, ...]
    expected: tuple[float, ...]
    p_value: float

    @property
    def healthy(self) -> bool:
        """Whether the test lets the experiment be read."""
        return self.p_value >= BLOCKED_BELOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Which days the log covers.

    Attributes:
        first: Its first day (UTC), None without any.
        last: Its last day.
        days: How many there are from the first to the last.
        missing: Days between them on which a group of the plan was shown nothing.
        whole_weeks: Whether every weekday is there as often as any other; else those that are
            there more often weigh more. A first or last day with less than a tenth of what the
            middle day saw, such as visits that go on past midnight, counts for nothing.
    """

    first: date | None
    last: date | None
    days: int
    missing: tuple[date, ...]
    whole_weeks: bool


def calendar_of(daily_totals: pl.DataFrame, groups: Collection[str]) -> Calendar:
    """The days of the table ``daily_totals``; ``groups`` are those of the plan."""
    impressions = dict(daily_totals.group_by("day").agg(pl.col("impressions").sum()).iter_rows())
    if not impressions:
        return Calendar(first=None, last=None, days=0, missing=(), whole_weeks=False)
    first, last = min(impressions), max(impressions)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    edge = _EDGE * float(np.median(list(impressions.values())))
    full = [day for day in days if day not in {first, last} or impressions[day] >= edge]
    shown = set(daily_totals.select("group", "day").unique().iter_rows())
    return Calendar(
        first=first,
        last=last,
        days=len(days),
        missing=tuple(day for day in full if any((name, day) not in shown for name in groups)),
        whole_weeks=len(full) % 7 == 0,
    )


def sample_ratio_of(group_kpis: pl.DataFrame, shares: Mapping[str, float]) -> SampleRatio:
    """Test the users who had an impression, by group, against the plan's shares."""
    users = dict(group_kpis.filter(kpi=Kpi.CTR.value).select("group", "users").iter_rows())
    return sample_ratio(
        np.array([users[name] for name in shares], dtype=np.float64),
        np.array(list(shares.values())),
    )


def sample_ratio(users: Floats, shares: Floats) -> SampleRatio:
    """Test the users of the groups (never their impressions) against the plan's shares.

    A mismatch says that users were lost, or counted twice, by group: then groups differ for reasons
    no regression can mend. Without any user, the p-value is 0.
    """
    expected = users.sum() * shares / shares.sum()
    p_value = float(stats.chisquare(users, expected).pvalue) if users.sum() else 0.0
    return SampleRatio(
        users=tuple(int(count) for count in users),
        expected=tuple(float(count) for count in expected),
        p_value=p_value,
    )
