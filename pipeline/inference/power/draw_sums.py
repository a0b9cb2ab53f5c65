"""Per-user sufficient statistics of simulated experiments, drawn from the traffic.

Users are drawn one by one where they are so few that a heavy one matters, so that heavy users and
groups without a success occur as often as they will. With more users, the counts of the groups are
beta-binomial with the variance that the users imply.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.core.contracts import Kpi
from pipeline.experiment.kpis.contracts import TERMS, USER_SUMS
from pipeline.inference.glm.group_regression import GroupSums, cluster_sum_squares
from pipeline.inference.hypotheses.inputs import family_of
from pipeline.inference.power.traffic_model import Traffic, counted_kpi
from pipeline.results.family import Family, Floats

FEW_USERS = 100
"""Effective users (Kish) of a group, below which users are drawn one by one."""

_SUMS = ("trials", "successes", *USER_SUMS)
_MOST_USERS = 6_000_000
"""Drawn one by one, in all experiments together."""

_LEAST_CORRELATION, _LARGEST_CORRELATION = 1e-12, 1 - 1e-6
_SMALLEST = 1e-9
_POISSON_SPREAD = 1.5
"""Variance of a user's impressions over their mean, up to which they are 1 + Poisson."""


def draw_sums(
    rng: np.random.Generator,
    traffic: Traffic,
    kpi: Kpi,
    *,
    days: float,
    shares: Floats,
    chances_RG: Floats,
) -> GroupSums:
    """The sums of R experiments of G groups.

    Args:
        rng: Random numbers.
        traffic: Of the experiment.
        kpi: The KPI.
        days: Duration.
        shares: Of the users, one per group.
        chances_RG: :meth:`Traffic.chance` in each group of each experiment.
    """
    users = traffic.users(days) * shares
    effective = users / (1 + traffic.impressions_variation**2)
    if effective.min() >= FEW_USERS or len(chances_RG) * users.sum() > _MOST_USERS:
        return _draw_groups(rng, traffic, kpi, days=days, shares=shares, chances_RG=chances_RG)
    mean = traffic.impressions(days) / traffic.users(days)
    columns = [
        _draw_users(rng, traffic, kpi, mean, (len(chances_RG), round(size)), chances_R1)
        for size, chances_R1 in zip(users, np.split(chances_RG, len(users), axis=1), strict=True)
    ]
    groups = [GroupSums.over_users(family_of(kpi), m, y) for m, y in columns]
    return GroupSums(
        family=family_of(kpi),
        **{n: np.stack([getattr(one, n) for one in groups], axis=-1) for n in _SUMS},
    )


def _draw_users(
    rng: np.random.Generator,
    traffic: Traffic,
    kpi: Kpi,
    mean: float,
    shape: tuple[int, int],
    chances_R1: Floats,
) -> tuple[Floats, Floats]:
    """Trials and successes of the users of one group, users along the last axis."""
    trials, successes = TERMS[kpi]
    m = _impressions(rng, mean, traffic.impressions_variation, shape)
    if trials == "clicks":
        m = _events(rng, m, np.full((1, 1), traffic.ctr), traffic.correlation[Kpi.CTR])
    events = _events(rng, m, chances_R1, traffic.correlation[counted_kpi(kpi)])
    amounts = _amounts(rng, traffic, successes, events)
    return (np.ones(shape) if trials == "users" else m.astype(np.float64)), amounts


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


def _draw_groups(
    rng: np.random.Generator,
    traffic: Traffic,
    kpi: Kpi,
    *,
    days: float,
    shares: Floats,
    chances_RG: Floats,
) -> GroupSums:
    """The groups' counts, and what such users have as sums on average at the counted rate."""
    expected = traffic.sums(counted_kpi(kpi), days=days, shares=shares, chances=chances_RG)
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
    sums = traffic.sums(kpi, days=days, shares=shares, chances=counts / n)
    if sums.family is Family.BINOMIAL:
        return sums
    factor = _amounts(rng, traffic, TERMS[kpi][1], counts)
    factor = factor / np.maximum(counts * traffic.amount(TERMS[kpi][1])[0], 1.0)
    return GroupSums(
        family=sums.family,
        trials=sums.trials,
        successes=sums.successes * factor,
        users=sums.users,
        sum_mm=sums.sum_mm,
        sum_my=sums.sum_my * factor,
        sum_yy=sums.sum_yy * factor**2,
    )
