"""What a plan costs, tells apart, offers and how long it takes: by hand, and against each other."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.core.contracts import Kpi
from pipeline.inference.power.adaptive_plan import adaptive_end
from pipeline.inference.power.power import PowerQuery, power
from pipeline.study import PlanningConfig
from tests.pipeline.inference.planned import (
    BUSY,
    PLANNING,
    RECALL,
    TRAFFIC,
    planned_axes,
    planned_power,
)

MANY = replace(TRAFFIC, **BUSY)


def rates(recall, slope, middle):
    """The click-through rate on the line through 10% at ``middle``, in relative change of recall."""
    link = np.log(0.1 / 0.9) + slope * (np.array(recall) - middle) / RECALL[0]
    return 1 / (1 + np.exp(-link))


@pytest.mark.slow
def test_the_expected_cost_is_what_the_groups_fall_short_of_the_best():
    found = planned_power(metrics=("recall",))

    (clicks,) = found.analysis.cost
    expected = rates(RECALL, 1.5, np.mean(RECALL))
    served = [int(group.preference_id[1:]) for group in found.plan.groups]
    shares = [group.share for group in found.plan.groups]
    lost = 100 * 10 * (expected[5] - np.average(expected[served], weights=shares))
    assert (clicks.quantity, clicks.reference, clicks.hypotheses) == ("clicks", "p05", ("H1",))
    assert clicks.amount == pytest.approx(lost)
    assert clicks.share == pytest.approx(lost / (1000 * expected[5]))
    assert clicks.interval == pytest.approx((lost, lost))  # no errors, no deviations


@pytest.mark.slow
def test_the_cost_next_to_an_incumbent_may_be_a_gain():
    found = planned_power(metrics=("recall",), incumbent="p00")

    (clicks,) = found.analysis.cost
    expected = rates(RECALL, 1.5, RECALL[0])  # the traffic's rate is the incumbent's
    served = [int(group.preference_id[1:]) for group in found.plan.groups]
    shares = [group.share for group in found.plan.groups]
    assert clicks.reference == "p00"
    assert clicks.amount < 0
    mean = np.average(expected[served], weights=shares)
    assert clicks.amount == pytest.approx(1000 * (0.1 - mean))


@pytest.mark.slow
def test_errors_of_the_metric_and_deviations_widen_the_cost():
    noisy = planned_power(metrics=("recall",), covariance=np.diag([1e-4] * 6).tolist())
    deviating = planned_power(metrics=("recall",), planning=replace(PLANNING, group_deviation=0.1))

    for one in (noisy, deviating):
        (clicks,) = one.analysis.cost
        low, high = clicks.interval
        assert low < clicks.amount < high


@pytest.mark.slow
def test_no_more_is_lost_than_the_reference_earns():
    (clicks,) = planned_power(
        metrics=("recall",), planning=replace(PLANNING, group_deviation=2.0)
    ).analysis.cost

    earned = clicks.amount / clicks.share
    assert clicks.interval[1] < earned


@pytest.mark.slow
def test_more_replicates_are_offered_with_the_power_they_bring():
    planning = PlanningConfig(slope=0.3, group_deviation=0.06)
    found = planned_axes(groups=4, planning=planning).analysis

    replicated = next(one for one in found.offers if "replicates: 2" in one.change)
    assert replicated.change.startswith("groups: 8")
    before = {one.id: one.chosen.power.confirmed for one in found.hypotheses}
    assert all(replicated.power[name] > before[name] for name in before)


@pytest.mark.slow
def test_optimal_shares_are_offered_in_percent():
    found = planned_power(metrics=("recall",), groups=4).analysis

    shares = next(one for one in found.offers if one.change.startswith("shares"))
    values = [int(one) for one in shares.change.split("[")[1].strip("]").split(", ")]
    assert sum(values) == 100
    assert values == [round(100 * one) for one in found.design.optimal_shares]


@pytest.mark.slow
def test_two_axes_tell_apart_what_one_front_mistakes():
    found = planned_axes(groups=6).analysis

    for one in found.hypotheses:
        assert one.apart.partial > 0.5
        assert one.apart_one_front.partial is None
        assert one.apart_one_front.mistaken > 0.5
        assert one.information.partial.inflation < 3


def test_a_metric_that_is_held_fixed_leaves_the_power_of_its_partial_slope():
    """Two crossed metrics: the partial slope has nearly the power of the marginal one."""
    x, other = np.array([0, 0, 0.2, 0.2, 0.1, 0.1]), np.array([0, 1, 0, 1, 0, 1.0])
    query = PowerQuery(kpi=Kpi.CTR, x=x, shares=np.full(6, 1 / 6), sign=1, level=0.95)

    marginal, partial = (
        power(one, MANY, days=10, slope=1.0).confirmed
        for one in (query, replace(query, others_MG=other[None]))
    )
    together = replace(query, others_MG=(x + 0.01 * other)[None])

    assert marginal - 0.15 < partial <= marginal + 0.01
    assert power(together, MANY, days=10, slope=1.0).confirmed < 0.2


def adaptive(slope, **changes):
    x = np.linspace(0, 0.3, 5)
    query = PowerQuery(kpi=Kpi.CTR, x=x, shares=np.full(5, 0.2), sign=1, level=0.95)
    return adaptive_end(replace(query, **changes), MANY, planned=10, slope=slope)


def test_an_adaptive_end_is_early_with_a_strong_slope_and_without_any():
    strong, none = adaptive(3.0), adaptive(0.0)

    assert strong.confirmed > 0.95
    assert strong.days < 6
    assert none.confirmed < 0.04
    assert none.days == pytest.approx(none.days_without_slope)
    assert none.given_up > 0.5


def test_an_adaptive_end_keeps_the_power_of_the_planned_end():
    found = adaptive(0.6)

    x = np.linspace(0, 0.3, 5)
    query = PowerQuery(kpi=Kpi.CTR, x=x, shares=np.full(5, 0.2), sign=1, level=0.95)
    assert found.confirmed == pytest.approx(
        power(query, MANY, days=10, slope=0.6).confirmed, abs=0.06
    )


def test_two_groups_have_no_adaptive_end():
    assert adaptive(1.0, x=np.array([0, 0.1]), shares=np.full(2, 0.5)) is None
