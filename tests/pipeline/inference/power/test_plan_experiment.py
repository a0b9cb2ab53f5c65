"""The power of a plan, and of evenly spaced groups for the same truth."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pipeline.core.contracts import Kpi
from pipeline.inference.power.plan_experiment import plan_with_power
from pipeline.inference.power.power import PowerQuery, power
from pipeline.results.power import PowerAnalysis
from pipeline.results.reasons import UndefinedReason
from pipeline.results.serialization import parse, to_dict
from pipeline.study import Hypothesis, PlanningConfig, RegressionConfig
from tests.pipeline.experiment.fronts import front_of, study_of
from tests.pipeline.inference.planned import PLANNING, RECALL, SECTION, TRAFFIC, planned_power

SEED = study_of(SECTION, ("recall",)).study.seed
default_plan = cache(planned_power)
ALL = {name: RECALL[n] for n, name in enumerate(f"p{n:02d}" for n in range(6))}


def query(ids, **changes):
    values = np.array([ALL[name] for name in ids])
    shares = np.diff([0, 3333, 6667, 10_000]) / 10_000
    x = values / values.min() - 1
    return PowerQuery(
        **{"kpi": Kpi.CTR, "x": x, "shares": shares, "sign": 1, "level": 0.95, "seed": SEED}
        | changes
    )


@pytest.mark.slow
def test_each_design_is_evaluated_on_its_groups_and_the_same_truth():
    experiment = default_plan()

    first, design = experiment.analysis.hypotheses[0], experiment.analysis.design
    assert design.even == ("p00", "p02", "p05")
    for powers, ids in ((first.chosen, design.chosen), (first.even, design.even)):
        # the worst group is p00 in both, so the slope means the same; so does the KPI's rate
        middle = np.mean(RECALL) / 0.30 - 1
        by_hand = power(query(ids, middle=middle), TRAFFIC, days=10, slope=1.5)
        assert powers.power == by_hand
    assert first.information.gain > 0
    assert first.chosen.power.suggestive > first.even.power.suggestive


@pytest.mark.slow
def test_days_impressions_and_curves_fit_each_other():
    powers = default_plan().analysis.hypotheses[0].chosen

    assert powers.impressions_to_confirmed == 100 * powers.days_to_confirmed
    assert powers.days[0] == 1
    assert powers.days[-1] >= 20  # twice the planned days
    assert list(powers.power_confirmed) == sorted(powers.power_confirmed)


def test_an_undefined_power_has_a_reason():
    experiment = default_plan()

    second = experiment.analysis.hypotheses[1]
    assert second.undefined_reason == "metric_not_positive"
    assert (second.chosen, second.even) == (None, None)
    blurred = planned_power(metrics=("recall",), covariance=np.diag(np.full(6, 0.5)))
    assert blurred.analysis.hypotheses[0].undefined_reason == "metric_within_noise"


@pytest.mark.slow
def test_measurement_error_lowers_the_power():
    clean, blurred = (
        planned_power(
            metrics=("recall",), covariance=np.diag(np.full(6, noise))
        ).analysis.hypotheses[0]
        for noise in (0.0, 0.002)
    )

    assert clean.information.chosen.reliability == pytest.approx(1)
    assert 0.5 < blurred.information.chosen.reliability < 0.95
    assert blurred.chosen.power.confirmed < clean.chosen.power.confirmed


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"traffic_share": 0.1}, {"holdout": 0.9}], ids=["ramp-up", "holdout"]
)
def test_a_tenth_of_the_users_takes_ten_times_as_long(changes):
    whole, part = (
        planned_power(metrics=("recall",), **c).analysis.hypotheses[0].chosen for c in ({}, changes)
    )

    assert part.days_to_confirmed == pytest.approx(10 * whole.days_to_confirmed, rel=0.3)
    assert part.impressions_to_confirmed == pytest.approx(whole.impressions_to_confirmed, rel=0.3)


@pytest.mark.slow
def test_replicates_and_shares_are_those_of_the_plan():
    shares = (1.0, 1.0, 2.0, 3.0, 1.0, 2.0)

    experiment = planned_power(groups=6, replicates=2, shares=shares, metrics=("recall",))

    assert len(experiment.plan.groups) == 6
    assert len(experiment.analysis.design.chosen) == 3
    wide = [ALL[name] for name in experiment.analysis.design.chosen * 2]
    by_hand = power(
        query(
            experiment.analysis.design.chosen,
            x=np.array(wide) / min(wide) - 1,
            shares=np.array([group.share for group in experiment.plan.groups]),
            middle=np.mean(RECALL) / 0.30 - 1,
        ),
        TRAFFIC,
        days=10,
        slope=1.5,
    )
    assert experiment.analysis.hypotheses[0].chosen.power == by_hand


@pytest.mark.slow
def test_each_hypothesis_may_have_a_slope_of_its_own():
    planning = replace(PLANNING, slope=0.7)
    experiment = planned_power(days=1, planning=planning, metrics=("recall", "recall"))

    assert [one.slope for one in experiment.analysis.hypotheses] == [1.5, 0.7]


def test_all_of_it_is_json():
    analysis = default_plan().analysis
    found = to_dict(analysis)

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert parse(PowerAnalysis, found) == analysis
    assert found["target_power"] == PlanningConfig().power == 0.8
    assert [one["id"] for one in found["hypotheses"]] == ["H1", "H2"]
    assert found["design"]["left_out"] == {
        "H2": "the metric is undefined, 0 or negative under a preference"
    }


@pytest.mark.slow
def test_no_power_is_promised_for_orders_where_there_are_none():
    clicks = Hypothesis(id="H1", metric="recall", kpi=Kpi.CTR, direction="positive")
    orders = Hypothesis(id="H2", metric="recall", kpi=Kpi.CVR, direction="negative")
    study = study_of(SECTION)
    study = replace(study, regression=RegressionConfig(hypotheses=(clicks, orders)))

    planned = plan_with_power(study, replace(front_of(RECALL), has_orders=False), TRAFFIC)

    of_clicks, of_orders = planned.analysis.hypotheses
    assert of_clicks.chosen.power.suggestive > 0
    assert of_orders.undefined_reason is UndefinedReason.NO_ORDERS
    assert of_orders.chosen is None
    assert planned.analysis.design.left_out == {"H2": "there are no orders"}
    assert planned.plan.has_orders is False


def test_groups_are_evenly_spaced_where_the_metric_varies_by_chance_alone():
    study = study_of(SECTION)

    planned = plan_with_power(study, front_of(RECALL, covariance=np.eye(6)), TRAFFIC)

    design = planned.analysis.design
    assert design.chosen == design.even == ("p00", "p02", "p05")
