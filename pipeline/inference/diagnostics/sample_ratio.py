"""The sample ratio (SRM) check, and the days the log covers."""

from collections.abc import Collection, Mapping
from datetime import timedelta

import numpy as np
import polars as pl
from scipy import stats

from pipeline.core.contracts import Kpi
from pipeline.results.diagnostics import CompleteDays, SampleRatio, WholeWeeks
from pipeline.results.family import Floats

BLOCKED_BELOW = 5e-4
"""p-value of the sample-ratio test below which verdicts are blocked (Fabijan et al., KDD 2019)."""

_EDGE = 0.1
"""A first or last day with less than this share of the median day's impressions does not count."""


def check_days(
    daily_totals: pl.DataFrame, groups: Collection[str]
) -> tuple[CompleteDays, WholeWeeks]:
    """Check the days (UTC) of the table ``daily_totals``, for the groups of the plan.

    A first or last day with less than a tenth of the median day's impressions, such as sessions that
    cross midnight, does not count.
    """
    impressions = dict(daily_totals.group_by("day").agg(pl.col("impressions").sum()).iter_rows())
    if not impressions:
        return (
            CompleteDays(passed=True, days=0, missing=()),
            WholeWeeks(passed=False, days=0),
        )
    first, last = min(impressions), max(impressions)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    edge = _EDGE * float(np.median(list(impressions.values())))
    full = [day for day in days if day not in {first, last} or impressions[day] >= edge]
    shown = set(daily_totals.select("group", "day").unique().iter_rows())
    missing = tuple(day for day in full if any((name, day) not in shown for name in groups))
    return (
        CompleteDays(passed=not missing, days=len(days), missing=missing),
        WholeWeeks(passed=len(full) % 7 == 0, days=len(days)),
    )


def sample_ratio_of(group_kpis: pl.DataFrame, shares: Mapping[str, float]) -> SampleRatio:
    """Test the users with an impression, by group, against the planned shares."""
    users = dict(group_kpis.filter(kpi=Kpi.CTR.value).select("group", "users").iter_rows())
    return sample_ratio(
        np.array([users[name] for name in shares], dtype=np.float64),
        np.array(list(shares.values())),
    )


def sample_ratio(users: Floats, shares: Floats) -> SampleRatio:
    """Test the users of the groups (never their impressions) against the planned shares.

    A sample ratio mismatch means that users are lost or counted twice, depending on the group, a bias
    that no regression corrects. Without any user, the p-value is 0.
    """
    expected = users.sum() * shares / shares.sum()
    p_value = float(stats.chisquare(users, expected).pvalue) if users.sum() else 0.0
    return SampleRatio(
        passed=p_value >= BLOCKED_BELOW,
        users=tuple(int(count) for count in users),
        expected=tuple(float(count) for count in expected),
        p_value=p_value,
    )
