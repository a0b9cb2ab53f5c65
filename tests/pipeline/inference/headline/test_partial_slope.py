"""A slope with other metrics held fixed: against statsmodels, an obvious twin, and drawn experiments."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.genmod.families import Binomial, Poisson
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.regression.linear_model import WLS

from pipeline.inference.glm.batched_newton import fit_plane
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.headline.interval import headline
from pipeline.inference.headline.readings import Groups, read_headline
from pipeline.inference.headline.slope_test import OtherMetrics, score_slope
from pipeline.inference.headline.working_response import WorkingResponse, working_response
from pipeline.results.family import Family
from pipeline.results.reasons import Reading, UndefinedReason
from tests.pipeline.inference.headline.sums import amounts, counts
from tests.pipeline.inference.shops import weeks

FRONT = np.repeat(np.linspace(0, 0.11, 5), 2)
SECOND = np.tile([0.0, 0.08], 5) + 0.3 * FRONT
"""Five preferences on two levels of a second axis, which moves a little with the first."""


def response(values, variance, users_df=1e6):
    return WorkingResponse(
        values_G=np.asarray(values, dtype=np.float64),
        variance_G=np.broadcast_to(np.asarray(variance, dtype=np.float64), np.shape(values)),
        users_df=np.asarray(users_df, dtype=np.float64),
    )


def held(*metrics, errors=None):
    return OtherMetrics(x_MG=np.stack(metrics), covariance_KKGG=errors)


def drawn_clicks(rng, slopes, worlds, *, trials=40_000, tau=0.0, metrics=(FRONT, SECOND)):
    """Clicks of groups whose log odds are linear in the metrics."""
    line = -2 + sum(b * one for b, one in zip(slopes, metrics, strict=True))
    line = line + tau * rng.standard_normal((worlds, len(metrics[0])))
    return rng.binomial(trials, 1 / (1 + np.exp(-line))).astype(float)


@pytest.mark.parametrize("family", [Binomial(), Poisson()])
def test_the_line_is_that_of_a_glm(family):
    rng, n = np.random.default_rng(1), np.array([900.0, 1000, 1100, 1200, 1300, 1400])
    y, metrics = rng.binomial(900, 0.1, 6).astype(float), rng.normal(size=(2, 6))
    design = np.column_stack([np.ones(6), *metrics])
    if isinstance(family, Binomial):
        expected = GLM(np.column_stack([y, n - y]), design, family).fit(tol=1e-12)
    else:
        expected = GLM(y, design, family, offset=np.log(n)).fit(tol=1e-12)
    ours = Family.BINOMIAL if isinstance(family, Binomial) else Family.POISSON

    found = fit_plane(metrics, counts(n, y, ours))

    assert found == pytest.approx(design @ expected.params, rel=1e-8)


def test_the_line_of_many_experiments_is_the_same_one_by_one_and_nan_where_it_has_no_maximum():
    rng = np.random.default_rng(2)
    y = rng.binomial(1000, 0.05, (4, 6)).astype(float)
    y[2] = [0, 0, 0, 0, 0, 9]
    metrics = rng.normal(size=(2, 6))
    metrics[0] = np.arange(6)

    found = fit_plane(metrics, counts(np.full_like(y, 1000), y))

    assert np.isnan(found[2]).all()
    for n in (0, 1, 3):
        one = fit_plane(metrics, counts(np.full(6, 1000), y[n]))
        assert found[n] == pytest.approx(one)


def test_collinear_metrics_have_no_line():
    y = np.array([50.0, 60, 55, 70, 65, 80])

    assert np.isnan(fit_plane(np.stack([np.arange(6.0)] * 2), counts([1000] * 6, y))).all()


def test_of_equal_groups_it_is_the_t_test_of_least_squares():
    y, metrics = (
        np.random.default_rng(3).standard_normal(8),
        np.random.default_rng(4).standard_normal((3, 8)),
    )
    expected = WLS(y, np.column_stack([np.ones(8), *metrics])).fit()

    found = score_slope(0.0, metrics[0], response(y, 1e-9), others=held(*metrics[1:]))

    assert found.groups_df == 8 - 4
    assert found.delta == pytest.approx(expected.params[1])
    assert found.small_sample == pytest.approx(expected.bse[1])
    assert found.p_value == pytest.approx(expected.pvalues[1])


def test_with_the_users_variance_it_is_weighted_least_squares_and_its_inverse_information():
    """Deviations far smaller than the users' errors: τ is 0, and the error that of known variances."""
    rng = np.random.default_rng(5)
    variance, metrics = rng.uniform(1, 4, 7), rng.standard_normal((2, 7))
    y = metrics.T @ [0.5, 0.2] + 0.01 * rng.standard_normal(7)
    fit = WLS(y, np.column_stack([np.ones(7), *metrics]), weights=1 / variance).fit()

    found = score_slope(0.0, metrics[0], response(y, variance), others=held(metrics[1]))

    assert found.tau2 == 0
    assert found.delta == pytest.approx(fit.params[1])
    assert found.users == pytest.approx(fit.normalized_cov_params[1, 1] ** 0.5)
    half = stats.norm.ppf(0.95) * found.users
    assert found.half_width(0.95) == pytest.approx(half, rel=1e-4)


