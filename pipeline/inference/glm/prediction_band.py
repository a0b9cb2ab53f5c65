"""What the fitted line says between the groups, and from one group to another."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from pipeline.inference.glm.group_regression import LineFit
from pipeline.results.family import Family, Floats

_STEPS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class BandPoint:
    """The line at one place.

    Attributes:
        x: Relative change of the metric against the worst group, a fraction.
        rate: The KPI on the line.
        low: Lower end of its interval at the study's level, pointwise; the error is the user-clustered
            one, or the paper's where that is the wider. That groups may lie off the line for
            reasons of their own is not in it.
        high: Upper end.
    """

    x: float
    rate: float
    low: float
    high: float


def cautious_covariance(fit: LineFit) -> Floats:
    """Covariance of intercept and slope, widened where independent trials give the wider error."""
    widening = (fit.conservative.standard_error / fit.clustered.standard_error) ** 2
    return np.array(fit.covariance) * widening


def band_of(fit: LineFit, family: Family, furthest: float) -> tuple[BandPoint, ...]:
    """The line with its interval, from the worst group (x = 0) to the ``furthest``."""
    x = np.linspace(0, furthest, _STEPS + 1)
    design = np.column_stack([np.ones_like(x), x])
    error = np.sqrt(((design @ cautious_covariance(fit)) * design).sum(axis=1))
    width = stats.norm.ppf((1 + fit.model.level) / 2) * error
    line = fit.intercept + fit.slope * x
    ends = (family.mean(line), family.mean(line - width), family.mean(line + width))
    return tuple(
        BandPoint(x=float(at), rate=float(rate), low=float(low), high=float(high))
        for at, rate, low, high in zip(x, *ends, strict=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A relative change of a KPI, as a fraction of where it starts.

    Attributes:
        change: Rate at the end over rate at the start, less 1.
        interval: Of it.
    """

    change: float
    interval: tuple[float, float]

    @property
    def excludes_0(self) -> bool:
        """Whether the interval leaves no doubt of the direction."""
        low, high = self.interval
        return low > 0 or high < 0


def predicted_change(hypothesis: Mapping[str, Any], start: float, end: float) -> Change:
    """The change of the fitted KPI from one x to another on the line of an answered hypothesis.

    The error of ``log rate`` follows from the covariance of intercept and slope (delta method).

    Args:
        hypothesis: An entry of ``report.json`` that has a slope.
        start: x of the one group.
        end: x of the other.
    """
    family, x = Family(hypothesis["link"]), np.array([start, end])
    line = hypothesis["intercept"] + hypothesis["slope"] * x
    rate = family.mean(line)
    # d log p / d line is 1 - p of a yes-or-no KPI and 1 of an amount
    share = 1 - rate if family is Family.BINOMIAL else np.ones(2)
    gradient = np.array([share[1] - share[0], share[1] * x[1] - share[0] * x[0]])
    error = float(np.sqrt(gradient @ np.array(hypothesis["line_covariance"]) @ gradient))
    middle = float(np.log(rate[1] / rate[0]))
    return log_change(middle, float(stats.norm.ppf((1 + hypothesis["level"]) / 2)) * error)


def log_change(middle: float, width: float) -> Change:
    """The relative change whose logarithm is ``middle`` ± ``width``."""
    low, high = (float(np.expm1(middle + side * width)) for side in (-1, 1))
    return Change(change=float(np.expm1(middle)), interval=(low, high))
