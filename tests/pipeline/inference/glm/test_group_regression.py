"""The grouped regression against hand arithmetic and against statsmodels on single rows."""

from dataclasses import replace
from math import erfc, exp, log, sqrt

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inference.glm.group_regression import (
    GroupSums,
    LineFit,
    fit_line,
    undefined_reason,
)
from pipeline.inference.glm.wald import wald_test
from pipeline.results.family import Family


def independent(trials, successes):
    """Sums of groups in which every trial is a user of its own."""
    m, y = np.array(trials, dtype=float), np.array(successes, dtype=float)
    return GroupSums(trials=m, successes=y, users=m, sum_mm=m, sum_my=y, sum_yy=y)


def sums_of(group, user, outcome):
    """Sums from single rows: first per user, then per group (a user has one group)."""
    _, row_user = np.unique(user, return_inverse=True)
    m, y = np.bincount(row_user), np.bincount(row_user, outcome)
    user_group = np.zeros(len(m), dtype=int)
    user_group[row_user] = group

    def per_group(values):
        return np.bincount(user_group, values).astype(float)

    return GroupSums(
        trials=per_group(m),
        successes=per_group(y),
        users=per_group(np.ones(len(m))),
        sum_mm=per_group(m * m),
        sum_my=per_group(m * y),
        sum_yy=per_group(y * y),
    )


def fitted(x, sums, *, level=0.95):
    """The fit, where it must be defined."""
    fit = fit_line(x, sums, level=level)
    assert isinstance(fit, LineFit)
    return fit


def row_level_world(seed):
    """Rows of users who differ, in five groups: x of each group, and a row's group, user, outcome."""
    rng = np.random.default_rng(seed)
    x = np.array([0.0, 0.03, 0.05, 0.09, 0.12])
    group_of_user = np.repeat(np.arange(5), 120)
    mood = rng.normal(0, 1, 600)
    user = np.repeat(np.arange(600), rng.integers(1, 12, 600))
    group = group_of_user[user]
    chance = 1 / (1 + np.exp(-(-1 + 2 * x[group] + mood[user])))
    return x, group, user, (rng.random(len(user)) < chance).astype(float)


def test_two_groups_by_hand():
    # odds 1/4 at x = 0 and 1 at x = 0.5: the slope is log(1 : 1/4) / 0.5
    fit = fitted(np.array([0.0, 0.5]), independent([100, 100], [20, 50]))

    assert fit.intercept == pytest.approx(log(20 / 80))
    assert fit.slope == pytest.approx(log((50 / 50) / (20 / 80)) / 0.5)
    error = sqrt(1 / 20 + 1 / 80 + 1 / 50 + 1 / 50) / 0.5  # of a log odds ratio
    assert fit.model.standard_error == pytest.approx(error)
    low, high = fit.model.interval
    assert low == pytest.approx(fit.slope - 1.959963985 * error)
    assert high == pytest.approx(fit.slope + 1.959963985 * error)
    assert fit.lack_of_fit.pearson_chi2 == pytest.approx(0, abs=1e-9)
    assert (fit.lack_of_fit.df, fit.lack_of_fit.p_value) == (0, None)


def test_lack_of_fit_by_hand():
    # symmetric around 1/2 with equal ends: the best line is flat at (20 + 50 + 20) / 300 = 0.3
    fit = fitted(np.array([0.0, 0.1, 0.2]), independent([100] * 3, [20, 50, 20]))

    assert fit.slope == pytest.approx(0, abs=1e-9)
    chi2 = ((20 - 30) ** 2 + (50 - 30) ** 2 + (20 - 30) ** 2) / (100 * 0.3 * 0.7)
    assert fit.lack_of_fit.pearson_chi2 == pytest.approx(chi2)
    assert fit.lack_of_fit.df == 1
    # a user with one trial adds (1 - 0.3)² or 0.3², so 20 of 100 add 20 · 0.49 + 80 · 0.09 = 17
    clustered = 10**2 / 17 + 20**2 / (50 * 0.49 + 50 * 0.09) + 10**2 / 17
    assert fit.lack_of_fit.clustered_chi2 == pytest.approx(clustered)
    # with one degree of freedom, χ is normal: P(|z| > √χ²)
    assert fit.lack_of_fit.p_value == pytest.approx(erfc(sqrt(clustered) / sqrt(2)), rel=1e-6)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_grouped_fit_equals_the_fit_of_single_rows(seed):
    x, group, user, outcome = row_level_world(seed)

    fit = fitted(x, sums_of(group, user, outcome))

    rows = sm.Logit(outcome, sm.add_constant(x[group])).fit(disp=0, tol=1e-14)
    assert [fit.intercept, fit.slope] == pytest.approx(rows.params, rel=1e-8)
    assert fit.model.standard_error**2 == pytest.approx(rows.cov_params()[1, 1], rel=1e-8)
    assert fit.model.p_value == pytest.approx(rows.pvalues[1], rel=1e-6)
    assert fit.model.interval == pytest.approx(rows.conf_int()[1], rel=1e-8)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_clustered_error_from_six_sums_equals_the_one_of_single_rows(seed):
    x, group, user, outcome = row_level_world(seed)

    fit = fitted(x, sums_of(group, user, outcome), level=0.9)

    rows = sm.Logit(outcome, sm.add_constant(x[group])).fit(
        disp=0, tol=1e-14, cov_type="cluster", cov_kwds={"groups": user}
    )
    assert fit.cluster_robust.standard_error**2 == pytest.approx(rows.cov_params()[1, 1], rel=1e-8)
    assert fit.cluster_robust.p_value == pytest.approx(rows.pvalues[1], rel=1e-6)
    assert fit.cluster_robust.interval == pytest.approx(rows.conf_int(alpha=0.1)[1], rel=1e-8)
    assert fit.cluster_robust.standard_error > 1.2 * fit.model.standard_error  # users differ