def test_it_does_not_depend_on_the_order_or_the_units_of_the_others():
    rng = np.random.default_rng(6)
    y, (x, a, b) = 0.2 * rng.standard_normal(9), rng.standard_normal((3, 9))
    root = 0.1 * rng.standard_normal((27, 27))
    errors = (root @ root.T).reshape(3, 9, 3, 9).transpose(0, 2, 1, 3)
    unit = np.array([1.0, 1.0, 10.0])
    scaled = errors * np.multiply.outer(unit, unit)[:, :, None, None]
    swapped = scaled[np.ix_([0, 2, 1], [0, 2, 1])]

    one = score_slope(0.3, x, response(y, 0.01), errors[0, 0], held(a, b, errors=errors))
    other = score_slope(0.3, x, response(y, 0.01), errors[0, 0], held(10 * b, a, errors=swapped))

    for name in ("delta", "small_sample", "users", "tau2", "plug_in"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6)


def twin(b, x, z, found, errors):
    """The score with errors in both metrics, by the definition and a root finder; one other metric."""
    groups, y, variance = len(x), found.values_G, found.variance_G

    def parts(c):
        s = np.array([b, c])
        error = np.einsum("k,l,klgh->gh", s, s, errors)
        r = y - b * x - c * z

        def excess(tau2):
            inverse = np.linalg.inv(np.diag(variance + tau2) + error)
            mean = (inverse @ r).sum() / inverse.sum()
            return (r - mean) @ inverse @ (r - mean) - (groups - 2)

        tau2 = 0.0 if excess(0.0) <= 0 else optimize.brentq(excess, 0, 100, xtol=1e-15)
        inverse = np.linalg.inv(np.diag(variance + tau2) + error)
        off = r - (inverse @ r).sum() / inverse.sum()
        corrected = [
            metric + np.einsum("l,lgh->gh", s, errors[k]) @ inverse @ off
            for k, metric in enumerate((x, z))
        ]
        return tau2, inverse, off, corrected

    def dependence(c):
        _, inverse, off, (_, corrected) = parts(c)
        return corrected @ inverse @ off

    c = optimize.brentq(dependence, -3, 3, xtol=1e-13)
    tau2, inverse, off, (own, other) = parts(c)
    design = np.column_stack([np.ones(groups), other])
    z_own = own - design @ np.linalg.solve(design.T @ inverse @ design, design.T @ inverse @ own)
    spread = z_own @ inverse @ z_own
    delta = z_own @ inverse @ off / spread
    rest = off - delta * z_own
    known = np.linalg.inv(inverse) - tau2 * np.eye(groups)
    users = np.sqrt(z_own @ inverse @ known @ inverse @ z_own) / spread
    return delta, np.sqrt(rest @ inverse @ rest / (groups - 3) / spread), users, tau2


