"""The lines of segments: alike, unlike, and against the whole."""

import numpy as np
import pytest
from scipy import stats

from pipeline.inference.glm.group_regression import GroupSums, fit_line
from pipeline.inference.headline.user_segments import segments
from pipeline.results.family import Family
from tests.pipeline.inference.shops import X


def clicks(seed, *, slope=5.0, users=3000, base=-2.2):
    rng = np.random.default_rng(seed)
    m = np.ones((len(X), users))
    y = rng.random(m.shape) < 1 / (1 + np.exp(-base - slope * X[:, None]))
    return GroupSums.over_users(Family.BINOMIAL, m, y.astype(float))


def whole_of(parts):
    names = ("trials", "successes", "users", "sum_mm", "sum_my", "sum_yy")
    added = {name: sum(getattr(part, name) for part in parts) for name in names}
    return fit_line(X, GroupSums(**added), level=0.95).cluster_robust


def found(**parts):
    return segments(X, parts, whole_of(parts.values()), level=0.95)


def test_every_segment_has_its_own_line_and_cochrans_q_compares_them():
    new, old = clicks(1), clicks(2, slope=-5.0)
    answer = found(new=new, old=old)
    one, other = (fit_line(X, part, level=0.95).cluster_robust for part in (new, old))

    assert [slope.test for slope in answer.slopes] == [one, other]
    # two slopes: Q is the square of their difference over its error
    z = (one.slope - other.slope) / np.hypot(one.standard_error, other.standard_error)
    assert answer.cochran_q == pytest.approx(z**2)
    assert answer.p_value == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert answer.p_value < 1e-6


def test_one_slope_of_all_gives_uniform_p_values():
    p_values = [found(new=clicks(2 * n), old=clicks(2 * n + 1)).p_value for n in range(80)]

    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_a_segment_that_goes_opposite_sign_is_marked():
    """Simpson: of all users the slope is negative, of every segment it is positive."""
    shares = np.array([0.9, 0.7, 0.5, 0.3, 0.1])

    def part(of, rate):
        m = np.round(20_000 * of)
        y = np.round(m * rate / (1 + np.exp(-5 * X)) * 2)
        return GroupSums(trials=m, successes=y, users=m, sum_mm=m, sum_my=y, sum_yy=y)

    answer = found(ready=part(shares, 0.3), shy=part(1 - shares, 0.05))

    assert [slope.opposite_sign for slope in answer.slopes] == [True, True]
    assert answer.p_value > 0.01
    assert not any(one.opposite_sign for one in found(a=clicks(1), b=clicks(2)).slopes)


def test_a_segment_without_a_slope_says_why():
    empty = clicks(1)
    empty.successes[:] = 0
    answer = found(new=clicks(3), none=empty)

    assert answer.slopes[1].undefined_reason == "no_successes"
    assert answer.slopes[1].users == 15_000
    assert (answer.cochran_q, answer.p_value) == (None, None)


def test_one_segment_is_none():
    assert segments(X, {"all": clicks(1)}, whole_of([clicks(1)]), level=0.95) is None
