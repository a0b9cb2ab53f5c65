"""Wald tests by hand."""

import pytest

from pipeline.inference.glm.wald import wald_test


def test_a_wald_test_by_hand():
    test = wald_test(0.5, 0.2, covariance="model", level=0.95)

    assert test.interval == pytest.approx((0.5 - 1.959964 * 0.2, 0.5 + 1.959964 * 0.2))
    assert test.p_value == pytest.approx(0.012419, abs=1e-6)
    assert test.excludes_0


def test_with_few_degrees_of_freedom_the_interval_is_wider():
    test = wald_test(0.5, 0.2, covariance="hartung-knapp", level=0.95, df=3)

    assert test.interval[1] == pytest.approx(0.5 + 3.182446 * 0.2)
    assert not test.excludes_0
