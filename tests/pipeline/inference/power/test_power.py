"""Power, compared with the verdicts of simulated experiments with a planted slope."""

from dataclasses import replace
from functools import cache
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from pipeline.core.contracts import Kpi
from pipeline.inference.glm.group_regression import GroupSums, fit_line
from pipeline.inference.hypotheses.inputs import family_of
from pipeline.inference.hypotheses.verdict import (
    detectable_se_multiple,
    fitted_mde,
    verdict,
)
from pipeline.inference.power.power import (
    PowerQuery,
    expected_sums,
    minimum_detectable_slope,
    power,
    required_days,
)
from pipeline.inference.power.traffic_model import Traffic
from pipeline.inference.sensitivity.random_effects import random_effects_slope
from pipeline.results.reasons import Verdict
from pipeline.study import Hypothesis

SEEDS, DAYS, SLOPE = 200, 14, 1.8
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


def query(kpi=Kpi.CTR, **changes):
    values = {"kpi": kpi, "x": X, "shares": np.full(5, 0.2), "sign": 1, "level": 0.95}
    return PowerQuery(**values | changes)


def shown(found):
    return found.significant


def confirmed(found):
    return found.confirmed


def drawn_world(seed, kpi, slope, tau):
    """Sums of users whose chances are Beta, groups off the line by tau, drawn one by one."""
    rng = np.random.default_rng(seed)
    users = int(TRAFFIC.users(DAYS) / len(X))
    shape = (users, len(X))
    m = rng.gamma(1 / 0.6**2, 0.6**2 * TRAFFIC.impressions(DAYS) / TRAFFIC.users(DAYS), shape)
    m = np.maximum(m.round(), 1).astype(int)
    family = family_of(kpi)
    line = family.link(np.full(1, TRAFFIC.ctr)) + slope * (X - X.mean())
    p = family.mean(line + tau * rng.standard_normal(len(X)))
    c = 1 / RHO - 1
    y = rng.binomial(m, rng.beta(c * p, c * (1 - p), shape))
    t = m if kpi is Kpi.CTR else np.ones_like(m)
    columns = {"trials": t, "successes": y, "users": np.ones_like(m)}
    columns |= {"sum_mm": t * t, "sum_my": t * y, "sum_yy": y * y}
    sums = {name: value.sum(axis=0).astype(float) for name, value in columns.items()}
    return GroupSums(family=family, **sums)


@cache
def verdicts(kpi, tau):
    """Verdicts, errors and detectable slopes of all seeds."""
    hypothesis = Hypothesis(id="H1", metric="recall", kpi=kpi, direction="positive")
    found = []
    for seed in range(SEEDS):
        sums = drawn_world(seed, kpi, SLOPE, tau)
        fit = fit_line(X, sums, level=0.95)
        found_verdict = verdict(hypothesis, fit.conservative, random_effects_slope(X, sums, fit))
        found.append((found_verdict, fit.conservative.standard_error, fitted_mde(fit)))
    return found


def within_chance(chance):
    return pytest.approx(chance, abs=3 * sqrt(chance * (1 - chance) / SEEDS))


WORLDS = pytest.mark.parametrize(
    ("kpi", "tau"),
    [
        (Kpi.CTR, 0.05),
        pytest.param(Kpi.CTR, 0.0, marks=pytest.mark.slow),
        pytest.param(Kpi.CLICKS_PER_USER, 0.0, marks=pytest.mark.slow),
        pytest.param(Kpi.CLICKS_PER_USER, 0.05, marks=pytest.mark.slow),
    ],
)


@WORLDS
def test_verdicts_are_as_frequent_as_their_power(kpi, tau):
    found = [found_verdict for found_verdict, _, _ in verdicts(kpi, tau)]

    predicted = power(query(kpi, group_deviation=tau), TRAFFIC, days=DAYS, slope=SLOPE)

    assert 0.4 < predicted.significant < 0.95  # neither is certain
    some = np.mean([one in {Verdict.CONFIRMED, Verdict.SUGGESTIVE} for one in found])
    assert some == within_chance(predicted.significant)
    assert np.mean([one is Verdict.CONFIRMED for one in found]) == within_chance(
        predicted.confirmed
    )


@WORLDS
def test_the_standard_error_and_the_minimum_detectable_slope_are_predicted(kpi, tau):
    _, errors, slopes = zip(*verdicts(kpi, tau), strict=True)

    predicted = power(query(kpi, group_deviation=tau), TRAFFIC, days=DAYS, slope=SLOPE)
    flattest = minimum_detectable_slope(0.8, query(kpi), TRAFFIC, days=DAYS, power_of=shown)

    assert predicted.standard_error == pytest.approx(np.mean(errors), rel=0.02)
    assert flattest == pytest.approx(np.mean(slopes), rel=0.02)


