"""Whether the slopes of independent studies differ: pairs of studies, all hypotheses at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.inference.glm.multiplicity import adjust_p_values
from pipeline.inference.glm.wald import SlopeTest, wald_test


class Contrast(StrEnum):
    """What may be said of the slopes of two studies."""

    DIFFERENT = "different"
    """Beyond chance, with Holm's correction, and as the few groups know it, too."""
    FRAGILE = "fragile"
    """Beyond the chance of having so many users, but so few groups could do it."""
    NOT_SHOWN = "not shown"
    """The difference may be chance. That the slopes are the same is not shown by that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSlope:
    """A slope of one study.

    Attributes:
        slope: The estimate.
        standard_error: Of having so many users (and test sessions); above 0.
        few_groups: The slope as its few groups know it, with t's degrees of freedom, if they do.
    """

    slope: float
    standard_error: float
    few_groups: SlopeTest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopeDifference:
    """The second slope less the first.

    Attributes:
        test: With the normal distribution; the variances of independent studies add up.
        few_groups: With the t distribution and Satterthwaite's degrees of freedom, rounded down;
            None where a study has too few groups for it.
        holm_p_value: The test's, corrected for all differences that are looked at together.
        contrast: What may be said.
    """

    test: SlopeTest
    few_groups: SlopeTest | None
    holm_p_value: float
    contrast: Contrast


def slope_differences(
    pairs: Sequence[tuple[MeasuredSlope, MeasuredSlope]], *, level: float
) -> list[SlopeDifference]:
    """Test each pair of slopes, and correct for all of them (Holm 1979)."""
    tests = [_test(*pair, level=level) for pair in pairs]
    few = [_few_groups(*pair, level=level) for pair in pairs]
    corrected = adjust_p_values([test.p_value for test in tests], "holm")
    return [
        SlopeDifference(
            test=test,
            few_groups=other,
            holm_p_value=holm,
            contrast=_contrast(holm, other, alpha=1 - level),
        )
        for test, other, holm in zip(tests, few, corrected, strict=True)
        if holm is not None
    ]


def _test(first: MeasuredSlope, second: MeasuredSlope, *, level: float) -> SlopeTest:
    return wald_test(
        second.slope - first.slope,
        math.hypot(first.standard_error, second.standard_error),
        covariance="independent studies",
        level=level,
    )


def _few_groups(first: MeasuredSlope, second: MeasuredSlope, *, level: float) -> SlopeTest | None:
    a, b = first.few_groups, second.few_groups
    if a is None or b is None or a.df is None or b.df is None:
        return None
    variance_a, variance_b = a.standard_error**2, b.standard_error**2
    if variance_a + variance_b == 0:
        return None
    df = (variance_a + variance_b) ** 2 / (variance_a**2 / a.df + variance_b**2 / b.df)
    return wald_test(
        b.slope - a.slope,
        math.hypot(a.standard_error, b.standard_error),
        covariance="independent studies, few groups",
        level=level,
        df=math.floor(df),
    )


def _contrast(holm: float, few: SlopeTest | None, *, alpha: float) -> Contrast:
    if holm >= alpha:
        return Contrast.NOT_SHOWN
    return Contrast.DIFFERENT if few is not None and few.excludes_0 else Contrast.FRAGILE
