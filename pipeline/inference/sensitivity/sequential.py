"""Anytime-valid inference: a confidence sequence of the slope, day by day.

:mod:`pipeline.inference.sensitivity.anytime_valid` has the sequence.
"""

from pipeline.inference.glm.group_regression import LineFit, fit_line
from pipeline.inference.sensitivity.anytime_valid import ConfidenceSequence
from pipeline.inference.sensitivity.day_effects import DailyOutcome
from pipeline.results.family import Floats
from pipeline.results.reasons import Covariance
from pipeline.results.slopes import InterimEstimate


def confidence_sequence(
    x: Floats, outcome: DailyOutcome, *, level: float, planned_days: int
) -> tuple[InterimEstimate, ...]:
    """The slope at the end of every day on which it is defined."""
    sequence = ConfidenceSequence(alpha=1 - level, planned_days=planned_days)
    smallest, estimates = 1.0, list[InterimEstimate]()
    for number, day in enumerate(outcome.days):
        fit = fit_line(x, outcome.until(number), level=level)
        if not isinstance(fit, LineFit):
            continue
        error = fit.cluster_robust.standard_error
        sequence = sequence.started(error**2, number)
        width = sequence.width(error**2)
        smallest = min(smallest, sequence.p_value(fit.slope, error**2))
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
