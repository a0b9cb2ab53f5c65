"""Changes of a plan that would give it more power at the same traffic: other shares, more replicates."""

from collections.abc import Sequence

import numpy as np

from pipeline.inference.power.planned_query import PlannedSetting
from pipeline.inference.power.power import power
from pipeline.results.family import Floats
from pipeline.results.power import PlannedHypothesis, PlanOffer

_MORE_REPLICATES = (2, 4)
"""Multiples of the plan's replicates; with more groups the errors have more degrees of freedom."""

_NOTICEABLE = 0.01
"""Power, whose simulation has an error of at most that."""

_LEAST_BUCKETS = 0.001
"""Smallest share of a group."""


def plan_offers(
    setting: PlannedSetting, planned: Sequence[PlannedHypothesis]
) -> tuple[PlanOffer, ...]:
    """Optimal shares of the groups, and the same preferences in more groups."""
    section, design = setting.study.experiment, setting.design
    if not design.hypotheses:
        return ()
    found: list[PlanOffer] = []
    current = setting.shares.reshape(section.replicates, -1).sum(axis=0)
    optimal = np.array(design.optimal_shares)
    if not np.allclose(optimal, current, atol=0.005):
        percents = ", ".join(f"{100 * share:.0f}" for share in np.tile(optimal, section.replicates))
        shares = np.tile(optimal, section.replicates) / section.replicates
        found.append(_offer(f"shares: [{percents}]", setting, planned, shares))
    for times in _MORE_REPLICATES:
        shares = np.tile(setting.shares, times) / times
        if shares.min() < _LEAST_BUCKETS:
            continue
        change = f"groups: {section.groups * times}, replicates: {section.replicates * times}"
        found.append(_offer(change, setting, planned, shares))
    return tuple(one for one in found if _gains(one, planned))


def _gains(offer: PlanOffer, planned: Sequence[PlannedHypothesis]) -> bool:
    """Whether any hypothesis has noticeably more power."""
    now = {one.id: one.chosen.power.confirmed or 0.0 for one in planned if one.chosen}
    return any((value or 0.0) > now[name] + _NOTICEABLE for name, value in offer.power.items())


def _offer(
    change: str, setting: PlannedSetting, planned: Sequence[PlannedHypothesis], shares: Floats
) -> PlanOffer:
    """The power of a plan with these shares; groups repeat the plan's candidates."""
    chosen = setting.design.chosen
    by_id = {one.id: one for one in setting.study.regression.hypotheses}
    powers: dict[str, float | None] = {}
    for one in planned:
        if one.chosen is None or one.information is None:
            continue
        hypothesis = by_id[one.id]
        reliability = min(one.information.chosen.reliability or 1.0, 1.0)
        query = setting.query(hypothesis, chosen, shares=shares, reliability=reliability)
        slope = setting.slope(hypothesis, chosen)
        powers[one.id] = power(query, setting.traffic, days=setting.days, slope=slope).confirmed
    return PlanOffer(change=change, power=powers)
