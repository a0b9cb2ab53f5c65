"""Anytime-valid inference: a confidence sequence of the slope, day by day.

A fixed-sample interval of 95% does not allow for repeated looks: stopping at the first interval that
excludes 0 has far more than 5% false positives. These intervals are those of the mixture sequential
probability ratio test (Johari et al. 2022), for normal errors the asymptotic confidence sequence of
Waudby-Smith et al. (2024): with V the slope's variance on a day and τ² that of the mixture,

    b ± sqrt(V (1 + V/τ²) log((1 + τ²/V) / α²)).
"""

import numpy as np

from pipeline.inference.glm.group_regression import LineFit, fit_line
from pipeline.inference.sensitivity.day_effects import DailyOutcome
from pipeline.results.family import Floats
from pipeline.results.reasons import Covariance
from pipeline.results.slopes import InterimEstimate


def confidence_sequence(
    x: Floats, outcome: DailyOutcome, *, level: float, planned_days: int
) -> tuple[InterimEstimate, ...]:
    """The slope at the end of every day on which it is defined.

    τ² is fixed on the first such day to minimise the interval of the last planned day: the optimal
    ratio τ²/V is -2 log α + log(1 - 2 log α), and V decreases with the number of days.
    """
    alpha = 1 - level
    best_ratio = -2 * np.log(alpha) + np.log1p(-2 * np.log(alpha))
    mixture, smallest, estimates = 0.0, 1.0, list[InterimEstimate]()
    for number, day in enumerate(outcome.days):
        fit = fit_line(x, outcome.until(number), level=level)
        if not isinstance(fit, LineFit):
            continue
        variance = (error := fit.cluster_robust.standard_error) ** 2
        mixture = mixture or best_ratio * variance * min(1.0, (number + 1) / planned_days)
        ratio = mixture / variance
        width = float(np.sqrt(variance * (1 + 1 / ratio) * np.log((1 + ratio) / alpha**2)))
        evidence = ratio / (1 + ratio) * fit.slope**2 / (2 * variance) - 0.5 * np.log1p(ratio)
        smallest = min(smallest, float(np.exp(-evidence)))
        estimates.append(
            InterimEstimate(
                day=day,
                covariance=Covariance.ANYTIME_VALID,
                slope=fit.slope,
                standard_error=error,
                df=None,
                level=level,
                interval=(fit.slope - width, fit.slope + width),
                p_value=smallest,
            )
        )
    return tuple(estimates)
