"""The candidate against the incumbent in one KPI: within stages, clustered by user, valid at all looks.

Shares change from stage to stage, and so may the KPI of both arms; rates of all stages together would then
differ without any effect (Simpson's paradox). Both arms are therefore standardised to the same stages, which
weigh as in Mantel & Haenszel: n_b n_a / (n_b + n_a), the precision of a stage's comparison up to a factor, from
its numbers of users alone.

The bounds are those of one one-sided asymptotic confidence sequence
(:mod:`pipeline.inference.sensitivity.anytime_valid`) over the whole rollout: a stage changes the margin only.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pipeline.inference.sensitivity.anytime_valid import ConfidenceSequence
from pipeline.rollout.sums import Floats, KpiSums, UserSums


class Verdict(StrEnum):
    """What one guardrail says."""

    ADVANCE = "advance"
    HOLD = "hold"
    ROLL_BACK = "roll back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The difference of two arms.

    Attributes:
        difference: Above 0 where the candidate is better: of a KPI log(candidate / incumbent), of a share of
            requests incumbent - candidate.
        standard_error: Of it, by user.
        users: Users of the smaller arm.
        candidate: Rate of the candidate.
        incumbent: Rate of the incumbent.
    """

    difference: float
    standard_error: float
    users: int
    candidate: float
    incumbent: float


def compare_kpi(sums: KpiSums) -> Comparison | None:
    """The log ratio of a KPI; None if the incumbent has no successes.

    A candidate without any has no log ratio, and is harmed rather than unknown: its difference is then the
    relative one, -1, with the variance of a rate with one success more.
    """
    (new, new_variance), (old, old_variance) = _standardised(sums)
    if not (old > 0 and np.isfinite(new)):
        return None
    if new > 0:
        difference = np.log(new / old)
        variance = new_variance / new**2 + old_variance / old**2
    else:
        difference = -1.0
        variance = (_binomial_variance(sums.candidate) + old_variance) / old**2
    return Comparison(
        difference=float(difference),
        standard_error=float(np.sqrt(variance)),
        users=min(sums.candidate.users, sums.incumbent.users),
        candidate=new,
        incumbent=old,
    )


def compare_requests(sums: KpiSums) -> Comparison | None:
    """The difference of a share of requests; None if one arm has no requests.

    Few bad requests have a variance near 0 by chance. It is at least that of a share with one more of them.
    """
    (new, new_variance), (old, old_variance) = _standardised(sums)
    if not (np.isfinite(new) and np.isfinite(old)):
        return None
    floors = [_binomial_variance(arm) for arm in (sums.candidate, sums.incumbent)]
    variance = max(new_variance, floors[0]) + max(old_variance, floors[1])
    return Comparison(
        difference=old - new,
        standard_error=float(np.sqrt(variance)),
        users=min(sums.candidate.users, sums.incumbent.users),
        candidate=new,
        incumbent=old,
    )


def half_width(standard_error: float, users: int, *, n_star: int, alpha: float) -> float:
    """Distance of the one-sided bound at level 1 - ``alpha`` from the estimate, valid at all looks.

    Args:
        standard_error: Of the estimate now.
        users: Now.
        n_star: The number of users at which it is closest, in standard errors; fixed before the start.
        alpha: Error rate of the bound over all looks.
    """
    if standard_error == 0:
        return 0.0
    variance = standard_error**2
    return ConfidenceSequence.one_sided(alpha, variance * users / n_star).width(variance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a comparison is a verdict.

    Attributes:
        need: Users of the smaller arm below which nothing is said.
        n_star: As for :func:`half_width`.
        alpha: Error rate of finding harm, or its absence.
        guardrails: Number of guardrails that share the error rate of finding harm; all of them must pass for
            the next stage, so that passing needs no correction.
        harm: Size of the difference that counts as harm if it is exceeded: 0 for a KPI.
    """

    need: int
    n_star: int
    alpha: float
    guardrails: int = 1
    harm: float = 0.0

    def bounds(self, comparison: Comparison) -> tuple[float, float]:
        """Lower bound for passing, and upper bound for harm."""
        error, users = comparison.standard_error, comparison.users
        passing = half_width(error, users, n_star=self.n_star, alpha=self.alpha)
        harming = half_width(error, users, n_star=self.n_star, alpha=self.alpha / self.guardrails)
        return comparison.difference - passing, comparison.difference + harming

    def verdict(self, comparison: Comparison, *, tolerated: float | None, is_time: bool) -> Verdict:
        """Roll back if harm is proven, advance if no more than the tolerated is, else hold.

        Args:
            comparison: Of the two arms.
            tolerated: Size of the difference that must be excluded; None for none.
            is_time: Whether the whole days of the stage have passed.
        """
        if comparison.users < self.need:
            return Verdict.HOLD
        low, high = self.bounds(comparison)
        if high < -self.harm:
            return Verdict.ROLL_BACK
        is_safe = tolerated is None or low > -tolerated
        return Verdict.ADVANCE if is_time and is_safe else Verdict.HOLD


def _standardised(sums: KpiSums) -> tuple[tuple[float, float], tuple[float, float]]:
    """Rate and variance of the candidate and of the incumbent; nan without a stage that has both."""
    new_S, old_S = sums.candidate.users_S, sums.incumbent.users_S
    known_S = (new_S > 0) & (old_S > 0)
    weight_S = np.where(known_S, new_S * old_S / np.maximum(new_S + old_S, 1), 0.0)
    if not known_S.any():
        return (np.nan, np.nan), (np.nan, np.nan)
    weight_S = weight_S / weight_S.sum()
    return _rate(sums.candidate, weight_S), _rate(sums.incumbent, weight_S)


def _rate(arm: UserSums, weight_S: Floats) -> tuple[float, float]:
    """Weighted mean of the stages' rates, and its variance over users (delta method)."""
    m_S = np.where(arm.m_S > 0, arm.m_S, 1.0)
    rate_S, share_S = arm.y_S / m_S, weight_S / m_S
    cross_SS = rate_S[:, None] * arm.my_SS
    squares_SS = arm.yy_SS - cross_SS - cross_SS.T + np.outer(rate_S, rate_S) * arm.mm_SS
    return float(weight_S @ rate_S), max(float(share_S @ squares_SS @ share_S), 0.0)


def _binomial_variance(arm: UserSums) -> float:
    trials = arm.m_S.sum()
    share = (arm.y_S.sum() + 1) / (trials + 2)
    return float(share * (1 - share) / trials)
