"""Every group from the others: the planted lifts are recovered, and a reward model that knows the lists helps."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError
from pipeline.counterfactual.experiment.examination import ExaminationCurve
from pipeline.counterfactual.experiment.leave_one_out import leave_groups_out
from pipeline.counterfactual.experiment.list_rewards import (
    ClickedAmounts,
    ListPlaces,
    predict_rewards,
)
from pipeline.counterfactual.experiment.mixture import (
    leave_group_out,
    weigh_mixture,
    weigh_same_positions,
)
from pipeline.counterfactual.experiment.paired_lists import UNCLICKED
from pipeline.results.counterfactual import SupportStatus
from tests.pipeline.counterfactual.clicks import GROUPS, pairs_of, world

NAMES = [f"g{number}" for number in range(GROUPS)]
PLANTED = ExaminationCurve(exponent=0.6)
CLICK_SHARE = 0.04
"""So few that a list seldom has two, of which the second would be lost."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop():
    return world(0, users=3000)


@pytest.fixture(scope="module")
def checked(shop):
    return leave_groups_out(
        pairs_of(shop, click_share=CLICK_SHARE), NAMES, PLANTED, level=0.95, seed=1
    )


def test_estimates_are_the_exact_values_of_the_others_requests(shop, checked):
    _, kpis = checked
    ctr = {one.name: one for one in kpis[0].estimators}

    for group in range(GROUPS):
        rows = np.flatnonzero(shop.log.group_N != group)
        exact = CLICK_SHARE * shop.exact(shop.log.lists_GNK[group])[rows].mean()
        assert ctr["PBM-DR"].groups[group].value == pytest.approx(exact, rel=0.15)
        assert ctr["IIPS"].groups[group].value < 0.7 * exact  # most items are at other positions
        assert ctr["PBM-IPS"].groups[group].value == pytest.approx(exact, rel=0.2)


def test_realised_values_are_the_groups_own(shop, checked):
    pairs = pairs_of(shop, click_share=CLICK_SHARE)
    own = pairs.log.group_N == 3
    clicks, orders = (pairs.clicked_N >= 0)[own].sum(), pairs.amounts["ordered"][own].sum()
    ctr, cvr, orders_per = (kpi.headline.groups[3] for kpi in checked[1])

    assert [one.kpi for one in checked[1]] == [Kpi.CTR, Kpi.CVR, Kpi.ORDERS_PER_IMPRESSION]
    assert ctr.realised == pytest.approx(clicks / own.sum())
    assert cvr.realised == pytest.approx(orders / clicks)
    assert orders_per.realised == pytest.approx(orders / own.sum())
    others = (pairs.clicked_N >= 0)[~own].sum() / (~own).sum()
    assert ctr.realised_lift == pytest.approx(ctr.realised / others - 1)
    assert ctr.lift == pytest.approx(ctr.value / others - 1)
    assert ctr.lift_interval[0] < ctr.lift < ctr.lift_interval[1]


def test_the_naive_comparison_is_refused_and_never_chosen(checked):
    groups, kpis = checked
    naive = next(one for one in kpis[0].estimators if one.name == "IIPS")

    assert not naive.supported
    assert all(one.status is SupportStatus.NO_SUPPORT for one in naive.groups)
    assert all(0.85 < one.diagnostics.support <= 1 for one in groups)
    assert kpis[0].choice is None or kpis[0].choice.estimator not in {"IIPS", "DM", "PBM-SNIPS"}


def test_the_order_of_users_and_the_last_user_s_group_do_not_matter(shop):
    """Of a log whose last users are all in one group, the others' numbers end before them."""
    pairs = pairs_of(shop, click_share=CLICK_SHARE)
    user_N = np.where(pairs.log.group_N == 4, pairs.log.user_N + 10_000, pairs.log.user_N)
    moved = replace(pairs, log=replace(pairs.log, user_N=user_N))

    _, kpis = leave_groups_out(moved, NAMES, PLANTED, level=0.95, seed=1)
    _, before = leave_groups_out(pairs, NAMES, PLANTED, level=0.95, seed=1)

    for now, one in zip(kpis[0].headline.groups, before[0].headline.groups, strict=True):
        assert now.value == pytest.approx(one.value)
        assert now.realised_interval == pytest.approx(one.realised_interval, rel=1e-3)


