"""The sample ratio (SRM) check, and the days the log covers."""

import math
from collections.abc import Collection, Mapping
from datetime import timedelta

import numpy as np
import polars as pl
from scipy import special

from pipeline.core.contracts import Kpi
from pipeline.results.diagnostics import CompleteDays, SampleRatio, WholeWeeks
from pipeline.results.family import Floats

BLOCKED_BELOW = 5e-4
"""p-value of the sample-ratio test below which verdicts are blocked (Fabijan et al., KDD 2019)."""

BLOCKED_ABOVE = 1000.0
"""e-value of the sample ratio above which verdicts are blocked, on any day."""

_CONCENTRATION = 10_000.0
"""Of the mixture: it is most sensitive to shares that are off by about 1%."""

_LARGEST_LOG = 700.0

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


def sample_ratio_of(
    group_kpis: pl.DataFrame, shares: Mapping[str, float], daily_totals: pl.DataFrame | None = None
) -> SampleRatio:
    """Test the users with an impression, by group, against the planned shares, on every day."""
    users = dict(group_kpis.filter(kpi=Kpi.CTR.value).select("group", "users").iter_rows())
    return sample_ratio(
        np.array([users[name] for name in shares], dtype=np.float64),
        np.array(list(shares.values())),
        None if daily_totals is None else _users_by_day(daily_totals, list(shares)),
    )


def _users_by_day(daily_totals: pl.DataFrame, groups: list[str]) -> Floats:
    """Users seen so far, D × G, at the end of every day."""
    new = daily_totals.group_by("day", "group").agg(pl.col("new_users").sum())
    days = new.pivot(on="group", index="day", values="new_users").sort("day").fill_null(0)
    absent = [pl.lit(0).alias(name) for name in groups if name not in days.columns]
    return days.with_columns(absent).select(groups).cast(pl.Float64).to_numpy().cumsum(axis=0)


def sample_ratio(users: Floats, shares: Floats, users_DG: Floats | None = None) -> SampleRatio:
    """Test the users of the groups (never their impressions) against the planned shares.

    A sample ratio mismatch means that users are lost or counted twice, depending on the group, a bias
    that no regression corrects. Without any user, the p-value is 0.

    Args:
        users: Of each group.
        shares: Planned; any positive numbers.
        users_DG: Users seen until the end of every day; None if days are unknown.
    """
    expected = users.sum() * shares / shares.sum()
    p_value = 0.0
    if users.sum():
        chi2 = ((users - expected) ** 2 / expected).sum()
        p_value = float(special.chdtrc(len(users) - 1, chi2))
    e_value = sample_ratio_e_value(users, shares)
    days = [] if users_DG is None else [sample_ratio_e_value(day, shares) for day in users_DG]
    largest = max([e_value, *days])
    return SampleRatio(
        passed=p_value >= BLOCKED_BELOW and largest <= BLOCKED_ABOVE,
        users=tuple(int(count) for count in users),
        expected=tuple(float(count) for count in expected),
        p_value=p_value,
        e_value=e_value,
        largest_e_value=largest,
    )


def sample_ratio_e_value(users: Floats, shares: Floats) -> float:
    """Evidence that users are not divided by the planned shares; valid on any day.

    The ratio of the multinomial likelihood under a Dirichlet mixture around the planned shares s to
    that under them (Lindon & Malek, NeurIPS 2022),

        e = Γ(A) / Γ(A + n) · Π Γ(a_i + c_i) / Γ(a_i) / Π s_i^{c_i},  a_i = A s_i,  A = 10,000.

    If the plan holds, e ever exceeds 1 / α with probability α at most.
    """
    share = shares / shares.sum()
    prior = _CONCENTRATION * share
    log_e = math.lgamma(prior.sum()) - math.lgamma(prior.sum() + users.sum())
    log_e += sum(math.lgamma(a + c) - math.lgamma(a) for a, c in zip(prior, users, strict=True))
    return math.exp(min(log_e - float(users @ np.log(share)), _LARGEST_LOG))
