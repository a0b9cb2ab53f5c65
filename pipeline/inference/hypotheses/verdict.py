"""What may be said of a hypothesis, by rules that are stated before the data is looked at."""

from enum import StrEnum

from scipy import stats

from pipeline.inference.glm.group_regression import LineFit
from pipeline.inference.glm.wald import SlopeTest
from pipeline.inference.sensitivity.random_effects import RandomEffectsSlope
from pipeline.study import Hypothesis

POWER = 0.8
"""Of the experiment that would settle a hypothesis."""


class Verdict(StrEnum):
    """What the intervals say of the declared direction.

    The clustered interval is that of the users, or of independent trials where that is the wider;
    before the planned end it is the one that holds on all days at once.
    """

    CONFIRMED = "confirmed"
    """The clustered and the few-groups interval both lie on the declared side of 0."""
    FRAGILE = "fragile"
    """The clustered interval does, the few-groups interval does not."""
    NOT_SHOWN = "not shown"
    """The clustered interval holds 0."""
    CONTRADICTED = "contradicted"
    """The clustered interval lies on the other side of 0."""
    BLOCKED = "blocked"
    """The experiment's health forbids any reading."""
    UNDEFINED = "undefined"
    """There is no finite, unique slope."""


def verdict(
    hypothesis: Hypothesis, test: SlopeTest, few: RandomEffectsSlope | None, *, healthy: bool = True
) -> Verdict:
    """Judge a hypothesis that has a slope.

    Args:
        hypothesis: What was declared.
        test: The clustered one; before the planned end, that which holds on all days at once.
        few: What the groups say; None where they say nothing more.
        healthy: Whether the experiment may be read.
    """
    if not healthy:
        return Verdict.BLOCKED
    if not test.excludes_0:
        return Verdict.NOT_SHOWN
    if (test.slope > 0) != (hypothesis.direction == "positive"):
        return Verdict.CONTRADICTED
    if few is None or not few.hartung_knapp.excludes_0:
        return Verdict.FRAGILE
    same_side = (few.hartung_knapp.slope > 0) == (test.slope > 0)
    return Verdict.CONFIRMED if same_side else Verdict.FRAGILE


def detectable_se_multiple(level: float, power: float = POWER) -> float:
    """How many standard errors a slope must be from 0 to be found so often: ``z_{1-α/2} + z_power``."""
    return float(stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(power))


def fitted_mde(fit: LineFit) -> float:
    """Smallest slope, up or down, for which the clustered interval excludes 0 with a chance of 80 %.

    ``(z_{1-α/2} + z_{0.8}) · error``: what this experiment had the power to show.
    """
    test = fit.conservative
    return detectable_se_multiple(test.level) * test.standard_error


def required_trials(fit: LineFit, trials: float) -> int | None:
    """Trials after which the clustered interval would exclude 0 with a chance of 80 %.

    If the slope is what it was found to be, and users and groups are as they were:
    ``n (detectable slope / slope)²``. None for a slope of 0.
    """
    if fit.slope == 0:
        return None
    return int(trials * (fitted_mde(fit) / fit.slope) ** 2) + 1
