"""Whether a planned experiment can distinguish the metric of a hypothesis from its rivals."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.experiment.design.optimal_design.criterion import Efficiency
from pipeline.experiment.design.optimal_design.joint_information import (
    LARGEST_INFLATION,
    fewest_groups,
)
from pipeline.inference.power.planned_query import PlannedSetting
from pipeline.inference.power.power import PowerQuery, power
from pipeline.results.power import ToldApart
from pipeline.study import Hypothesis


def separation(
    hypothesis: Hypothesis, setting: PlannedSetting, candidates: Sequence[str], partial: Efficiency
) -> ToldApart:
    """The power of the partial slope, and the chance to mistake the metric for its closest rival.

    Args:
        hypothesis: With rivals.
        setting: The plan.
        candidates: Of its groups.
        partial: Efficiency of these candidates for the partial slope.
    """
    query = setting.query(hypothesis, candidates, shares=setting.shares_of(candidates))
    slope = setting.slope(hypothesis, candidates)
    rivals = _rivals(hypothesis, setting)
    together = partial.inflation is None or partial.inflation > LARGEST_INFLATION
    own = None
    if not together and len(candidates) >= fewest_groups(1 + len(rivals)):
        others = [
            setting.query(one, candidates, shares=setting.shares_of(candidates)).x for one in rivals
        ]
        own = replace(query, others_MG=np.stack(others))
    closest = rivals[int(np.argmax(np.abs(partial.correlations)))]
    follows = _follows(query, slope, closest, setting, candidates)
    asked = [*([own] if own else []), *(replace(query, **change) for change in follows)]
    found = [power(one, setting.traffic, days=setting.days, slope=slope).confirmed for one in asked]
    above, below = found[-2:]
    return ToldApart(
        partial=found[0] if own else None,
        mistaken=None if above is None or below is None else above + below,
    )


def _rivals(hypothesis: Hypothesis, setting: PlannedSetting) -> list[Hypothesis]:
    """A hypothesis on the same KPI for each rival metric, in the order of the rivals."""
    information = next(one for one in setting.design.hypotheses if one.hypothesis == hypothesis.id)
    declared = setting.study.regression.hypotheses
    return [
        next(one for one in declared if str(one.metric) == name and one.kpi is hypothesis.kpi)
        for name in information.rivals
    ]


def _follows(
    query: PowerQuery,
    slope: float,
    rival: Hypothesis,
    setting: PlannedSetting,
    candidates: Sequence[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The changes of the query for a KPI that follows the rival by its own assumed slope.

    ``follows`` is on the scale of the query's x: with the query's slope, the change of the link is
    that of the rival. The first asks for the declared direction, the second for the other.
    """
    other = setting.query(rival, candidates, shares=setting.shares_of(candidates))
    change = other.sign * setting.slope(rival, candidates)
    middle, own = other.middle or 0.0, query.middle or 0.0
    away = change * (other.x - middle) / (query.sign * slope)
    return {"follows": own + away}, {"follows": own - away, "sign": -query.sign}
