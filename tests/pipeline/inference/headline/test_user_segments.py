"""The lines of segments: alike, unlike, and against the whole."""

import numpy as np
import pytest
from scipy import stats

from pipeline.inference.glm.group_regression import GroupSums, fit_line
from pipeline.inference.headline.interval import headline
from pipeline.inference.headline.readings import Groups
from pipeline.inference.headline.user_segments import segments
from pipeline.results.family import Family
from tests.pipeline.inference.shops import X


def clicks(seed, *, slope=5.0, users=3000, base=-2.2):
    rng = np.random.default_rng(seed)
    m = np.ones((len(X), users))
    y = rng.random(m.shape) < 1 / (1 + np.exp(-base - slope * X[:, None]))
    return GroupSums.over_users(Family.BINOMIAL, m, y.astype(float))


def added(parts):
    names = ("trials", "successes", "users", "sum_mm", "sum_my", "sum_yy")
    return GroupSums(**{name: sum(getattr(part, name) for part in parts) for name in names})


def found(**parts):
    whole = added(list(parts.values()))
    groups = Groups(x=X, covariance_GG=None, sums=whole)
    return segments(groups, parts, headline(X, whole, level=0.95), level=0.95)


def test_every_segment_has_its_own_line():
    new, old = clicks(1), clicks(2, slope=-5.0)
    answer = found(new=new, old=old)

    for one, part in zip(answer.slopes, (new, old), strict=True):
        own = headline(X, part, level=0.95)
        assert (one.slope, one.interval) == (own.slope, own.interval)
        assert one.p_value == pytest.approx(min(1, 2 * own.p_value))
        assert one.differs
    assert answer.p_value == min(one.difference_p_value for one in answer.slopes) < 0.05


def test_of_two_segments_the_difference_is_one_test():
    new, old = clicks(1), clicks(2)
    answer = found(new=new, old=old)

    assert answer.slopes[0].difference_p_value == pytest.approx(answer.slopes[1].difference_p_value)


def test_cochrans_q_compares_the_cluster_robust_slopes():
    new, old = clicks(1), clicks(2, slope=-5.0)
    answer = found(new=new, old=old)
    one, other = (fit_line(X, part, level=0.95).cluster_robust for part in (new, old))

    # two slopes: Q is the square of their difference over its error
    z = (one.slope - other.slope) / np.hypot(one.standard_error, other.standard_error)
    assert answer.cochran_q == pytest.approx(z**2)
    assert answer.cochran_p_value == pytest.approx(2 * stats.norm.sf(abs(z)))


@pytest.mark.slow
def test_a_deviation_that_all_users_of_a_group_share_is_no_difference():
    """Twenty segments with equal slopes, groups that deviate by 0.1: seldom any flag."""
    flagged = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        own = rng.normal(0, 0.1, len(X))
        parts = {}
        for name in range(20):
            n = np.full(len(X), 2000.0)
            y = rng.binomial(2000, 1 / (1 + np.exp(2.2 - 0.9 * X - own))).astype(float)
            parts[f"s{name}"] = GroupSums(
                trials=n, successes=y, users=n, sum_mm=n, sum_my=y, sum_yy=y
            )
        answer = found(**parts)
        flagged += any(one.opposite_sign or one.differs for one in answer.slopes)

    assert flagged <= 2  # at most 5% are expected, conservatively


def test_a_segment_of_the_opposite_sign_is_marked():
    """Simpson: of all users the slope is negative, of every segment it is positive."""
    shares = np.array([0.9, 0.7, 0.5, 0.3, 0.1])

    def part(of, rate):
        m = np.round(200_000 * of)
        y = np.round(m * rate / (1 + np.exp(-5 * X)) * 2)
        return GroupSums(trials=m, successes=y, users=m, sum_mm=m, sum_my=y, sum_yy=y)

    answer = found(ready=part(shares, 0.3), shy=part(1 - shares, 0.05))

    assert [slope.opposite_sign for slope in answer.slopes] == [True, True]
    assert not any(one.opposite_sign for one in found(a=clicks(1), b=clicks(2)).slopes)


def test_a_segment_without_a_slope_says_why():
    empty = clicks(1)
    empty.successes[:] = 0
    answer = found(new=clicks(3), none=empty)

    assert answer.slopes[1].undefined_reason == "no_successes"
    assert answer.slopes[1].users == 15_000
    assert (answer.cochran_q, answer.p_value) == (None, None)


def test_one_segment_is_none():
    sums = clicks(1)
    groups = Groups(x=X, covariance_GG=None, sums=sums)

    assert segments(groups, {"all": sums}, headline(X, sums, level=0.95), level=0.95) is None
