"""Which group to ship for which KPI, the expected change, and the trade-offs in the other KPIs.

Groups are compared as measured: users are randomised, so the difference between two groups is the
effect of what they were served, whether or not a metric explains it. The two groups are selected
from the data, so intervals cover all pairs of groups simultaneously (Bonferroni). The line of a
hypothesis adds what its metric predicts of the same change.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from scipy import stats

from pipeline.core.contracts import Kpi
from pipeline.inference.glm.prediction_band import log_change, predicted_change
from pipeline.results.decisions import KpiChange, Recommendation
from pipeline.results.document import GroupKpi
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reasons import Advice, Movement, Verdict
from pipeline.results.slopes import Change

_USABLE = (Verdict.CONFIRMED, Verdict.SUGGESTIVE)

_Rows = Mapping[str, GroupKpi]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """The groups' KPIs by KPI and group, the KPIs in question, and the groups' preferences."""

    rows: Mapping[Kpi, _Rows]
    kpis: Sequence[Kpi]
    preferences: Mapping[str, Sequence[float] | None]


def recommend(
    hypotheses: Sequence[HypothesisResult],
    group_kpis: Sequence[GroupKpi],
    preferences: Mapping[str, Sequence[float] | None],
    *,
    level: float,
) -> list[Recommendation]:
    """A recommendation for every KPI with a declared hypothesis, in their order."""
    kpis = list(dict.fromkeys(one.kpi for one in hypotheses))
    rows: dict[Kpi, dict[str, GroupKpi]] = {}
    for row in group_kpis:
        rows.setdefault(row.kpi, {})[row.group] = row
    measured = _Measured(rows=rows, kpis=kpis, preferences=preferences)
    return [
        _for_kpi(kpi, [one for one in hypotheses if one.kpi is kpi], measured, level=level)
        for kpi in kpis
    ]


def _for_kpi(
    kpi: Kpi, declared: Sequence[HypothesisResult], measured: _Measured, *, level: float
) -> Recommendation:
    if any(one.verdict is Verdict.BLOCKED for one in declared):
        return Recommendation(kpi=kpi, advice=Advice.BLOCKED)
    chosen = _hypothesis_to_optimise(declared)
    contradicted = tuple(one.id for one in declared if one.verdict is Verdict.CONTRADICTED)

    bare = Recommendation(
        kpi=kpi,
        advice=Advice.WAIT,
        hypothesis=chosen.id if chosen else None,
        metric_direction=_metric_direction(chosen),
        contradicted=contradicted,
    )
    if any(one.is_interim for one in declared):
        return bare
    rows = measured.rows.get(kpi, {})
    if len(rows) < 2 or not all(row.rate and row.standard_error for row in rows.values()):
        return replace(bare, advice=Advice.UNDEFINED)
    pairs = math.comb(len(rows), 2)
    z = float(stats.norm.ppf(1 - (1 - level) / (2 * pairs)))
    differences = (_compare(rows, a, b, z=z) for a, b in combinations(rows, 2))
    if not any(one and one.movement is not Movement.INCONCLUSIVE for one in differences):
        return replace(bare, advice=Advice.NO_DIFFERENCE, comparisons=pairs)
    bare = replace(bare, advice=Advice.SHIP, comparisons=pairs)
    return _ship(bare, chosen, measured, z=z)


def _ship(
    bare: Recommendation, chosen: HypothesisResult | None, measured: _Measured, *, z: float
) -> Recommendation:
    """The recommendation with the best group, against the one where the KPI is lowest."""
    rows = measured.rows[bare.kpi]
    by_rate = sorted(rows, key=lambda name: rows[name].rate or 0.0)
    best, lowest = by_rate[-1], by_rate[0]
    others = [name for name in rows if name != best]

    def changes(kpi: Kpi, starts: Sequence[str]) -> list[KpiChange]:
        found = (_compare(measured.rows.get(kpi, {}), best, start, z=z) for start in starts)
        return [one for one in found if one]

    own = {one.baseline: one for one in changes(bare.kpi, others)}
    weights = measured.preferences.get(best)
    return replace(
        bare,
        group=best,
        preference=tuple(weights) if weights else None,
        baseline=lowest,
        expected_change=own[lowest],
        predicted_change=_predicted(chosen, lowest, best),
        trade_offs=tuple(
            one for kpi in measured.kpis if kpi != bare.kpi for one in changes(kpi, [lowest])
        ),
        indistinguishable=tuple(
            name for name, one in own.items() if one.movement is Movement.INCONCLUSIVE
        ),
        changes=tuple(
            one for start in others for kpi in measured.kpis for one in changes(kpi, [start])
        ),
    )


def _hypothesis_to_optimise(declared: Sequence[HypothesisResult]) -> HypothesisResult | None:
    """The hypothesis whose metric to optimise, by the rule of :class:`Recommendation`."""
    usable = [one for one in declared if one.verdict in _USABLE]
    return min(
        usable, key=lambda one: (_USABLE.index(one.verdict), (one.slope or 0.0) < 0), default=None
    )


def _metric_direction(
    chosen: HypothesisResult | None,
) -> Literal["increase", "decrease"] | None:
    if chosen is None or chosen.slope is None:
        return None
    return "increase" if chosen.slope > 0 else "decrease"


def _predicted(chosen: HypothesisResult | None, start: str, end: str) -> Change | None:
    if chosen is None:
        return None
    x = {point.group: point.x for point in chosen.points}
    first, last = x[start], x[end]
    return None if first is None or last is None else predicted_change(chosen, first, last)


def _compare(rows: _Rows, group: str, baseline: str, *, z: float) -> KpiChange | None:
    """The change between two groups' rates, whose errors are independent."""
    one, other = rows.get(group), rows.get(baseline)
    if not one or not other or not (one.rate and other.rate):
        return None
    if not (one.standard_error and other.standard_error):
        return None
    error = math.hypot(one.standard_error / one.rate, other.standard_error / other.rate)
    found = log_change(math.log(one.rate / other.rate), z * error)
    movement = Movement.INCREASE if found.change > 0 else Movement.DECREASE
    return KpiChange(
        kpi=one.kpi,
        group=group,
        baseline=baseline,
        change=found.change,
        interval=found.interval,
        movement=movement if found.excludes_0 else Movement.INCONCLUSIVE,
    )
