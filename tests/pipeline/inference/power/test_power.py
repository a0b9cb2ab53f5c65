"""Power, compared with the verdicts of simulated experiments with a planted slope."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from pipeline.core.contracts import Kpi
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.interval import headline
from pipeline.inference.hypotheses.inputs import family_of
from pipeline.inference.power.power import PowerQuery, PowerSearch, expected_sums, power
from pipeline.inference.power.traffic_model import Traffic

DAYS, SLOPE = 14, 2.5
X = np.array([0.0, 0.02, 0.06, 0.09, 0.11])
RHO = 0.1
TRAFFIC = Traffic(
    ctr=0.18,
    cvr=0.05,
    units_per_order=1.2,
    revenue_variation=1.0,
    impressions_per_day=2000.0,
    returning_users=200.0,
    new_users_per_day=200.0,
    impressions_variation=0.6,
    correlation=dict.fromkeys((Kpi.CTR, Kpi.CVR, Kpi.ORDERS_PER_IMPRESSION), RHO),
)
ALIKE = replace(TRAFFIC, correlation=dict.fromkeys(TRAFFIC.correlation, 0.0))


def query(kpi=Kpi.CTR, **changes):
    values = {"kpi": kpi, "x": X, "shares": np.full(5, 0.2), "sign": 1, "level": 0.95}
    return PowerQuery(**values | changes)


def search(*, traffic=TRAFFIC, **changes):
    return PowerSearch(query=query(**changes), traffic=traffic)


def confirmed_share(worlds, kpi, traffic, *, x=X, slope=SLOPE, tau=0.0, days=DAYS):
    """Share of experiments, drawn user by user, whose 96% interval is above 0."""
    found = []
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        users = int(traffic.users(days) / len(x))
        variance = traffic.impressions_variation**2
        mean = traffic.impressions(days) / traffic.users(days)
        m = np.maximum(rng.gamma(1 / variance, variance * mean, (users, len(x))).round(), 1)
        family = family_of(kpi)
        line = family.link(np.full(1, traffic.ctr)) + slope * (x - x.mean())
        p = family.mean(line + tau * rng.standard_normal(len(x)))
        c = 1 / traffic.correlation[Kpi.CTR] - 1
        y = rng.binomial(m.astype(int), rng.beta(c * p, c * (1 - p), m.shape))
        t = m if kpi is Kpi.CTR else np.ones_like(m)
        sums = GroupSums.over_users(family, t.T, y.T.astype(float))
        low, _ = headline(x, sums, level=0.96).interval or (None, None)
        found.append(low is not None and low > 0)
    return np.mean(found)


def near(share, worlds):
    """Within three standard errors of the worlds' share and the power's own."""
    return pytest.approx(share, abs=3 * sqrt(share * (1 - share) * (1 / worlds + 1 / 2000)))


WORLDS = pytest.mark.parametrize(
    ("kpi", "tau"),
    [
        (Kpi.CTR, 0.05),
        pytest.param(Kpi.CTR, 0.0, marks=pytest.mark.slow),
        pytest.param(Kpi.CLICKS_PER_USER, 0.0, marks=pytest.mark.slow),
        pytest.param(Kpi.CLICKS_PER_USER, 0.05, marks=pytest.mark.slow),
    ],
)


@pytest.mark.slow
@WORLDS
def test_verdicts_are_as_frequent_as_their_power(kpi, tau):
    found = confirmed_share(200, kpi, TRAFFIC, tau=tau)

    predicted = power(query(kpi, group_deviation=tau), TRAFFIC, days=DAYS, slope=SLOPE)

    assert 0.3 < predicted.confirmed < 0.95
    assert predicted.confirmed < predicted.suggestive
    assert found == near(predicted.confirmed, 200)


@pytest.mark.parametrize("clicks", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_few_clicks_by_few_heavy_users_have_the_power_they_have(clicks):
    x, users = np.linspace(0, 1, 5), 60
    few = replace(
        TRAFFIC,
        ctr=clicks / (20 * users),
        impressions_per_day=20.0 * users * 5 / 10,
        returning_users=5.0 * users,
        new_users_per_day=0.0,
        impressions_variation=1.5,
        correlation=dict.fromkeys(TRAFFIC.correlation, 0.05),
    )

    found = confirmed_share(300, Kpi.CTR, few, x=x, slope=3.0, days=10)

    predicted = power(query(x=x), few, days=10, slope=3.0).confirmed
    assert 0.1 < predicted < 0.8
    assert found == pytest.approx(predicted, abs=0.05 + 3 * sqrt(0.25 / 300))


def test_without_a_slope_the_power_is_the_error_rate_of_one_side():
    found = power(query(), ALIKE, days=DAYS, slope=0.0)

    # the planned end has four fifths of 5%, of which one side is the declared one
    assert 0.005 < found.confirmed <= 0.02 + 3 * sqrt(0.02 / 2000)
    assert found.suggestive <= 0.05 + 3 * sqrt(0.05 / 2000)


def test_the_standard_error_by_hand_where_users_are_many_and_alike():
    n, p, variance = 2000 * 14, 0.18, X.var()

    found = power(query(), ALIKE, days=DAYS, slope=1e-9)

    # users share one correlation of trials, estimated at 0 or above: never below the model's error
    expected = 1 / sqrt(n * p * (1 - p) * variance)
    assert expected * 0.99 < found.standard_error < expected * 1.05


def test_without_users_noise_a_confirmation_is_a_t_test():
    # so many users that only the groups' deviations are left
    wide = query(group_deviation=0.05)

    found = power(wide, TRAFFIC, days=1_000_000, slope=1.5)

    spread = 0.05 / sqrt(((X - X.mean()) ** 2).sum())
    critical = stats.t.ppf(0.98, 3)
    assert found.confirmed == near(stats.nct.sf(critical, 3, 1.5 / spread), 2000)


def test_powers_are_reproducible_and_follow_the_seed():
    once, again = (power(query(), TRAFFIC, days=DAYS, slope=SLOPE) for _ in range(2))

    assert once == again
    assert power(query(seed=1), TRAFFIC, days=DAYS, slope=SLOPE) != once


def test_the_days_are_the_fewest():
    one = search()

    days = one.required_days(0.8, SLOPE)

    before, after = one.curve([days - 1, days], SLOPE)
    assert before < 0.8 <= after
    assert power(query(), TRAFFIC, days=days, slope=SLOPE).confirmed == pytest.approx(0.8, abs=0.06)


def test_the_detectable_slope_has_the_target_power():
    smallest = search().minimum_detectable_slope(0.8, DAYS)

    found = power(query(), TRAFFIC, days=DAYS, slope=smallest).confirmed
    assert found == pytest.approx(0.8, abs=0.06)


def test_a_curve_does_not_fall():
    curve = search().curve(range(1, 29, 3), SLOPE)

    assert list(curve) == sorted(curve)
    assert curve[0] < 0.5 < curve[-1]


def test_groups_off_the_line_are_not_outlasted():
    assert search(group_deviation=0.5).required_days(0.8, 0.5) is None
    assert search().required_days(0.8, 0.9) is not None


def test_a_handful_of_users_shows_nothing():
    nobody = TRAFFIC.part(0.001)

    found = power(query(), nobody, days=3, slope=SLOPE)

    assert (found.standard_error, found.suggestive, found.confirmed) == (None, 0.0, 0.0)
    assert search(traffic=nobody).minimum_detectable_slope(0.8, 3) is None


def test_two_groups_confirm_nothing():
    two = {"x": X[[0, -1]], "shares": np.full(2, 0.5)}

    found = power(query(**two), TRAFFIC, days=DAYS, slope=0.9)

    assert found.confirmed is None
    assert 0.3 < found.suggestive < 1
    assert search(**two).required_days(0.8, SLOPE) is None
    assert search(**two).minimum_detectable_slope(0.8, DAYS) is None
    assert search(**two).curve([1, 2], SLOPE) == (None, None)


def test_a_slope_beyond_all_bounds_is_found():
    far = {"x": np.array([0.0, 10.0, 100.0, 400.0, 500.0])}

    assert search(**far).minimum_detectable_slope(0.8, DAYS) < 0.01


def test_an_error_in_the_metric_lowers_the_power():
    exact, blurred = (
        power(query(reliability=r), TRAFFIC, days=DAYS, slope=SLOPE).confirmed for r in (1.0, 0.7)
    )

    assert blurred < exact - 0.1


@pytest.mark.parametrize("kpi", [Kpi.CTR, Kpi.CVR, Kpi.UNITS_PER_USER, Kpi.REVENUE_PER_IMPRESSION])
def test_a_negative_slope_has_the_power_of_a_positive_one_on_symmetric_groups(kpi):
    x = np.array([0.0, 0.05, 0.1, 0.15])
    up, down = (
        power(query(kpi, x=x, shares=np.full(4, 0.25), sign=sign), TRAFFIC, days=90, slope=2.0)
        for sign in (1, -1)
    )

    assert up.confirmed == pytest.approx(down.confirmed, abs=0.06)
    sums = expected_sums(query(kpi, sign=-1), TRAFFIC, days=90, slope=2.0)
    assert (np.diff(sums.successes / sums.trials) < 0).all()
