"""Equivalence and non-inferiority are read off the quoted interval."""

import numpy as np
import pytest

from pipeline.inference.headline.interval import headline
from pipeline.inference.headline.margins import equivalence
from pipeline.inference.headline.readings import Groups, Quoted
from tests.pipeline.inference.headline.sums import counts

X = np.linspace(0, 0.11, 5)
CLICKS = counts([400_000] * 5, [40_100, 40_300, 39_900, 40_200, 40_000])


def margin_test(margin, *, positive, covariance=None):
    groups = Groups(x=X, covariance_GG=covariance, sums=CLICKS)
    quoted = Quoted(headline=headline(X, CLICKS, covariance, level=0.95), sums=CLICKS)
    return quoted.headline, equivalence(groups, quoted, margin=margin, positive=positive)


@pytest.mark.parametrize("margin", [0.05, 0.1, 0.2, 0.3, 0.6])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("covariance", [None, np.eye(5) * 5e-5], ids=["exact", "noisy"])
def test_the_flags_are_those_of_the_interval_and_of_the_p_values(margin, positive, covariance):
    quoted, found = margin_test(margin, positive=positive, covariance=covariance)
    low, high = quoted.interval

    assert found.equivalent == (-margin < low and high < margin)
    assert found.non_inferior == (-margin < low if positive else high < margin)
    if covariance is None:
        assert found.equivalent == (found.p_value < 0.025)
        assert found.non_inferior == (found.non_inferiority_p_value < 0.025)


def test_a_margin_at_the_end_of_the_interval_has_half_the_error_rate():
    quoted, _ = margin_test(1.0, positive=True)

    _, found = margin_test(-quoted.interval[0], positive=True)

    assert found.non_inferiority_p_value == pytest.approx(0.025)


def test_two_groups_are_never_equivalent():
    x, sums = X[:2], CLICKS.of(np.array([True, True, False, False, False]))
    groups = Groups(x=x, covariance_GG=None, sums=sums)

    found = equivalence(
        groups,
        Quoted(headline=headline(x, sums, level=0.95), sums=sums),
        margin=100.0,
        positive=True,
    )

    assert not found.equivalent
    assert not found.non_inferior


def test_a_slope_that_cannot_be_tested_has_no_equivalence():
    sums = counts([20] * 5, [0] * 5)
    groups = Groups(x=X, covariance_GG=None, sums=sums)

    quoted = Quoted(headline=headline(X, sums, level=0.95), sums=sums)

    assert equivalence(groups, quoted, margin=1.0, positive=True) is None