def test_one_group_alone_cannot_be_left_out(shop):
    pairs = pairs_of(shop, click_share=CLICK_SHARE)
    alone = replace(pairs, log=replace(pairs.log, group_N=np.zeros_like(pairs.log.group_N)))

    with pytest.raises(DataError, match="leaving it out needs another one"):
        leave_groups_out(alone, NAMES, PLANTED, level=0.95, seed=1)


def test_a_kpi_that_is_0_in_a_group_is_left_out(caplog):
    """Its lift would be exactly −100%, with an interval of no width."""
    pairs = pairs_of(world(0, users=300), click_share=CLICK_SHARE)
    elsewhere = {"ordered": pairs.amounts["ordered"] * (pairs.log.group_N != 3)}

    _, kpis = leave_groups_out(
        replace(pairs, amounts=elsewhere), NAMES, PLANTED, level=0.95, seed=1
    )

    assert [one.kpi for one in kpis] == [Kpi.CTR]
    assert "orders per impression is left out: it is 0 in g3" in caplog.text
    clicked_N = np.where(pairs.log.group_N == 2, UNCLICKED, pairs.clicked_N)
    none = replace(pairs, clicked_N=clicked_N, amounts={})
    with pytest.raises(DataError, match="every KPI is 0 in a group"):
        leave_groups_out(none, NAMES, PLANTED, level=0.95, seed=1)


def test_the_reward_model_is_policy_independent_and_calibrated(shop):
    """Right on average for what was shown, and nearly for lists that another group would have shown."""
    pairs = pairs_of(shop, click_share=CLICK_SHARE)
    log, rows = leave_group_out(pairs.log, 2)
    length_N = np.full(len(rows), 2)
    clicked_N = pairs.clicked_N[rows]
    rewards = ClickedAmounts(
        clicked_N=clicked_N, amount_N=(clicked_N >= 0) * 1.0, user_N=log.user_N
    )

    found = predict_rewards(
        rewards,
        ListPlaces.of(log, log.shown_NK, length_N),
        ListPlaces.of(log, pairs.log.lists_GNK[2, rows], length_N),
        curve=PLANTED,
        rng=np.random.default_rng(0),
    )

    assert found.fitted_NK.sum(axis=1).mean() == pytest.approx((clicked_N >= 0).mean(), rel=0.02)
    exact = CLICK_SHARE * shop.exact(shop.log.lists_GNK[2])[rows].mean()
    assert found.direct_N.mean() == pytest.approx(exact, rel=0.1)


def test_the_same_item_at_the_same_position_by_hand(shop):
    log, rows = leave_group_out(shop.log, 1)
    target, click = shop.log.lists_GNK[1, rows], shop.click_NK[rows]

    found = weigh_same_positions(log, target, click)

    for row in range(0, 400, 7):
        share = [
            sum(
                log.share_G[g]
                for g in range(GROUPS)
                if log.lists_GNK[g, row, k] == log.shown_NK[row, k]
            )
            for k in range(target.shape[1])
        ]
        weights = (log.shown_NK[row] == target[row]) / np.array(share)
        assert found.weight_NK[row] == pytest.approx(weights)
    assert found.control_NJ.mean() == pytest.approx(found.support, abs=0.03)


def test_a_target_that_is_served_by_all_has_its_own_mean(shop):
    """The mixture's own lists have weight 1 wherever all groups agree."""
    same = np.stack([shop.log.lists_GNK[0]] * GROUPS)
    log = weigh_mixture(replace(shop.log, lists_GNK=same), same[0], shop.click_NK, PLANTED)

    assert log.weight_NK == pytest.approx(np.ones_like(log.weight_NK))
