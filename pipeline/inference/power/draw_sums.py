"""Per-user sufficient statistics of simulated experiments, drawn from the traffic.

Users are drawn one by one where they are so few that a heavy one matters, so that heavy users and
groups without a success occur as often as they will. With more users, the counts of the groups are
beta-binomial with the variance that the users imply.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.core.contracts import Kpi
from pipeline.experiment.kpis.contracts import TERMS, USER_SUMS
from pipeline.inference.glm.group_regression import GroupSums, cluster_sum_squares
from pipeline.inference.hypotheses.inputs import family_of
from pipeline.inference.power.traffic_model import Traffic, counted_kpi
from pipeline.results.family import Family, Floats

FEW_USERS, FEW_SUCCESSFUL_USERS = 60, 30
"""Effective users (Kish: ``(Σm)²/Σm²``, ``(Σy)²/Σy²``) of a group, below which users are drawn one by
one."""

MOST_USERS = 2500
"""Of an experiment whose users are drawn one by one."""

_SUMS = ("trials", "successes", *USER_SUMS)

_RESERVE = 200_000
"""Users of which the groups are windows; groups of half as many have the expected moments."""

_LEAST_CORRELATION, _LARGEST_CORRELATION = 1e-12, 1 - 1e-6
_SMALLEST = 1e-9
_POISSON_SPREAD = 1.5
"""Variance of a user's impressions over their mean, up to which they are 1 + Poisson."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedGroups:
    """R experiments of G groups that are to be simulated.

    Attributes:
        traffic: Of the experiment.
        kpi: The KPI.
        days: Duration.
        shares: Of the users, one per group.
        chances_RG: :meth:`Traffic.chance` in each group of each experiment.
    """

    traffic: Traffic
    kpi: Kpi
    days: float
    shares: Floats
    chances_RG: Floats

    @property
    def users(self) -> Floats:
        """Of each group."""
        return self.traffic.users(self.days) * self.shares

    @property
    def mean_impressions(self) -> float:
        """Of a user."""
        return self.traffic.impressions(self.days) / self.traffic.users(self.days)

    def expected(
        self, kpi: Kpi, chances: Floats, impressions: tuple[Floats, Floats] | None = None
    ) -> GroupSums:
        """See :meth:`Traffic.sums`."""
        return self.traffic.sums(
            kpi, days=self.days, shares=self.shares, chances=chances, impressions=impressions
        )


def draw_sums(rng: np.random.Generator, groups: PlannedGroups) -> GroupSums:
    """Draw the sums of all experiments."""
    if groups.users.sum() > MOST_USERS or _counts_suffice(groups):
        return _draw_groups(rng, groups)
    experiments = len(groups.chances_RG)
    chances = np.split(groups.chances_RG, len(groups.users), axis=1)
    drawn = [
        _draw_users(rng, groups, (experiments, round(size)), chances_R1)
        for size, chances_R1 in zip(groups.users, chances, strict=True)
    ]
    return GroupSums(
        family=family_of(groups.kpi),
        **{name: np.stack([getattr(one, name) for one in drawn], axis=-1) for name in _SUMS},
    )


def _counts_suffice(groups: PlannedGroups) -> bool:
    """Whether no group depends on a few heavy users, or on a few users with a success."""
    sums = groups.expected(counted_kpi(groups.kpi), np.median(groups.chances_RG, axis=0))
    return bool(
        (sums.trials**2 / sums.sum_mm).min() >= FEW_USERS
        and (sums.successes**2 / sums.sum_yy).min() >= FEW_SUCCESSFUL_USERS
    )


def _draw_users(
    rng: np.random.Generator, groups: PlannedGroups, shape: tuple[int, int], chances_R1: Floats
) -> GroupSums:
    """The sums over the users of one group."""
    traffic, kpi = groups.traffic, groups.kpi
    trials, successes = TERMS[kpi]
    m = _impressions(rng, groups.mean_impressions, traffic.impressions_variation, shape)
    if trials == "clicks":
        m = _events(rng, m, np.full((1, 1), traffic.ctr), traffic.correlation[Kpi.CTR])
    events = _events(rng, m, chances_R1, traffic.correlation[counted_kpi(kpi)])
    amounts = _amounts(rng, traffic, successes, events)
    per_user = np.ones(shape) if trials == "users" else m.astype(np.float64)
    return GroupSums.over_users(family_of(kpi), per_user, amounts)