@pytest.mark.parametrize("deviation", [0.001, 0.05])
def test_with_errors_of_both_metrics_it_is_the_slow_twin(deviation):
    rng = np.random.default_rng(7)
    root = 0.004 * rng.standard_normal((20, 20))
    errors = (root @ root.T).reshape(2, 10, 2, 10).transpose(0, 2, 1, 3)
    y = 0.9 * FRONT - 0.4 * SECOND + deviation * rng.standard_normal(10)
    variance = rng.uniform(1, 3, 10) * 1e-4
    x, z = FRONT + root[:10] @ rng.standard_normal(20), SECOND + root[10:] @ rng.standard_normal(20)

    for b in (0.0, 0.9):
        found = score_slope(b, x, response(y, variance), errors[0, 0], held(z, errors=errors))
        delta, small_sample, users, tau2 = twin(b, x, z, response(y, variance), errors)

        assert found.delta == pytest.approx(delta, rel=1e-6, abs=1e-9)
        assert found.small_sample == pytest.approx(small_sample, rel=1e-6)
        assert found.users == pytest.approx(users, rel=1e-6)
        assert found.tau2 == pytest.approx(tau2, rel=1e-6, abs=1e-12)


def test_the_interval_ends_where_the_test_rejects():
    y = drawn_clicks(np.random.default_rng(8), (0.9, 0.4), 1)[0]
    error = np.eye(2)[:, :, None, None] * 2e-4 * np.eye(10)
    sums, others = counts([40_000] * 10, y), held(SECOND, errors=error)

    found = headline(FRONT, sums, error[0, 0], others, level=0.95)

    result = working_response(FRONT, sums, others.x_MG)
    for end in found.interval:
        score = score_slope(end, FRONT, result, error[0, 0], others)
        assert abs(score.delta) == pytest.approx(score.half_width(0.95), rel=1e-5)
    assert score_slope(found.slope, FRONT, result, error[0, 0], others).delta == pytest.approx(
        0, abs=1e-6
    )
    assert 0 < found.reliability < 1
    assert found.margins == ()


def test_amounts_have_partial_slopes_that_do_not_depend_on_the_currency():
    rng = np.random.default_rng(9)
    spent = rng.exponential(np.exp(0.9 * FRONT)[:, None], (10, 4000))

    euros, cents = (
        headline(FRONT, amounts(unit * spent), others=held(SECOND), level=0.95) for unit in (1, 100)
    )

    assert euros.slope == pytest.approx(cents.slope, rel=1e-6)
    low, high = euros.interval
    assert low < 0.9 < high


def test_a_metric_whose_own_part_is_within_its_error_has_no_partial_slope():
    y = drawn_clicks(np.random.default_rng(10), (0.9, 0.0), 1)[0]
    error = np.eye(2)[:, :, None, None] * 0.02**2 * np.eye(10)
    close = FRONT + np.random.default_rng(11).normal(0, 0.02, 10)

    found = headline(
        FRONT, counts([40_000] * 10, y), error[0, 0], held(close, errors=error), level=0.95
    )

    assert found.slope is None
    assert found.undefined_reason is UndefinedReason.METRIC_WITHIN_NOISE


@pytest.mark.slow
@pytest.mark.parametrize("reliability", [1.0, 0.7])
@pytest.mark.parametrize("tau", [0.0, 0.03])
def test_true_slopes_are_accepted_and_a_slope_of_0_rejected_as_often_as_stated(reliability, tau):
    """The second metric does nothing, but moves with the first, whose slope is 0.9."""
    rng, worlds = np.random.default_rng(12), 500
    y = drawn_clicks(rng, (0.9, 0.0), worlds, tau=tau)
    sums, true = counts(np.full_like(y, 40_000), y), np.stack([FRONT, SECOND])
    variance = true.var(axis=1, ddof=1) * (1 / reliability - 1)
    root = np.linalg.cholesky(np.diag(variance) + 1e-12 * np.eye(2))
    x = true + np.einsum("kl,wlg->wkg", root, rng.standard_normal((worlds, 2, 10)))
    errors = np.diag(variance)[:, :, None, None] * np.eye(10) if reliability < 1 else None

    for tested, slope in ((0, 0.9), (1, 0.0)):
        order = [tested, 1 - tested]
        own = None if errors is None else errors[np.ix_(order, order)]
        others = OtherMetrics(x_MG=x[:, [1 - tested]], covariance_KKGG=own)
        found = working_response(x[:, tested], sums, others.x_MG)
        score = score_slope(
            np.full(worlds, slope), x[:, tested], found, None if own is None else own[0, 0], others
        )

        covered = (np.abs(score.delta) <= score.half_width(0.95)).mean()
        assert 0.93 <= covered <= 0.985, (tested, covered)
        if slope == 0:
            assert (score.p_value < 0.05).mean() <= 0.065


