"""When groups are compared: at the planned end, and on any other day.

With daily sums, four fifths of the error rate are spent at the planned end, and one fifth on all other
days together, before and after it, by a mixture sequential probability ratio test
(:mod:`pipeline.inference.sensitivity.anytime_valid`).
"""

from dataclasses import dataclass

import numpy as np

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.groups.pair_test import PairTest, pair_test
from pipeline.inference.headline.readings import PLANNED_END_SHARE
from pipeline.inference.sensitivity.anytime_valid import ConfidenceSequence
from pipeline.inference.sensitivity.day_effects import DailyOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The groups' sums up to a day, with the error rate of that look.

    Attributes:
        sums: Of one KPI.
        alpha: Two-sided error rate of all comparisons at this look.
        outcome: The days before, if the look is not the planned end; it is then one of many.
        planned_days: Planned duration.
        early: Whether the planned end has not been reached.
    """

    sums: GroupSums
    alpha: float
    outcome: DailyOutcome | None = None
    planned_days: int = 1
    early: bool = False

    def critical(self, pair: PairTest, a: int, b: int, *, comparisons: int) -> float:
        """The |z| of groups ``a`` and ``b`` above which they differ (Bonferroni)."""
        alpha = self.alpha / comparisons
        quantile = pair.quantile(alpha)
        if self.outcome is None:
            return quantile
        sequence = _started(self.outcome, a, b, alpha=alpha, planned_days=self.planned_days)
        if not sequence.mixture or not pair.relative_variance:
            return np.inf
        width = sequence.width(pair.relative_variance)
        return max(quantile, width / pair.relative_variance**0.5)


def looks(
    sums: GroupSums, outcome: DailyOutcome | None, *, planned_days: int | None, level: float
) -> list[Look]:
    """The looks at which groups may be compared today, the planned end first.

    Args:
        sums: Of the whole log.
        outcome: The same by day; None if days are unknown.
        planned_days: Planned duration; None for the observed one.
        level: 1 less the error rate of all comparisons, at all looks.
    """
    alpha = 1 - level
    if outcome is None:
        return [Look(sums=sums, alpha=alpha)]
    observed = len(outcome.days)
    planned = planned_days or observed
    at_end, other = PLANNED_END_SHARE * alpha, (1 - PLANNED_END_SHARE) * alpha
    if observed == planned:
        return [Look(sums=sums, alpha=at_end)]
    today = Look(
        sums=sums, alpha=other, outcome=outcome, planned_days=planned, early=observed < planned
    )
    if observed < planned:
        return [today]
    return [Look(sums=outcome.until(planned - 1), alpha=at_end), today]


def _started(
    outcome: DailyOutcome, a: int, b: int, *, alpha: float, planned_days: int
) -> ConfidenceSequence:
    """The sequence of tests of a pair, tuned on the first day on which the pair has a variance."""
    sequence = ConfidenceSequence(alpha=alpha, planned_days=planned_days)
    for day in range(len(outcome.days)):
        sums = outcome.until(day)
        if min(sums.trials[a], sums.trials[b]) > 0:
            sequence = sequence.started(pair_test(sums, a, b).relative_variance, day)
        if sequence.mixture:
            break
    return sequence
