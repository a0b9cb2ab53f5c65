"""Simulated worlds whose truth is known: users, metrics measured with error, small counts."""

from dataclasses import dataclass

import numpy as np

from claims.result import LEVEL
from pipeline.core.contracts import Kpi
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.power.power import PowerQuery
from pipeline.inference.power.traffic_model import Traffic
from pipeline.results.family import Family, Floats

CTR, SLOPE, RANGE = 0.12, 0.9, 0.11
USERS, IMPRESSIONS, CORRELATION = 500, 180, 0.004
"""Of a group, of a user, and of two impressions of a user."""

LOG_DEVIATION = 1.2
"""Of a heavy-tailed user's impressions."""

_AT_ONCE = 4_000_000
SUMS = ("trials", "successes", "users", "sum_mm", "sum_my", "sum_yy")


def evenly(groups: int) -> Floats:
    """The true metric of evenly spaced groups, as relative change."""
    return np.linspace(0, RANGE, groups)


def measured(
    rng: np.random.Generator, x: Floats, reliability: float, worlds: int
) -> tuple[Floats, Floats | None]:
    """The metric as measured in each world, and the covariance of its errors; None without."""
    if reliability == 1:
        return np.tile(x, (worlds, 1)), None
    variance = x.var(ddof=1) * (1 - reliability) / reliability
    drawn = x + np.sqrt(variance) * rng.standard_normal((worlds, len(x)))
    return drawn, variance * np.eye(len(x))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The truth: log odds that are linear in the metric x, but for the groups' deviations τ."""

    x: Floats
    slope: float = SLOPE
    tau: float = 0.0
    ctr: float = CTR

    def rates(self, rng: np.random.Generator, worlds: int) -> Floats:
        """Rates of the groups in each world."""
        deviations = self.tau * rng.standard_normal((worlds, len(self.x)))
        middle = np.log(self.ctr / (1 - self.ctr))
        return Family.BINOMIAL.mean(middle + self.slope * (self.x - self.x.mean()) + deviations)

    @property
    def query(self) -> PowerQuery:
        """Its click-through rate in a plan with equal shares."""
        groups = len(self.x)
        return PowerQuery(
            kpi=Kpi.CTR,
            x=self.x,
            shares=np.full(groups, 1 / groups),
            sign=1,
            level=LEVEL,
            group_deviation=self.tau,
        )


def impressions(
    rng: np.random.Generator, shape: tuple[int, ...], mean: float, *, heavy: bool
) -> Floats:
    """Of each user: 1 + Poisson, or lognormal."""
    if not heavy:
        return 1.0 + rng.poisson(mean - 1, shape)
    middle = np.log(mean) - LOG_DEVIATION**2 / 2
    return np.ceil(np.exp(middle + LOG_DEVIATION * rng.standard_normal(shape)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """The users of each group."""

    number: int = USERS
    mean: float = IMPRESSIONS
    heavy: bool = False
    correlation: float = CORRELATION

    def sums(self, rng: np.random.Generator, rates_RG: Floats) -> GroupSums:
        """The sums of groups with these rates; users differ by a beta distribution."""
        worlds, groups = rates_RG.shape
        step = max(1, _AT_ONCE // (groups * self.number))
        parts = [self._sums(rng, rates_RG[n : n + step]) for n in range(0, worlds, step)]
        return GroupSums(**{k: np.concatenate([getattr(p, k) for p in parts]) for k in SUMS})

    def _sums(self, rng: np.random.Generator, rates_RG: Floats) -> GroupSums:
        p = rates_RG[..., None]
        m = impressions(rng, (*rates_RG.shape, self.number), self.mean, heavy=self.heavy)
        if self.correlation:
            size = 1 / self.correlation - 1
            p = rng.beta(size * p, size * (1 - p), m.shape)
        successes = rng.binomial(m.astype(np.int64), p).astype(np.float64)
        return GroupSums.over_users(Family.BINOMIAL, m, successes)

    def traffic(self, ctr: float, groups: int, days: float) -> Traffic:
        """What a planner knows of such users."""
        variation = np.sqrt(np.expm1(LOG_DEVIATION**2)) if self.heavy else self.mean**-0.5
        return Traffic(
            ctr=ctr,
            cvr=0.05,
            units_per_order=1.0,
            revenue_variation=1.0,
            impressions_per_day=self.mean * self.number * groups / days,
            returning_users=float(self.number * groups),
            new_users_per_day=0.0,
            impressions_variation=float(variation),
            correlation=dict.fromkeys(
                (Kpi.CTR, Kpi.CVR, Kpi.ORDERS_PER_IMPRESSION), self.correlation
            ),
        )


def one_trial_per_user(trials: Floats, successes: Floats) -> GroupSums:
    """Sums of users with one impression each."""
    n, y = np.broadcast_arrays(np.asarray(trials, np.float64), np.asarray(successes, np.float64))
    return GroupSums(trials=n, successes=y, users=n, sum_mm=n, sum_my=y, sum_yy=y)


def world(sums: GroupSums, number: int) -> GroupSums:
    """One world of many."""
    shape = sums.successes.shape
    chosen = {k: np.broadcast_to(getattr(sums, k), shape)[number] for k in SUMS}
    return GroupSums(family=sums.family, **chosen)
