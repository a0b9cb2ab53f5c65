"""KPIs of slices with their user-clustered errors, and whether the KPI of a group has fallen.

The groups of an experiment differ in their KPIs by design. A fault such as lost clicks of one group shows
in its ratio to the other groups, today against the days before: what concerns all groups, such as a
weekend, cancels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import Self

from scipy import special

from pipeline.inference.sensitivity.anytime_valid import ConfidenceSequence, mixture_of
from pipeline.monitoring.following.ledger import UserSums

FAMILY_ALPHA = 0.05
"""Probability of any false alarm of one family of tests in a month; drops of one KPI are a family."""

MONTH_DAYS = 30
LEVEL = 0.95

SMALLEST_DROP = 0.05
"""A significant drop below this share of the KPI raises no alarm."""

_END_OF_DAY_SHARE = 0.8
"""Of a day's error rate: spent at its end; the rest on all looks before it, as in the report."""

_HOURS = 24
_MIN_USERS = 100
"""Of each side, below which a ratio is not normal enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A KPI of one slice.

    Attributes:
        rate: Successes per trial, at least 0.
        variance: Of the rate, clustered by user (delta method).
        users: Users with a trial.
    """

    rate: float
    variance: float
    users: int

    @property
    def relative_variance(self) -> float:
        """Of the logarithm of the rate; infinite if the rate is 0."""
        return self.variance / self.rate**2 if self.rate else inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A rate with its anytime-valid confidence interval, which one may look at as often as one likes."""

    rate: float
    low: float
    high: float
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """The KPI of a group against the other groups, today against the days before.

    Attributes:
        group: The group.
        kpi: The KPI.
        change: Relative change of the ratio; -0.1 if a tenth is lost.
        p_value: One-sided, of no drop, at this look alone.
        threshold: The p-value below which it is significant.
        is_significant: Whether the drop is, in the family of all looks and groups of a month.
    """

    group: str
    kpi: str
    change: float
    p_value: float
    threshold: float
    is_significant: bool

    @property
    def is_alarm(self) -> bool:
        """Whether it is significant and large enough to matter."""
        return self.is_significant and self.change < -SMALLEST_DROP


def rate_of(sums: UserSums) -> Rate | None:
    """The KPI of one slice; None with fewer than two users.

    The variance is U / (U - 1) · Σ_u (y_u - p m_u)² / (Σ m)², as in the table ``group_kpis``.
    """
    if sums.users < 2:
        return None
    rate = sums.successes / sums.trials
    squares = sums.sum_yy - 2 * rate * sums.sum_my + rate**2 * sums.sum_mm
    variance = max(squares, 0.0) * sums.users / (sums.users - 1) / sums.trials**2
    return Rate(rate=rate, variance=variance, users=sums.users)


def band_of(rate: Rate, mixture: float) -> Band:
    """The 95% confidence sequence of a rate; ``mixture`` as of :func:`first_mixture`."""
    sequence = ConfidenceSequence(alpha=1 - LEVEL, planned_days=1, mixture=mixture)
    width = sequence.width(rate.variance) if rate.variance > 0 else 0.0
    return Band(
        rate=rate.rate, low=max(rate.rate - width, 0.0), high=rate.rate + width, users=rate.users
    )


def first_mixture(rate: Rate, planned_users: float) -> float:
    """The mixture of a sequence, fixed at its first look: narrowest after ``planned_users`` users."""
    share = min(rate.users / planned_users, 1.0)
    return float(mixture_of(rate.variance * share, 1 - LEVEL))


def total(sums: Sequence[UserSums]) -> UserSums:
    """The sums over several slices or days, whose users count as different ones."""
    return UserSums(*(sum(values) for values in zip(*sums, strict=True))) if sums else UserSums()


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """When drops are looked for: every hour of a day, and at its end.

    Attributes:
        groups: Their number.
        is_end: Whether the day is over.
    """

    groups: int
    is_end: bool

    @property
    def alpha(self) -> float:
        """The error rate of one group on one day, at these looks."""
        share = _END_OF_DAY_SHARE if self.is_end else 1 - _END_OF_DAY_SHARE
        return share * FAMILY_ALPHA / MONTH_DAYS / self.groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The days before, of one KPI.

    Attributes:
        sums: By group, over these days.
        days: Their number.
    """

    sums: Mapping[str, UserSums]
    days: int

    @classmethod
    def of(cls, days: Sequence[Mapping[str, UserSums]]) -> Self:
        """The sums over several days, whose users count as different ones."""
        names = {name for day in days for name in day}
        sums = {name: total([day[name] for day in days if name in day]) for name in names}
        return cls(sums=sums, days=len(days))


def drop_of(
    group: str, kpi: str, today: Mapping[str, UserSums], before: Baseline, looks: Looks
) -> Drop | None:
    """Whether a KPI of a group has fallen; None with too few users, or without an earlier day.

    Args:
        group: The group.
        kpi: The KPI.
        today: Its sums by group.
        before: Those of earlier days.
        looks: How the error rate is spent.
    """
    now, past = _log_ratio(group, today), _log_ratio(group, before.sums)
    if now is None or past is None:
        return None
    change, variance = now[0] - past[0], now[1] + past[1]
    alpha = looks.alpha
    threshold = alpha
    if not looks.is_end:
        # tuned to the end of a day like those before
        sequence = ConfidenceSequence.one_sided(alpha, past[1] * (before.days + 1))
        threshold = float(special.ndtr(-sequence.width(variance) / sqrt(variance)))
    p_value = float(special.ndtr(change / sqrt(variance)))
    return Drop(
        group=group,
        kpi=kpi,
        change=exp(change) - 1,
        p_value=p_value,
        threshold=threshold,
        is_significant=p_value < threshold,
    )


def _log_ratio(group: str, sums: Mapping[str, UserSums]) -> tuple[float, float] | None:
    """The logarithm of a group's rate over that of the others, and its variance."""
    if group not in sums:
        return None
    own = rate_of(sums[group])
    rest = rate_of(total([one for name, one in sums.items() if name != group]))
    if own is None or rest is None or min(own.users, rest.users) < _MIN_USERS:
        return None
    if not (own.rate and rest.rate):
        return None
    return log(own.rate / rest.rate), own.relative_variance + rest.relative_variance