def test_power_by_hand_where_users_are_many_and_alike():
    alike = dict.fromkeys(TRAFFIC.correlation, 0.0)
    traffic = replace(TRAFFIC, correlation=alike)
    n, p, variance = 2000 * 14, 0.18, X.var()

    found = power(query(), traffic, days=DAYS, slope=1e-9)

    assert found.standard_error == pytest.approx(1 / sqrt(n * p * (1 - p) * variance), rel=1e-3)
    assert found.significant == pytest.approx(0.025, abs=1e-6)


def test_the_detectable_slope_is_so_many_errors():
    flattest = minimum_detectable_slope(0.8, query(), TRAFFIC, days=DAYS, power_of=shown)

    error = power(query(), TRAFFIC, days=DAYS, slope=flattest).standard_error
    assert flattest == pytest.approx(detectable_se_multiple(0.95) * error)
    assert detectable_se_multiple(0.95) == pytest.approx(1.95996 + 0.84162, abs=1e-5)
    assert power(query(), TRAFFIC, days=DAYS, slope=flattest).significant == pytest.approx(0.8)


def test_without_noise_between_groups_a_confirmation_is_a_t_test():
    # where the users are so many that the clustered interval never decides
    wide = query(group_deviation=0.05)

    found = power(wide, TRAFFIC, days=1_000_000, slope=1.0)

    spread = 0.05 / sqrt(((X - X.mean()) ** 2).sum())
    critical = stats.t.ppf(0.975, 3)
    assert found.confirmed == pytest.approx(stats.nct.sf(critical, 3, 1.0 / spread), abs=0.01)


def test_the_days_are_the_fewest():
    days = required_days(0.8, query(), TRAFFIC, slope=SLOPE, power_of=confirmed)

    before, after = (
        power(query(), TRAFFIC, days=d, slope=SLOPE).confirmed for d in (days - 1, days)
    )
    assert before < 0.8 <= after


def test_groups_off_the_line_are_not_outlasted():
    lasting = query(group_deviation=0.5)

    assert required_days(0.8, lasting, TRAFFIC, slope=0.5, power_of=confirmed) is None
    assert required_days(0.8, query(), TRAFFIC, slope=0.5, power_of=confirmed) is not None


def test_a_handful_of_users_shows_nothing():
    nobody = TRAFFIC.part(0.001)

    found = power(query(), nobody, days=3, slope=SLOPE)

    assert (found.standard_error, found.significant, found.confirmed) == (None, 0.0, 0.0)
    assert minimum_detectable_slope(0.8, query(), nobody, days=3, power_of=shown) is None


def test_two_groups_confirm_nothing():
    two = query(x=X[[0, -1]], shares=np.full(2, 0.5))

    assert power(two, TRAFFIC, days=DAYS, slope=SLOPE).confirmed is None
    assert required_days(0.8, two, TRAFFIC, slope=SLOPE, power_of=confirmed) is None
    assert minimum_detectable_slope(0.8, two, TRAFFIC, days=DAYS, power_of=confirmed) is None


def test_a_slope_beyond_all_bounds_is_found():
    far = query(x=np.array([0.0, 10.0, 100.0, 400.0, 500.0]))

    assert power(far, TRAFFIC, days=DAYS, slope=1.0).significant > 0.99
    assert minimum_detectable_slope(0.8, far, TRAFFIC, days=DAYS, power_of=confirmed) < 0.01


def test_measurement_error_attenuates_the_slope():
    true, blurred = (
        power(query(reliability=r), TRAFFIC, days=DAYS, slope=s).significant
        for r, s in ((1.0, 0.9), (0.5, 1.8))
    )

    assert blurred == pytest.approx(true, abs=0.01)


@pytest.mark.parametrize("kpi", [Kpi.CTR, Kpi.CVR, Kpi.UNITS_PER_USER, Kpi.REVENUE_PER_IMPRESSION])
def test_a_negative_slope_has_the_power_of_a_positive_one_on_symmetric_groups(kpi):
    x = np.array([0.0, 0.05, 0.1])
    up, down = (
        power(query(kpi, x=x, shares=np.full(3, 1 / 3), sign=sign), TRAFFIC, days=90, slope=2.0)
        for sign in (1, -1)
    )

    assert up.significant == pytest.approx(down.significant, abs=0.03)
    sums = expected_sums(query(kpi, sign=-1), TRAFFIC, days=90, slope=2.0)
    assert (np.diff(sums.successes / sums.trials) < 0).all()