def test_p_values_of_a_metric_that_does_nothing_are_uniform_where_groups_deviate():
    rng, worlds = np.random.default_rng(13), 2000
    y = drawn_clicks(rng, (0.9, 0.0), worlds, tau=0.1)
    sums = counts(np.full_like(y, 40_000), y)
    others = OtherMetrics(x_MG=FRONT[None])

    p_value = score_slope(
        np.zeros(worlds), SECOND, working_response(SECOND, sums, others.x_MG), others=others
    ).p_value

    assert stats.kstest(p_value, "uniform").pvalue > 0.01


def test_two_axes_tell_the_true_metric_from_one_that_moves_with_it_and_one_front_does_not():
    """Marginal slopes reject both; partial slopes the one that does nothing in 5%."""
    rng, worlds = np.random.default_rng(14), 500
    moving = FRONT + np.tile([0.0, 0.05], 5)
    y = drawn_clicks(rng, (0.9, 0.0), worlds, tau=0.005, metrics=(FRONT, moving))
    sums = counts(np.full_like(y, 40_000), y)

    def significant(x, other=None):
        others = None if other is None else held(other)
        result = working_response(x, sums, None if other is None else others.x_MG)
        return (score_slope(np.zeros(worlds), x, result, others=others).p_value < 0.05).mean()

    assert significant(moving) > 0.9
    assert significant(FRONT, moving) > 0.9
    assert significant(moving, FRONT) <= 0.065


def test_two_groups_more_than_coefficients_are_enough():
    rng, worlds = np.random.default_rng(15), 2000
    metrics = FRONT[::2] * 1.0, np.array([0.0, 0.08, 0.02, 0.07, 0.01])
    y = drawn_clicks(rng, (0.9, -0.5), worlds, tau=0.02, metrics=metrics)
    sums = counts(np.full_like(y, 40_000), y)
    others = OtherMetrics(x_MG=metrics[1][None])

    score = score_slope(
        np.full(worlds, 0.9),
        metrics[0],
        working_response(metrics[0], sums, others.x_MG),
        others=others,
    )

    assert score.groups_df == 2
    assert 0.93 <= (np.abs(score.delta) <= score.half_width(0.95)).mean() <= 0.985


def test_it_is_read_on_the_day_that_the_headline_is_and_at_its_level():
    outcome = weeks(1, slope=0.9, x=FRONT, users=150, days=8)
    last, early = outcome.until(7), outcome.until(4)
    groups = Groups(
        x=FRONT,
        covariance_GG=None,
        sums=last,
        outcome=outcome,
        planned_days=8,
        others=held(SECOND),
    )

    end = read_headline(groups, level=0.95)
    before = read_headline(replace(groups, planned_days=30), level=0.95)

    expected = headline(FRONT, last, others=held(SECOND), level=0.96)
    assert replace(end.headline, reading=None) == expected
    assert end.headline.reading is Reading.PLANNED_END
    assert before.headline.reading is Reading.EARLY_LOOK
    low, high = before.headline.interval
    wider = headline(FRONT, early, others=held(SECOND), level=0.95).interval
    assert high - low > wider[1] - wider[0]


def test_group_sums_of_users_are_not_assumed_independent():
    """Users of 50 impressions who always or never click: the error is √50 times that of single ones."""
    n, y = np.full(10, 50_000.0), np.round(50_000 / (1 + np.exp(2 - 0.9 * FRONT)) / 50) * 50
    alone = counts(n, y)
    users = GroupSums(
        trials=n, successes=y, users=n / 50, sum_mm=50 * n, sum_my=50 * y, sum_yy=50 * y
    )

    errors = [
        float(
            score_slope(
                0.0, FRONT, working_response(FRONT, one, SECOND[None]), others=held(SECOND)
            ).users
        )
        for one in (alone, users)
    ]

    assert errors[1] / errors[0] == pytest.approx(50**0.5, rel=1e-2)