@settings(max_examples=30)
@given(
    cells=st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=3, max_size=6
    ),  # successes and failures, at least one of each
    seed=st.integers(0, 100),
)
def test_order_of_the_groups_does_not_matter(cells, seed):
    x = np.arange(len(cells)) / 10
    successes, failures = np.array(cells).T
    order = np.random.default_rng(seed).permutation(len(cells))

    here = fitted(x, independent(successes + failures, successes))
    there = fitted(
        x[order], independent((successes + failures)[order], successes[order]), level=0.95
    )

    for name in ("intercept", "slope"):
        assert getattr(here, name) == pytest.approx(getattr(there, name), rel=1e-6, abs=1e-8)
    chi2 = there.lack_of_fit.pearson_chi2
    assert here.lack_of_fit.pearson_chi2 == pytest.approx(chi2, rel=1e-6, abs=1e-8)
    assert here.cluster_robust.standard_error == pytest.approx(
        there.cluster_robust.standard_error, rel=1e-6
    )


def test_a_tenfold_metric_change_has_a_tenth_of_the_slope_and_the_same_evidence():
    sums = independent([1000] * 4, [100, 110, 118, 131])

    small = fitted(np.array([0.0, 0.01, 0.02, 0.03]), sums)
    large = fitted(np.array([0.0, 0.1, 0.2, 0.3]), sums)

    assert small.slope == pytest.approx(10 * large.slope)
    assert small.cluster_robust.p_value == pytest.approx(large.cluster_robust.p_value)


def test_log_rate_of_two_groups_by_hand():
    # rates 0.2 and 0.5: log(0.5 / 0.2) over 0.5; users of one trial have y² = y
    x, sums = np.array([0.0, 0.5]), independent([100, 100], [20, 50])

    test = fitted(x, replace(sums, family=Family.POISSON)).cluster_robust

    assert test.slope == pytest.approx(log(0.5 / 0.2) / 0.5)
    variance = 20 * 0.8**2 + 80 * 0.2**2, 50 * 0.5**2 + 50 * 0.5**2
    factor = 200 / 199 * 199 / 198
    error = sqrt(factor * (variance[0] / 20**2 + variance[1] / 50**2)) / 0.5
    assert test.standard_error == pytest.approx(error)


@pytest.mark.parametrize("seed", [1, 2])
def test_log_rate_from_six_sums_equals_poisson_regression_on_single_rows(seed):
    x, group, user, outcome = row_level_world(seed)
    units = outcome * (1 + user % 3)  # counts, not only yes or no

    fit = fitted(x, replace(sums_of(group, user, units), family=Family.POISSON))

    rows = sm.GLM(units, sm.add_constant(x[group]), family=sm.families.Poisson()).fit(
        tol=1e-14, cov_type="cluster", cov_kwds={"groups": user}
    )
    assert (fit.intercept, fit.slope) == pytest.approx(rows.params, rel=1e-8)
    assert fit.model == fit.cluster_robust  # an amount has no error but that of the users
    assert fit.cluster_robust.standard_error == pytest.approx(rows.bse[1], rel=1e-8)


@pytest.mark.parametrize(
    ("successes", "reason"),
    [
        ([0, 0, 0], "no_successes"),
        ([0, 0, 5], "successes_at_one_end"),
        ([5, 0, 0], "successes_at_one_end"),
    ],
)
def test_a_log_rate_that_goes_to_infinity_is_none(successes, reason):
    sums = replace(independent([9, 9, 9], successes), family=Family.POISSON)

    assert fit_line(np.array([0.0, 0.1, 0.2]), sums, level=0.95) == reason


