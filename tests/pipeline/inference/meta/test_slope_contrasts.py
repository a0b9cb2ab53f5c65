"""Differences of independent slopes: arithmetic by hand, error rates by simulation."""

import numpy as np
import pytest
from scipy import stats

from pipeline.inference.glm.wald import wald_test
from pipeline.inference.meta.slope_contrasts import slope_differences
from pipeline.results.reasons import Contrast


def measured(slope, error, *, few_error=None, df=3):
    few = few_error and wald_test(slope, few_error, covariance="hartung_knapp", level=0.95, df=df)
    return wald_test(slope, error, covariance="cluster_robust", level=0.95), few


def test_variances_of_independent_slopes_add_up():
    (found,) = slope_differences([(measured(0.5, 0.3), measured(1.5, 0.4))], level=0.95)

    z = (1.5 - 0.5) / (0.3**2 + 0.4**2) ** 0.5
    assert found.test.slope == 1.0
    assert found.test.standard_error == pytest.approx(0.5)
    assert found.test.p_value == pytest.approx(2 * stats.norm.sf(z))
    assert found.test.interval == pytest.approx((1 - 1.96 * 0.5, 1 + 1.96 * 0.5), abs=1e-4)


def test_small_samples_have_satterthwaites_degrees_of_freedom_rounded_down():
    pair = (measured(0.5, 0.01, few_error=0.3), measured(1.5, 0.01, few_error=0.4))

    (found,) = slope_differences([pair], level=0.95)

    df = (0.09 + 0.16) ** 2 / (0.09**2 / 3 + 0.16**2 / 3)  # 5.56
    assert found.small_sample.df == int(df) == 5
    assert found.small_sample.p_value == pytest.approx(2 * stats.t(5).sf(1 / 0.5))


@pytest.mark.parametrize(
    ("few_error", "second", "expected"),
    [
        (0.02, 1.5, Contrast.DIFFERENT),
        (2.0, 1.5, Contrast.SUGGESTIVE),
        (None, 1.5, Contrast.SUGGESTIVE),
        (0.02, 0.51, Contrast.INCONCLUSIVE),
    ],
    ids=["both", "groups scatter", "groups unknown", "no difference"],
)
def test_the_contrast_follows_both_tests(few_error, second, expected):
    pair = (measured(0.5, 0.02, few_error=few_error), measured(second, 0.02, few_error=few_error))

    (found,) = slope_differences([pair], level=0.95)

    assert found.contrast is expected


def test_holm_multiplies_the_smallest_by_how_many_there_are():
    # p-values of 0.02, 0.5 and 0.9: the first times 3 is above 0.05
    errors = [1 / stats.norm.isf(p / 2) / 2**0.5 for p in (0.02, 0.5, 0.9)]
    pairs = [(measured(0.0, error), measured(1.0, error)) for error in errors]

    found = slope_differences(pairs, level=0.95)

    assert [one.test.p_value for one in found] == pytest.approx([0.02, 0.5, 0.9])
    assert found[0].holm_p_value == pytest.approx(0.06)
    assert found[0].contrast is Contrast.INCONCLUSIVE


def test_without_pairs_there_is_nothing_to_say():
    assert slope_differences([], level=0.95) == []


@pytest.mark.slow
def test_equal_slopes_are_seldom_called_different():
    rng = np.random.default_rng(3)
    draws = rng.normal(0.8, 0.1, (4000, 2))
    pairs = [(measured(a, 0.1), measured(b, 0.1)) for a, b in draws]

    wrong = sum(slope_differences([one], level=0.95)[0].holm_p_value < 0.05 for one in pairs)

    assert stats.binomtest(wrong, 4000, 0.05).pvalue > 0.001
