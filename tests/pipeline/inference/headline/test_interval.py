"""The headline: the paper's counts, cases worked out by hand, and every reason for none."""

import numpy as np
import pytest

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.interval import fitted_groups, headline
from pipeline.inference.headline.line import margin
from pipeline.results.family import Family
from tests.pipeline.inference.golden import GOLDEN, IMPRESSIONS_A_GROUP
from tests.pipeline.inference.headline.sums import amounts, counts

X = np.linspace(0, 0.11, 5)
CLICKS = counts([40_000] * 5, [4500, 4700, 4650, 4900, 5050])


def relative(values):
    return np.asarray(values) / np.min(values) - 1


HITS, ORDERED, GOLDEN_CLICKS, ORDERS = (np.array(row, float) for row in zip(*GOLDEN.values()))  # noqa: B905


@pytest.mark.parametrize(
    ("x", "sums", "slope", "interval", "p_value"),
    [
        (HITS, counts([IMPRESSIONS_A_GROUP] * 5, GOLDEN_CLICKS), 0.8985, (0.874, 0.923), 0.0),
        (ORDERED / HITS, counts(GOLDEN_CLICKS, ORDERS), 1.25, (-2.22, 4.71), 0.335),
        (ORDERED, counts([IMPRESSIONS_A_GROUP] * 5, ORDERS), 0.765, (-0.005, 1.535), 0.051),
        (HITS, counts(GOLDEN_CLICKS, ORDERS), -0.201, (-0.851, 0.449), 0.40),
    ],
    ids=["H1", "H2", "H3", "H4"],
)
def test_the_papers_counts(x, sums, slope, interval, p_value):
    found = headline(relative(x), sums, level=0.95)

    assert found.slope == pytest.approx(slope, abs=0.006)
    assert found.interval == pytest.approx(interval, abs=0.006)
    assert found.p_value == pytest.approx(p_value, abs=0.01)


def test_groups_that_lie_far_off_their_line_decide():
    """Five groups of 5,000 users: of the users alone, the slope would be significant."""
    sums = GroupSums(
        trials=np.array([49835.0, 49808, 50061, 50307, 49797]),
        successes=np.array([6001.0, 5728, 5671, 5529, 5710]),
        users=np.full(5, 5000.0),
        sum_mm=np.array([545059.0, 546224, 549975, 556581, 545937]),
        sum_my=np.array([65502.0, 62417, 62376, 61455, 62843]),
        sum_yy=np.array([16169.0, 15070, 14609, 13913, 14768]),
    )

    found = headline(relative([0.4, 0.409, 0.421, 0.432, 0.444]), sums, level=0.95)

    assert found.interval == pytest.approx((-1.733, 0.612), abs=1e-3)
    assert found.interval == found.small_sample_interval
    assert found.users_interval[1] < 0
    assert found.target == "a new group like these"


def test_two_groups_have_a_slope_of_their_users_and_no_interval():
    # log odds ratio ln((1290/10710)/(1000/9000)) = 0.08069; x = 0.72/0.70 - 1
    found = headline(relative([0.70, 0.72]), counts([10_000, 12_000], [1000, 1290]), level=0.95)

    assert found.slope == pytest.approx(2.8241, abs=1e-4)
    assert found.standard_error == pytest.approx(1.5573, abs=1e-4)
    assert found.users_interval == pytest.approx((2.8241 - 3.0523, 2.8241 + 3.0523), abs=1e-3)
    assert (found.interval, found.undefined_reason) == (None, "two_groups")
    assert found.target == "the line through these groups"


@pytest.mark.parametrize(
    ("x", "sums", "reason"),
    [
        (X, counts([20_000] * 5, [0, 0, 1, 0, 0]), "few_successes"),
        (X, counts([20_000] * 5, [1, 0, 1, 2, 0]), "few_successes"),
        (X, counts([20] * 5, [19, 20, 19, 20, 19]), "few_failures"),
        (X, counts([20] * 5, [0] * 5), "no_successes"),
        (X, counts([20] * 5, [20] * 5), "no_failures"),
        (X, counts([20, 0, 20, 20, 20], [9, 0, 9, 9, 9]), "no_trials"),
        (np.zeros(5), CLICKS, "metric_constant"),
        (X, counts([20] * 5, [0, 0, 0, 0, 9]), "separation"),
        (X, amounts(np.outer([1.0, 0, 0, 0, 0], [3, 2, 2, 3, 2, 2])), "successes_at_one_end"),
        (X, amounts(np.array([[3.0, 0], [1, 0], [1, 1], [0, -2], [5, 5]])), "negative_amount"),
        (X, amounts(np.array([[0.0, 0], [0, 0], [9, 0], [0, 0], [0, 0]])), "few_successes"),
    ],
)
def test_a_slope_that_cannot_be_tested_has_a_reason(x, sums, reason):
    found = headline(x, sums, level=0.95)

    assert (found.slope, found.interval, found.p_value) == (None, None, None)
    assert found.undefined_reason == reason


