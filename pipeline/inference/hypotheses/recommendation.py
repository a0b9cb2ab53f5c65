"""For every KPI: which group to ship, and which metric to optimise.

Groups are compared as measured: users are randomised, so the difference between two groups is the
effect of what they were served, whether or not a metric explains it. The line of a hypothesis adds
what its metric predicts of the same change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.core.errors import StudyError
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.groups.comparison import Choice, KpiGroups, choose, kpi_change
from pipeline.inference.groups.looks import looks
from pipeline.inference.groups.pair_test import kish_events
from pipeline.inference.groups.shrinkage import shrink
from pipeline.inference.headline.prediction_band import predicted_change
from pipeline.inference.hypotheses.inputs import (
    RegressionInputs,
    daily_kpi,
    group_sums,
)
from pipeline.results.decisions import Advice, KpiChange, Optimise
from pipeline.results.family import Floats
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reasons import Action, AdviceReason, Movement, Verdict
from pipeline.results.slopes import Change
from pipeline.study import RegressionConfig

_USABLE = (Verdict.CONFIRMED, Verdict.SUGGESTIVE)
_WITHOUT_ANSWER = (Verdict.INCONCLUSIVE, Verdict.UNDEFINED)

_Found = Mapping[Kpi, KpiGroups | AdviceReason]


def advise(
    hypotheses: Sequence[HypothesisResult],
    evidence: RegressionInputs,
    section: RegressionConfig,
    *,
    missing_columns: Mapping[Kpi, Sequence[str]] | None = None,
) -> tuple[Advice, ...]:
    """The advice for every KPI with a declared hypothesis, in their order.

    Without any hypothesis, for every KPI of which a difference has an error.

    Args:
        hypotheses: The results.
        evidence: The experiment's tables.
        section: Level, control, margin and prior.
        missing_columns: Those that would make the users known, of KPIs whose users are not.

    Raises:
        StudyError: if the control is not a group.
    """
    names, control = sorted(set(evidence.group_kpis["group"])), section.advice.control
    if control is not None and control not in names:
        msg = f"the control {control!r} is not a test group; expected one of {', '.join(names)}"
        raise StudyError(msg)
    declared = list(dict.fromkeys(one.kpi for one in hypotheses))
    kpis = declared or _comparable(evidence)
    missing = missing_columns or {}
    found: _Found = {kpi: _groups_of(kpi, evidence, section) for kpi in kpis}
    advice = (
        _for_kpi(
            kpi,
            [one for one in hypotheses if one.kpi is kpi],
            found,
            margin=section.advice.margin,
            healthy=evidence.healthy,
        )
        for kpi in kpis
    )
    return tuple(replace(one, missing_columns=tuple(missing.get(one.kpi, ()))) for one in advice)


def _comparable(evidence: RegressionInputs) -> list[Kpi]:
    """The KPIs of which a difference has an error."""
    counted, unknown = set(evidence.group_kpis["kpi"]), evidence.users_unknown
    return [kpi for kpi in Kpi if kpi.value in counted and (kpi.is_binary or kpi not in unknown)]


def _for_kpi(
    kpi: Kpi,
    declared: Sequence[HypothesisResult],
    found: _Found,
    *,
    margin: float | None,
    healthy: bool,
) -> Advice:
    if not healthy:
        return Advice(kpi=kpi, action=Action.BLOCKED, reason=AdviceReason.SAMPLE_RATIO)
    chosen = _hypothesis_to_optimise(declared)
    bare = Advice(
        kpi=kpi,
        action=Action.UNDEFINED,
        reason=AdviceReason.NO_COUNTS,
        optimise=_optimise(chosen),
        confounded=chosen.id if chosen and chosen.rivals else None,
        rivals=chosen.rivals if chosen else (),
        explained=any(one.verdict not in _WITHOUT_ANSWER for one in declared),
        contradicted=tuple(one.id for one in declared if one.verdict is Verdict.CONTRADICTED),
        margin=margin,
    )
    groups = found[kpi]
    if isinstance(groups, AdviceReason):
        return replace(bare, reason=groups)
    choice = choose(groups, margin)
    if not groups.users_known and choice.action in {Action.SHIP, Action.NO_DIFFERENCE}:
        return replace(bare, reason=AdviceReason.USERS_UNKNOWN)
    names, best, baseline = groups.names, choice.best, choice.baseline
    bare = replace(
        bare,
        action=choice.action,
        reason=choice.reason,
        baseline=names[baseline],
        control=groups.control is not None,
        comparisons=groups.comparisons,
        candidates=groups.candidates,
        users=choice.users if groups.users_known else None,
        events=choice.events,
    )
    if choice.action is not Action.SHIP:
        leading = kpi_change(groups, choice.look, best, baseline) if best != baseline else None
        return replace(bare, leading=leading)
    return _with_group(bare, choice, groups, found, chosen)


def _with_group(
    bare: Advice,
    choice: Choice,
    groups: KpiGroups,
    found: _Found,
    chosen: HypothesisResult | None,
) -> Advice:
    """The advice with the group to ship, and every change that this is expected to make."""
    best, baseline, names = choice.best, choice.baseline, groups.names
    others = [one for one in range(len(names)) if one != best]
    when = groups.looks.index(choice.look)

    def changes(start: int) -> list[KpiChange]:
        known = (one for one in found.values() if isinstance(one, KpiGroups))
        made = (kpi_change(one, one.looks[when], best, start) for one in known)
        return [one for one in made if one]

    own = {start: kpi_change(groups, choice.look, best, start) for start in others}
    return replace(
        bare,
        group=names[best],
        expected=own[baseline],
        predicted_change=_predicted(chosen, names[baseline], names[best]),
        trade_offs=tuple(one for one in changes(baseline) if one.kpi is not bare.kpi),
        indistinguishable=tuple(
            names[start]
            for start, one in own.items()
            if one and one.movement is Movement.INCONCLUSIVE
        ),
        changes=tuple(one for start in others for one in changes(start)),
    )


def _groups_of(
    kpi: Kpi, evidence: RegressionInputs, section: RegressionConfig
) -> KpiGroups | AdviceReason:
    """The groups of a KPI; where they cannot be compared, the reason."""
    cells = evidence.group_kpis.filter(kpi=kpi.value).sort("group")
    if cells.height < 2:
        return AdviceReason.NO_COUNTS
    users_known = kpi not in evidence.users_unknown
    if not users_known and not kpi.is_binary:
        return AdviceReason.USERS_UNKNOWN
    sums, names = group_sums(cells, kpi), cells["group"].to_list()
    if sums.trials.min() <= 0:
        return AdviceReason.NO_TRIALS
    if kpi.needs_revenue and sums.successes.min() <= 0:
        return AdviceReason.NOT_POSITIVE
    days, control = daily_kpi(evidence, cells, kpi), section.advice.control
    return KpiGroups(
        kpi=kpi,
        names=names,
        looks=looks(sums, days, planned_days=evidence.planned_days, level=section.level),
        events_G=_events(kpi, sums, evidence.group_kpis, names),
        posterior=shrink(sums, counted=not kpi.needs_revenue, scale=section.advice.effect_scale),
        control=names.index(control) if control else None,
        level=section.level,
        users_known=users_known,
    )


def _events(kpi: Kpi, sums: GroupSums, rows: pl.DataFrame, names: Sequence[str]) -> Floats:
    """Clicks or orders of each group; of an amount without orders, at most its users with one."""
    if TERMS[kpi][1] in {"clicks", "orders"}:
        return sums.successes
    counted = rows.filter(pl.col("kpi") == Kpi.ORDERS_PER_IMPRESSION.value)
    orders = dict(counted.select("group", "successes").iter_rows())
    if not all(name in orders for name in names):
        return kish_events(sums)
    return np.array([orders[name] for name in names], dtype=np.float64)


def _hypothesis_to_optimise(declared: Sequence[HypothesisResult]) -> HypothesisResult | None:
    """The hypothesis whose metric to optimise, by the rule of :class:`Optimise`."""
    usable = [one for one in declared if one.verdict in _USABLE]
    return min(
        usable,
        key=lambda one: (_USABLE.index(one.verdict), bool(one.rivals), (one.slope or 0.0) < 0),
        default=None,
    )


def _optimise(chosen: HypothesisResult | None) -> Optimise | None:
    if chosen is None or chosen.slope is None or chosen.rivals:
        return None
    direction = "increase" if chosen.slope > 0 else "decrease"
    return Optimise(hypothesis=chosen.id, metric=chosen.metric, direction=direction)


def _predicted(chosen: HypothesisResult | None, start: str, end: str) -> Change | None:
    if chosen is None:
        return None
    x = {point.group: point.x for point in chosen.points}
    first, last = x[start], x[end]
    return None if first is None or last is None else predicted_change(chosen, first, last)