def _impressions(
    rng: np.random.Generator, mean: float, variation: float, shape: tuple[int, int]
) -> NDArray[np.int64]:
    """1 + Poisson, or with more variation a lognormal rounded up."""
    if variation**2 * mean <= _POISSON_SPREAD:
        return 1 + rng.poisson(max(mean - 1, 0.0), shape)
    log_variance = np.log1p(variation**2)
    middle = np.log(max(mean - 0.5, 0.5)) - log_variance / 2
    drawn = np.exp(middle + np.sqrt(log_variance) * rng.standard_normal(shape))
    return np.ceil(drawn).astype(np.int64)


def _events(
    rng: np.random.Generator, trials: NDArray[np.int64], chances: Floats, correlation: float
) -> NDArray[np.int64]:
    """Successes of each user; two of them have the given correlation (beta-binomial)."""
    if correlation <= _LEAST_CORRELATION:
        return rng.binomial(trials, chances)
    size = 1 / min(correlation, _LARGEST_CORRELATION) - 1
    alpha, beta = np.maximum(size * chances, _SMALLEST), np.maximum(size * (1 - chances), _SMALLEST)
    return rng.binomial(trials, rng.beta(alpha, beta, trials.shape))


def _amounts(
    rng: np.random.Generator, traffic: Traffic, successes: str, events: NDArray[np.int64]
) -> Floats:
    """The amounts of so many events: themselves, their units, or their revenue in mean orders."""
    if successes == "units":
        return (events + rng.poisson((traffic.units_per_order - 1) * events)).astype(np.float64)
    variance = traffic.revenue_variation**2
    if successes != "revenue" or not variance:
        return events.astype(np.float64)
    return rng.gamma(np.maximum(events, _SMALLEST) / variance, variance) * (events > 0)


def _draw_groups(rng: np.random.Generator, groups: PlannedGroups) -> GroupSums:
    """The groups' counts, and what their users have as sums on average at the counted rate."""
    kpi, chances_RG = groups.kpi, groups.chances_RG
    moments = _impression_moments(rng, groups)
    expected = groups.expected(counted_kpi(kpi), chances_RG, moments)
    n = np.broadcast_to(np.maximum(np.round(expected.trials), 1), chances_RG.shape)
    binomial = expected.trials * chances_RG * (1 - chances_RG)
    inflation = cluster_sum_squares(chances_RG, expected) / binomial
    correlation = np.clip(
        (inflation - 1) / np.maximum(n - 1, 1), _LEAST_CORRELATION, _LARGEST_CORRELATION
    )
    size = 1 / correlation - 1
    rate = rng.beta(
        np.maximum(size * chances_RG, _SMALLEST), np.maximum(size * (1 - chances_RG), _SMALLEST)
    )
    counts = rng.binomial(n.astype(np.int64), rate)
    sums = groups.expected(kpi, counts / n, moments)
    if sums.family is Family.BINOMIAL:
        return sums
    amount = TERMS[kpi][1]
    factor = _amounts(rng, groups.traffic, amount, counts)
    factor = factor / np.maximum(counts * groups.traffic.amount(amount)[0], 1.0)
    return replace(
        sums,
        successes=sums.successes * factor,
        sum_my=sums.sum_my * factor,
        sum_yy=sums.sum_yy * factor**2,
    )


def _impression_moments(
    rng: np.random.Generator, groups: PlannedGroups
) -> tuple[Floats, Floats] | None:
    """Mean and mean square of the impressions of each group's users; None for the expected ones.

    A heavy user may double a group's mean square, whose usual value is then far below the expected
    one. Every group is a random window of the same users.
    """
    users = np.maximum(np.round(groups.users), 1).astype(np.int64)
    if 2 * users.max() > _RESERVE:
        return None
    variation = groups.traffic.impressions_variation
    drawn = _impressions(rng, groups.mean_impressions, variation, (1, _RESERVE))[0]
    drawn = drawn.astype(np.float64)
    start = rng.integers(0, _RESERVE - users + 1, groups.chances_RG.shape)
    totals = (np.concatenate([[0.0], np.cumsum(one)]) for one in (drawn, drawn**2))
    first, second = ((total[start + users] - total[start]) / users for total in totals)
    return first, second
