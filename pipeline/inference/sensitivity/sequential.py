"""Looking every day: intervals that hold on all days at once, so that one may stop on any of them.

An interval of 95 % is right once. Who looks every day and stops when 0 is outside is wrong far more
often. The intervals here are those of the mixture sequential probability ratio test (Johari et al.
2022), which for estimates with normal errors are the asymptotic confidence sequence of Waudby-Smith
et al. (2024): with V the slope's variance on a day and τ² that of the mixture,

    b ± sqrt(V (1 + V/τ²) log((1 + τ²/V) / α²)).
"""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from pipeline.inference.glm.group_regression import LineFit, fit_line
from pipeline.inference.glm.wald import SlopeTest
from pipeline.inference.sensitivity.day_effects import DailyOutcome
from pipeline.results.family import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class InterimEstimate:
    """The slope as it was known at the end of a day.

    Attributes:
        day: The day (UTC).
        test: By all that had happened until then, users clustered in batches. Its interval holds
            the slope on all days at once with at least the chance that is its level; its p-value
            is the smallest of the days until then, and valid whenever one stops.
    """

    day: date
    test: SlopeTest


def confidence_sequence(
    x: Floats, outcome: DailyOutcome, *, level: float, planned_days: int
) -> tuple[InterimEstimate, ...]:
    """The slope at the end of every day that defines one.

    τ² is fixed on the first such day, so that the interval of the last planned day is as short as it
    can be: the ratio τ²/V that does this is -2 log α + log(1 - 2 log α), and V falls with the days.

    Args:
        x: Of the groups.
        outcome: The KPI by day.
        level: Of the intervals.
        planned_days: How long the experiment is to run.
    """
    alpha = 1 - level
    best_ratio = -2 * np.log(alpha) + np.log1p(-2 * np.log(alpha))
    mixture, smallest = 0.0, 1.0
    looks: list[InterimEstimate] = []
    for number, day in enumerate(outcome.days):
        fit = fit_line(x, outcome.until(number), level=level)
        if not isinstance(fit, LineFit):
            continue
        variance = fit.clustered.standard_error**2
        mixture = mixture or best_ratio * variance * min(1.0, (number + 1) / planned_days)
        ratio = mixture / variance
        width = float(np.sqrt(variance * (1 + 1 / ratio) * np.log((1 + ratio) / alpha**2)))
        evidence = ratio / (1 + ratio) * fit.slope**2 / (2 * variance) - 0.5 * np.log1p(ratio)
        smallest = min(smallest, float(np.exp(-evidence)))
        looks.append(
            InterimEstimate(
                day=day,
                test=replace(
                    fit.clustered,
                    covariance="batches of users, on all days at once",
                    interval=(fit.slope - width, fit.slope + width),
                    p_value=smallest,
                ),
            )
        )
    return tuple(looks)
