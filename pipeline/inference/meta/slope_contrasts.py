"""Pairwise contrasts of slopes between independent studies, Holm-corrected over all of them."""

import math
from collections.abc import Sequence

from pipeline.inference.glm.multiplicity import adjust_p_values
from pipeline.inference.glm.wald import wald_test
from pipeline.results.pooled import SlopeDifference
from pipeline.results.reasons import Contrast, Covariance
from pipeline.results.slopes import SlopeTest

StudyTests = tuple[SlopeTest, SlopeTest | None]
"""Of the slope of one study: cluster-robust, and small-sample if known."""


def slope_differences(
    pairs: Sequence[tuple[StudyTests, StudyTests]], *, level: float
) -> list[SlopeDifference]:
    """Test the difference of each pair of slopes, Holm-corrected (Holm 1979)."""
    tests = [_test(a, b, level=level) for (a, _), (b, _) in pairs]
    small = [_small_sample(a, b, level=level) for (_, a), (_, b) in pairs]
    corrected = adjust_p_values([test.p_value for test in tests], "holm")
    return [
        SlopeDifference(
            test=test,
            small_sample=other,
            holm_p_value=holm,
            contrast=_contrast(holm, other, alpha=1 - level),
        )
        for test, other, holm in zip(tests, small, corrected, strict=True)
        if holm is not None
    ]


def _test(first: SlopeTest, second: SlopeTest, *, level: float) -> SlopeTest:
    return wald_test(
        second.slope - first.slope,
        math.hypot(first.standard_error, second.standard_error),
        covariance=Covariance.INDEPENDENT_STUDIES,
        level=level,
    )


def _small_sample(a: SlopeTest | None, b: SlopeTest | None, *, level: float) -> SlopeTest | None:
    if a is None or b is None or a.df is None or b.df is None:
        return None
    variance_a, variance_b = a.standard_error**2, b.standard_error**2
    if variance_a + variance_b == 0:
        return None
    df = (variance_a + variance_b) ** 2 / (variance_a**2 / a.df + variance_b**2 / b.df)
    return wald_test(
        b.slope - a.slope,
        math.hypot(a.standard_error, b.standard_error),
        covariance=Covariance.INDEPENDENT_STUDIES_SMALL_SAMPLE,
        level=level,
        df=math.floor(df),
    )


def _contrast(holm: float, small_sample: SlopeTest | None, *, alpha: float) -> Contrast:
    if holm >= alpha:
        return Contrast.INCONCLUSIVE
    if small_sample is not None and small_sample.excludes_0:
        return Contrast.DIFFERENT
    return Contrast.SUGGESTIVE
