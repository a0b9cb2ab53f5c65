"""The verdict on a hypothesis, by rules fixed before the data is analysed, and its sample size."""

from scipy import stats

from pipeline.inference.glm.group_regression import LineFit
from pipeline.results.reasons import Verdict
from pipeline.results.slopes import RandomEffectsSlope, SlopeTest
from pipeline.study import Hypothesis

POWER = 0.8
"""Of minimum detectable slopes and required sample sizes."""


def verdict(
    hypothesis: Hypothesis,
    test: SlopeTest,
    small_sample: RandomEffectsSlope | None,
    *,
    healthy: bool = True,
) -> Verdict:
    """The verdict on a hypothesis that has a slope.

    Args:
        hypothesis: As declared.
        test: The conservative test; before the planned end, the anytime-valid one.
        small_sample: The small-sample slope; None where it has no error.
        healthy: Whether the sample ratio matches the plan.
    """
    if not healthy:
        return Verdict.BLOCKED
    if not test.excludes_0:
        return Verdict.INCONCLUSIVE
    if (test.slope > 0) != (hypothesis.direction == "positive"):
        return Verdict.CONTRADICTED
    if small_sample is None or not small_sample.hartung_knapp.excludes_0:
        return Verdict.SUGGESTIVE
    same_side = (small_sample.hartung_knapp.slope > 0) == (test.slope > 0)
    return Verdict.CONFIRMED if same_side else Verdict.SUGGESTIVE


def detectable_se_multiple(level: float, power: float = POWER) -> float:
    """Slope over standard error that gives the test this power: ``z_{1-α/2} + z_power``."""
    return float(stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(power))


def fitted_mde(fit: LineFit) -> float:
    """Minimum detectable slope, positive or negative, of the conservative test with 80% power."""
    test = fit.conservative
    return detectable_se_multiple(test.level) * test.standard_error


def required_trials(fit: LineFit, trials: float) -> int | None:
    """Trials that detect the estimated slope with 80% power, for the same users and groups.

    ``n (minimum detectable slope / slope)²``; None for a slope of 0.
    """
    if fit.slope == 0:
        return None
    return int(trials * (fitted_mde(fit) / fit.slope) ** 2) + 1
