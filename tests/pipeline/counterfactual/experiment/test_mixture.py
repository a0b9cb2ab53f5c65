"""The experiment as its own logging policy: a planted truth is recovered, and intervals cover it."""

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.counterfactual.diagnostics import diagnose
from pipeline.counterfactual.estimators import estimate, sums_of
from pipeline.counterfactual.experiment.examination import (
    ExaminationCurve,
    ShownLists,
    harvest_examination,
)
from pipeline.counterfactual.experiment.mixture import ModelledLists, leave_group_out, weigh_mixture
from pipeline.counterfactual.user_sums import Estimate
from pipeline.results.counterfactual import Estimator, SupportReason, SupportStatus
from tests.pipeline.counterfactual.clicks import GROUPS, THETA, world

PLANTED = ExaminationCurve(exponent=0.6)


@pytest.fixture(scope="module")
def shop():
    return world(0)


def left_out(shop, group, curve=PLANTED, *, model=False):
    others, rows = leave_group_out(shop.log, group)
    target = shop.log.lists_GNK[group, rows]
    modelled = None
    if model:  # right up to a factor of 0.7, as a model with a wrong level
        shown = others.lists_GNK[others.group_N, np.arange(len(rows))]
        attraction = shop.attraction_NI[rows]
        modelled = ModelledLists(
            shown_NK=0.7 * THETA * np.take_along_axis(attraction, shown, 1),
            target_NK=0.7 * THETA * np.take_along_axis(attraction, target, 1),
        )
    log = weigh_mixture(others, target, shop.click_NK[rows], curve, model=modelled)
    return log, shop.exact(shop.log.lists_GNK[group])[rows].mean()


def by_hand(shop, group, rows):
    """V and its control, item by item, from the formulas of the module."""
    others, source = leave_group_out(shop.log, group)
    values, controls, supports = [], [], []
    for i in rows:
        lists = {g: others.lists_GNK[g, i].tolist() for g in range(GROUPS) if g != group}
        share = {g: others.share_G[g] for g in lists}
        own = lists[others.group_N[i]]
        value = control = support = 0.0
        for r, item in enumerate(shop.log.lists_GNK[group, source[i]].tolist()):
            p = sum(share[g] * THETA[lists[g].index(item)] for g in lists if item in lists[g])
            support += THETA[r] * (p > 0)
            if item in own:
                at = own.index(item)
                value += THETA[r] * shop.click_NK[source[i], at] / p
                control += THETA[r] / p * THETA[at]
        values.append(value)
        controls.append(control / THETA.sum())
        supports.append(support / THETA.sum())
    return values, controls, supports


def test_weights_are_those_done_by_hand(shop):
    log, _ = left_out(shop, 1)
    rows = range(0, 200, 3)

    values, controls, supports = by_hand(shop, 1, rows)

    found = (log.weight_NK * log.reward_NK).sum(axis=1)
    assert found[list(rows)] == pytest.approx(values, rel=1e-12)
    assert log.control_NJ[list(rows), 0] == pytest.approx(controls, rel=1e-12)
    assert log.support_N[list(rows)] == pytest.approx(supports, rel=1e-12)


@pytest.mark.parametrize("group", range(GROUPS))
def test_a_left_out_group_is_recovered_from_the_others(shop, group):
    log, exact = left_out(shop, group, model=True)

    ips, dr = estimate(log, Estimator.IPS), estimate(log, Estimator.DR)

    assert (ips.name, dr.name) == ("PBM-IPS", "PBM-DR")
    end = group in {0, GROUPS - 1}  # a tenth of whose lists no other group shows
    assert ips.value == pytest.approx(exact, rel=0.07 if end else 0.05)
    assert dr.value == pytest.approx(exact, rel=0.05)
    assert dr.standard_error < 1.05 * ips.standard_error
    assert estimate(log, Estimator.DM).value == pytest.approx(0.7 * exact)
    assert diagnose(log).status is not SupportStatus.NO_SUPPORT


def test_an_unserved_preference_between_the_groups_is_recovered(shop):
    """The lists of a sixth ranker, with all five groups as the logging policy."""
    between = world(0, preferences=[-1, -0.5, 0.25, 0.5, 1]).log.lists_GNK[2]

    log = weigh_mixture(shop.log, between, shop.click_NK, PLANTED)

    assert log.support > 0.95
    assert estimate(log, Estimator.IPS).value == pytest.approx(shop.exact(between).mean(), rel=0.05)


def test_a_group_is_not_estimated_from_its_own_rows(shop):
    """With its own rows and one group the weights are 1, and the estimate is its own mean."""
    own = shop.log.group_N == 2
    alone = ShownLists(
        lists_GNK=shop.log.lists_GNK[:, own],
        group_N=shop.log.group_N[own],
        user_N=shop.log.user_N[own],
        share_G=np.array([0.0, 0, 1, 0, 0]),
    )
    log = weigh_mixture(alone, alone.lists_GNK[2], shop.click_NK[own], PLANTED)

    assert log.weight_NK == pytest.approx(np.ones_like(log.weight_NK))
    assert estimate(log, Estimator.IPS).value == pytest.approx(shop.click_NK[own].sum() / own.sum())
    with pytest.raises(DataError, match="leaving it out needs another one"):
        leave_group_out(alone, 2)


