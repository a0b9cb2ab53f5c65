"""Wald tests, equivalence and non-inferiority, by hand."""

import pytest
from scipy import stats

from pipeline.inference.glm.wald import equivalence, wald_test


def test_a_wald_test_by_hand():
    test = wald_test(0.5, 0.2, covariance="model", level=0.95)

    assert test.interval == pytest.approx((0.5 - 1.959964 * 0.2, 0.5 + 1.959964 * 0.2))
    assert test.p_value == pytest.approx(0.012419, abs=1e-6)
    assert test.excludes_0


def test_with_few_degrees_of_freedom_the_interval_is_wider():
    test = wald_test(0.5, 0.2, covariance="hartung-knapp", level=0.95, df=3)

    assert test.interval[1] == pytest.approx(0.5 + 3.182446 * 0.2)
    assert not test.excludes_0


@pytest.mark.parametrize("df", [None, 4])
@pytest.mark.parametrize("slope", [-0.3, -0.05, 0.0, 0.1, 0.4])
def test_two_one_sided_tests_are_an_interval_of_twice_the_risk_within_the_margins(slope, df):
    test = wald_test(slope, 0.1, covariance="model", level=0.95, df=df)
    low, high = wald_test(slope, 0.1, covariance="model", level=0.90, df=df).interval

    found = equivalence(test, 0.25, positive=True)

    assert found.equivalent == (low > -0.25 and high < 0.25)
    assert found.non_inferior == (low > -0.25)
    assert equivalence(test, 0.25, positive=False).non_inferior == (high < 0.25)


def test_p_values_of_equivalence_by_hand():
    found = equivalence(wald_test(0.1, 0.1, covariance="model", level=0.95), 0.3, positive=True)

    assert found.non_inferiority_p_value == pytest.approx(stats.norm.sf(4.0))
    assert found.p_value == pytest.approx(stats.norm.cdf(-2.0))
    assert found.equivalent
