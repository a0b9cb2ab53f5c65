"""What an experiment costs in clicks, orders and revenue, at the assumed slopes, before it starts."""

from collections.abc import Sequence

import numpy as np

from pipeline.core.contracts import Kpi
from pipeline.experiment.design.optimal_design.measured_front import joint_covariance
from pipeline.inference.hypotheses.inputs import RESPONSE
from pipeline.inference.power.planned_query import (
    PlannedSetting,
    assumed_slope,
    hypothesis_query,
)
from pipeline.inference.sensitivity.errors_in_variables import matrix_sqrt
from pipeline.results.family import Floats
from pipeline.results.power import ExpectedCost
from pipeline.study import Hypothesis

_DRAWS = 2000


def expected_cost(setting: PlannedSetting) -> tuple[ExpectedCost, ...]:
    """The loss next to serving everybody the incumbent, or without one the best candidate.

    Clicks follow the hypotheses on the click-through rate. Orders follow those on orders per impression,
    or without any the product of click-through rate and post-click conversion rate. With several
    hypotheses on a KPI, each is as likely. A quantity without a hypothesis is left out.
    """
    found: list[ExpectedCost] = []
    ctr, cvr, orders = (_on(kpi, setting) for kpi in (Kpi.CTR, Kpi.CVR, Kpi.ORDERS_PER_IMPRESSION))
    if ctr:
        found.append(_cost("clicks", [ctr], setting))
    if of_orders := [orders] if orders else [one for one in (ctr, cvr) if one and cvr]:
        found.append(_cost("orders", of_orders, setting))
        if setting.study.experiment.planning.order_value is not None:
            found.append(_cost("revenue", of_orders, setting))
    return tuple(found)


def _on(kpi: Kpi, setting: PlannedSetting) -> list[Hypothesis]:
    """The hypotheses of the plan that are fitted on a KPI."""
    known = {one.hypothesis for one in setting.design.hypotheses}
    declared = setting.study.regression.hypotheses
    return [one for one in declared if one.id in known and RESPONSE[one.kpi] is kpi]


def _cost(
    quantity: str, factors: Sequence[list[Hypothesis]], setting: PlannedSetting
) -> ExpectedCost:
    """The cost in a quantity that is a product of rates, each of which has hypotheses."""
    ids = setting.front.points["preference_id"].to_list()
    rate_C, rates_RC = np.ones(len(ids)), np.ones((_DRAWS, len(ids)))
    rng = np.random.default_rng(setting.study.study.seed)
    for hypotheses in factors:
        each = [_rates(one, setting, ids, rng) for one in hypotheses]
        rate_C = rate_C * np.mean([mean for mean, _ in each], axis=0)
        chosen = rng.integers(len(each), size=_DRAWS)
        rates_RC = rates_RC * np.stack([drawn for _, drawn in each])[chosen, np.arange(_DRAWS)]
    known = {RESPONSE[one.kpi] for hypotheses in factors for one in hypotheses}
    if quantity != "clicks" and known == {Kpi.CVR}:
        rate_C, rates_RC = rate_C * setting.traffic.ctr, rates_RC * setting.traffic.ctr
    incumbent = setting.study.experiment.incumbent
    reference = ids.index(incumbent) if incumbent else int(np.argmax(rate_C))
    groups = [ids.index(group.preference_id) for group in setting.plan.groups]
    value = setting.traffic.impressions(setting.days)
    if quantity == "revenue":
        value *= setting.study.experiment.planning.order_value or 0.0
    earned = float(value * rate_C[reference])
    share = 1 - setting.shares @ rate_C[groups] / rate_C[reference]
    # a share of what the reference earns, which is planned: its own error costs nothing
    share_R = 1 - rates_RC[:, groups] @ setting.shares / rates_RC[:, reference]
    tail = 50 * (1 - setting.study.regression.level)
    low, high = earned * np.percentile(share_R, [tail, 100 - tail])
    return ExpectedCost(
        quantity=quantity,
        reference=ids[reference],
        hypotheses=tuple(one.id for hypotheses in factors for one in hypotheses),
        amount=earned * float(share),
        interval=(float(low), float(high)),
        share=float(share),
    )


def _rates(
    hypothesis: Hypothesis, setting: PlannedSetting, ids: Sequence[str], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """The KPI under each candidate at the assumed slope: expected, and with errors and deviations drawn."""
    values = setting.everywhere(hypothesis)
    equal = np.full(len(ids), 1 / len(ids))
    query = hypothesis_query(
        hypothesis, setting.study, (values, equal), middle=setting.middle(hypothesis)
    )
    slope = assumed_slope(hypothesis, setting.study)
    mean = query.chances(setting.traffic, query.x, slope, np.zeros(len(ids)))
    covariance = joint_covariance(setting.front, [str(hypothesis.metric)], ids)[0, 0]
    root_CC = matrix_sqrt(covariance / values.min() ** 2)
    x_RC = query.x + rng.standard_normal((_DRAWS, len(ids))) @ root_CC.T
    deviations_RC = query.group_deviation * rng.standard_normal(x_RC.shape)
    return mean, query.chances(setting.traffic, x_RC, slope, deviations_RC)
