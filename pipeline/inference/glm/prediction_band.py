"""The fitted line with its confidence band, and the change it predicts from group to group."""

import numpy as np
from scipy import stats

from pipeline.inference.glm.group_regression import LineFit
from pipeline.results.family import Family, Floats
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.slopes import BandPoint, Change

_STEPS = 24


def conservative_covariance(fit: LineFit) -> Floats:
    """Covariance of intercept and slope, scaled up where the model's error is the larger."""
    widening = (fit.conservative.standard_error / fit.cluster_robust.standard_error) ** 2
    return np.array(fit.covariance) * widening


def band_of(fit: LineFit, family: Family, furthest: float) -> tuple[BandPoint, ...]:
    """The line with its confidence band, from the worst group (x = 0) to the ``furthest``."""
    x = np.linspace(0, furthest, _STEPS + 1)
    design = np.column_stack([np.ones_like(x), x])
    error = np.sqrt(((design @ conservative_covariance(fit)) * design).sum(axis=1))
    width = stats.norm.ppf((1 + fit.model.level) / 2) * error
    line = fit.intercept + fit.slope * x
    ends = (family.mean(line), family.mean(line - width), family.mean(line + width))
    return tuple(
        BandPoint(x=float(at), rate=float(rate), low=float(low), high=float(high))
        for at, rate, low, high in zip(x, *ends, strict=True)
    )


def predicted_change(result: HypothesisResult, start: float, end: float) -> Change | None:
    """The relative change of the KPI from one x to another on the line of a hypothesis.

    The error of ``log rate`` follows from the covariance of intercept and slope (delta method); the
    interval has the hypothesis's level. None without a slope.
    """
    if result.slope is None or result.intercept is None or result.level is None:
        return None
    family, x = result.link, np.array([start, end])
    rate = family.mean(result.intercept + result.slope * x)
    # d log p / d line is 1 - p of a binary KPI and 1 of an amount
    share = 1 - rate if family is Family.BINOMIAL else np.ones(2)
    gradient = np.array([share[1] - share[0], share[1] * x[1] - share[0] * x[0]])
    error = float(np.sqrt(gradient @ np.array(result.line_covariance) @ gradient))
    middle = float(np.log(rate[1] / rate[0]))
    return log_change(middle, float(stats.norm.ppf((1 + result.level) / 2)) * error)


def log_change(middle: float, width: float) -> Change:
    """The relative change whose logarithm is ``middle`` ± ``width``."""
    low, high = (float(np.expm1(middle + side * width)) for side in (-1, 1))
    return Change(change=float(np.expm1(middle)), interval=(low, high))