def test_lists_of_items_that_no_group_shows_are_refused(shop):
    """A quarter of the examination is on items that were never shown."""
    strange = shop.log.lists_GNK[2].copy()
    strange[:, :1] = 1000
    log = weigh_mixture(shop.log, strange, shop.click_NK, PLANTED)

    found = diagnose(log)

    assert log.support == pytest.approx(1 - THETA[0] / THETA.sum())
    assert found.status is SupportStatus.NO_SUPPORT
    assert found.limits[0].reason is SupportReason.SUPPORT
    assert found.limits[0].value == log.support < 0.8


def test_the_end_of_a_short_list_has_no_weight(shop):
    short = shop.log.lists_GNK.copy()
    short[:, :, -2:] = -1
    log = ShownLists(
        lists_GNK=short,
        group_N=shop.log.group_N,
        user_N=shop.log.user_N,
        share_G=shop.log.share_G,
    )
    found = weigh_mixture(log, short[0], shop.click_NK, PLANTED)

    assert (found.weight_NK[:, -2:] == 0).all()
    assert found.support == pytest.approx(1)


def test_the_harvested_curve_is_the_planted_one():
    shops = [world(seed, users=1000) for seed in range(6)]
    found = [
        harvest_examination(shop.log, shop.click_NK > 0, np.random.default_rng(0)) for shop in shops
    ]

    exponents = np.array([one.exponent for one in found])
    error = np.mean([one.standard_error for one in found])
    assert exponents.mean() == pytest.approx(0.6, abs=3 * error / 6**0.5)
    assert 0.3 * error < exponents.std(ddof=1) < 2.5 * error
    assert error < 0.06
    again = harvest_examination(shops[0].log, shops[0].click_NK > 0, np.random.default_rng(0))
    assert again == found[0]


def test_the_curve_of_first_clicks_is_steeper(shop):
    whole = harvest_examination(shop.log, shop.click_NK > 0, np.random.default_rng(0))
    first = harvest_examination(shop.log, shop.first_click_NK(), np.random.default_rng(0))

    assert first.exponent > whole.exponent + 0.2
    assert first.at(3) == pytest.approx((1 + np.arange(3)) ** -first.exponent)


def test_groups_with_the_same_lists_have_no_curve():
    same = world(0, users=50, spread=0.0)

    with pytest.raises(DataError, match="0 clicks on items that the groups place differently"):
        harvest_examination(same.log, same.click_NK > 0, np.random.default_rng(0))


@pytest.mark.slow
def test_intervals_by_user_cover_the_supported_value_of_new_users():
    covered, by_rows, exact = [], [], []
    for seed in range(200):
        shop = world(seed)
        log, _ = left_out(shop, 2)
        found = Estimate.of(sums_of(log, Estimator.IPS))
        value_N = (log.weight_NK * log.reward_NK).sum(axis=1)
        rows = np.flatnonzero(shop.log.group_N != 2)
        exact.append(shop.exact(shop.log.lists_GNK[2])[rows].mean())
        covered.append((found.value, found.standard_error))
        by_rows.append(value_N.std(ddof=1) / len(value_N) ** 0.5)
    values, errors = np.array(covered).T
    truth = values.mean()  # the supported part is .996 of the exact value
    assert truth == pytest.approx(np.mean(exact), rel=0.01)

    z = np.abs(values - truth)
    assert 0.92 <= np.mean(z < 1.96 * errors) <= 0.98
    assert np.mean(z < 1.96 * np.array(by_rows)) < 0.88
    assert np.mean(errors / by_rows) > 1.3


@pytest.mark.slow
def test_two_groups_with_one_preference_have_no_lift():
    """Null: the interval of the lift of one over the other includes 0 in 93 to 97% of worlds."""
    included = []
    for seed in range(400):
        shop = world(seed, users=400, preferences=[0.3, 0.3, -0.5, 0.0, 0.5])
        log = weigh_mixture(*_without(shop, 0, rows=(2, 3, 4)))
        target = Estimate.of(sums_of(log, Estimator.IPS))
        own = shop.log.group_N == 1
        realised = shop.click_NK[own].sum(axis=1)
        users = shop.log.user_N[own]
        sums = np.bincount(users, realised - realised.mean(), minlength=400)
        error = np.hypot(target.standard_error, np.sqrt((sums**2).sum()) / own.sum())
        included.append(abs(target.value / log.support - realised.mean()) < 1.96 * error)

    assert 0.92 <= np.mean(included) <= 0.98


def _without(shop, group, *, rows):
    """The requests of some groups, and the lists of another as the target."""
    kept = np.isin(shop.log.group_N, rows)
    share = np.bincount(shop.log.group_N[kept], minlength=GROUPS) / kept.sum()
    log = ShownLists(
        lists_GNK=shop.log.lists_GNK[:, kept],
        group_N=shop.log.group_N[kept],
        user_N=shop.log.user_N[kept],
        share_G=share,
    )
    return log, shop.log.lists_GNK[group, kept], shop.click_NK[kept], PLANTED