def test_users_who_do_not_differ_leave_an_amount_without_an_interval():
    alike = amounts(np.ones((3, 4)))

    found = headline(np.array([0.0, 0.1, 0.2]), alike, level=0.95)

    assert (found.interval, found.undefined_reason) == (None, "identical_users")


def test_a_small_error_of_the_metric_is_almost_none():
    without, small = (headline(X, CLICKS, w, level=0.95) for w in (None, np.eye(5) * 1e-14))

    assert small.slope == pytest.approx(without.slope, rel=5e-3)
    assert small.interval == pytest.approx(without.interval, rel=3e-2)
    assert (without.reliability, small.reliability) == (None, pytest.approx(1))


@pytest.mark.slow
def test_the_slope_is_corrected_for_the_error_of_the_metric():
    """On average, a metric of reliability 0.7 is 1/0.7 as steep as it is measured."""
    rng, true = np.random.default_rng(6), np.linspace(0, 0.11, 10)
    error = true.var(ddof=1) * (1 / 0.7 - 1)
    naive, corrected = [], []
    for _ in range(40):
        x = true + np.sqrt(error) * rng.standard_normal(10)
        y = rng.binomial(400_000, 1 / (1 + np.exp(2 - 0.9 * true))).astype(float)
        sums = counts([400_000] * 10, y)
        naive.append(headline(x, sums, level=0.95).slope)
        corrected.append(headline(x, sums, np.eye(10) * error, level=0.95).slope)

    assert np.median(naive) < 0.75
    assert np.median(corrected) == pytest.approx(0.9, abs=0.1)


@pytest.mark.slow
def test_an_interval_excludes_0_exactly_where_the_p_value_is_below_the_error_rate():
    rng, excluded = np.random.default_rng(7), []
    for _ in range(60):
        y = rng.binomial(4000, 0.1 + 0.15 * X).astype(float)
        found = headline(X, counts([4000] * 5, y), np.eye(5) * 3e-4, level=0.95)
        low, high = found.interval or (None, None)
        excludes = (low is not None and low > 0) or (high is not None and high < 0)
        assert excludes == (found.p_value < 0.05)
        excluded.append(excludes)

    assert 0 < sum(excluded) < 60


def test_an_end_may_be_open():
    """Of a metric that is mostly noise, nothing bounds the slope."""
    x = np.array([0.0, 0.05, 0.03])

    found = headline(x, counts([40_000] * 3, [4000, 4600, 4500]), np.eye(3) * 6e-4, level=0.95)

    assert found.reliability < 0.1
    assert found.slope is None or None in found.interval


def test_the_ends_are_slopes_that_are_just_not_rejected():
    found = headline(X, CLICKS, np.eye(5) * 1e-4, level=0.95)
    groups = fitted_groups(X, CLICKS, np.eye(5) * 1e-4)

    for end in found.interval:
        score = groups.score(end)
        assert abs(score.delta) == pytest.approx(score.half_width(0.95), rel=1e-6)
    assert groups.score(found.slope).delta == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("covariance", [None, np.eye(5) * 1e-4], ids=["exact", "noisy"])
def test_the_margin_of_the_line_is_that_of_its_slope(covariance):
    found = headline(X, CLICKS, covariance, level=0.95)

    longer = max(found.slope - found.interval[0], found.interval[1] - found.slope)
    assert margin(found.margins, (0.0, 1.0)) == pytest.approx(longer)
    # narrowest near the middle of the groups
    widths = [margin(found.margins, (1.0, x)) for x in (0.0, 0.055, 0.11)]
    assert widths[1] < min(widths[0], widths[2])


def test_amounts_do_not_know_their_currency():
    rng = np.random.default_rng(8)
    euros = (rng.random((5, 300)) < 0.2) * rng.lognormal(3, 2, (5, 300))

    one, other = (headline(X, amounts(unit * euros), level=0.95) for unit in (1, 100))

    assert (other.slope, other.interval) == (
        pytest.approx(one.slope),
        pytest.approx(one.interval),
    )
    assert Family.POISSON is amounts(euros).family