@pytest.mark.parametrize("successes", [[0, 5, 0], [9, 0, 5], [9, 9, 9]])
def test_a_log_rate_that_turns_back_is_finite(successes):
    x, sums = np.array([0.0, 0.1, 0.3]), independent([9, 9, 9], successes)

    fit = fit_line(x, replace(sums, family=Family.POISSON), level=0.95)

    # every trial its own user, so the cluster-robust error is that of the residuals' squares
    assert np.isfinite(fit.slope) if not isinstance(fit, str) else fit == "identical_users"


def test_users_in_twins_double_the_variance():
    # every user is there twice with the same outcome: twice the trials, as many users
    single = independent([1000] * 3, [100, 120, 140])
    twins = GroupSums(
        trials=2 * single.trials,
        successes=2 * single.successes,
        users=single.users,
        sum_mm=4 * single.sum_mm,
        sum_my=4 * single.sum_my,
        sum_yy=4 * single.sum_yy,
    )
    x = np.array([0.0, 0.1, 0.2])

    once, doubled = fitted(x, single, level=0.95), fitted(x, twins)

    assert doubled.slope == pytest.approx(once.slope)
    assert doubled.model.standard_error == pytest.approx(once.model.standard_error / sqrt(2))
    assert doubled.cluster_robust.standard_error == pytest.approx(
        once.cluster_robust.standard_error, rel=1e-3
    )


@pytest.mark.parametrize(
    ("x", "trials", "successes", "reason"),
    [
        (
            [0, np.nan, 0.2],
            [9, 9, 9],
            [1, 2, 3],
            "metric_not_positive",
        ),
        ([0, 0.1, 0.2], [9, 0, 9], [1, 0, 3], "no_trials"),
        ([0.1, 0.1, 0.1], [9, 9, 9], [1, 2, 3], "metric_constant"),
        ([0.1], [9], [1], "metric_constant"),
        ([0, 0.1, 0.2], [9, 9, 9], [0, 0, 0], "no_successes"),
        ([0, 0.1, 0.2], [9, 9, 9], [9, 9, 9], "no_failures"),
        ([0, 0.1, 0.2], [9, 9, 9], [0, 9, 0], "rates_0_or_1"),
        ([0, 0.1, 0.2], [9, 9, 9], [0, 0, 3], "separation"),
        ([0, 0.1, 0.2], [9, 9, 9], [3, 0, 0], "separation"),
        ([0, 0.1, 0.2], [9, 9, 9], [0, 4, 9], "separation"),
        ([0, 0.1, 0.1], [9, 9, 9], [0, 4, 5], "separation"),
        ([0, 0.1, 0.2], [9, 9, 9], [9, 9, 2], "separation"),
    ],
)
def test_an_undefined_regression_says_why(x, trials, successes, reason):
    result = fit_line(np.array(x, dtype=float), independent(trials, successes), level=0.95)

    assert isinstance(result, str)
    assert result == reason


@pytest.mark.parametrize("successes", [[0, 4, 2], [0, 4, 0], [9, 4, 9], [8, 4, 0]], ids=str)
def test_groups_of_successes_or_failures_alone_do_not_make_it_undefined(successes):
    x, sums = np.array([0.0, 0.1, 0.2]), independent([9, 9, 9], successes)

    assert undefined_reason(x, sums) is None
    assert isinstance(fit_line(x, sums, level=0.95), LineFit)


def test_of_users_who_do_not_differ_the_error_is_the_models_or_undefined():
    # one user a group, two clicks each, one of them ordered: nothing to estimate a spread from
    ones = np.ones(3)
    sums = GroupSums(
        trials=2 * ones, successes=ones, users=ones, sum_mm=4 * ones, sum_my=2 * ones, sum_yy=ones
    )

    binary = fit_line(np.array([0.0, 0.1, 0.2]), sums, level=0.95)
    amount = fit_line(np.array([0.0, 0.1, 0.2]), replace(sums, family=Family.POISSON), level=0.95)

    assert binary.cluster_robust == binary.model  # labelled as such
    assert amount == "identical_users"


@pytest.mark.parametrize(
    ("slope", "error", "level", "p_value", "width"),
    [
        (1.959963985, 1.0, 0.95, 0.05, 1.959963985),
        (-2.575829304, 1.0, 0.99, 0.01, 2.575829304),
        (0.0, 2.0, 0.9, 1.0, 2 * 1.644853627),
    ],
    ids=["five-per-cent", "one-per-cent", "zero"],
)
def test_wald_test_against_the_normal_table(slope, error, level, p_value, width):
    test = wald_test(slope, error, covariance="model", level=level)

    assert test.p_value == pytest.approx(p_value, rel=1e-6)
    assert test.interval == pytest.approx((slope - width, slope + width), rel=1e-6, abs=1e-9)
    assert (test.level, test.covariance, test.standard_error) == (level, "model", error)


def test_an_effect_of_one_hundred_sigma_keeps_a_positive_p_value_below_any_threshold():
    assert 0 <= wald_test(30.0, 1.0, covariance="model", level=0.95).p_value < exp(-400)
