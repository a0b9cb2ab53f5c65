"""The lift of every KPI against the control, from the sums over users."""

import math
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.inference.counts.columns import CONTROLS
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.groups.pair_test import PairTest, pair_test
from pipeline.inference.hypotheses.inputs import (
    RegressionInputs,
    before_of,
    daily_kpi,
    family_of,
    group_sums,
)
from pipeline.inference.sensitivity.anytime_valid import ConfidenceSequence
from pipeline.inference.sensitivity.cuped import adjusted_sums
from pipeline.inference.sensitivity.day_effects import DailyOutcome
from pipeline.results.lifts import AdjustedLift, AnytimeLift, KpiLift
from pipeline.results.reasons import AdviceReason
from pipeline.results.slopes import Interval
from pipeline.study import RegressionConfig

_BEYOND = 20.0
"""In logs: a factor of 500 million."""


def control_of(names: Sequence[str], declared: str | None) -> str | None:
    """The group that others are compared with; None for three groups of which none is a control."""
    if declared is not None:
        return declared
    named = [name for name in names if name.strip().casefold() in CONTROLS]
    if len(named) == 1:
        return named[0]
    return names[0] if len(names) == 2 else None


def kpi_lifts(evidence: RegressionInputs, section: RegressionConfig) -> tuple[KpiLift, ...]:
    """One lift per KPI and group that is not the control; none without a control.

    None also where the sample ratio does not match the plan: nothing is concluded then.
    """
    names = evidence.group_kpis["group"].unique(maintain_order=True).sort().to_list()
    control = control_of(names, section.advice.control)
    if not evidence.healthy or control is None or control not in names:
        return ()
    kpis = [kpi for kpi in Kpi if kpi.value in set(evidence.group_kpis["kpi"])]
    found: list[KpiLift] = []
    for kpi in kpis:
        cells = evidence.group_kpis.filter(kpi=kpi.value).sort("group")
        found += [
            _lift(kpi, cells, name, control, evidence, section)
            for name in cells["group"].to_list()
            if name != control and control in cells["group"].to_list()
        ]
    return tuple(found)


def _lift(  # noqa: PLR0913, PLR0917 - one comparison, and where its parts come from
    kpi: Kpi,
    cells: pl.DataFrame,
    group: str,
    control: str,
    evidence: RegressionInputs,
    section: RegressionConfig,
) -> KpiLift:
    pair = cells.filter(pl.col("group").is_in([group, control]))
    sums = group_sums(pair, kpi)
    a, b = (pair["group"].to_list().index(name) for name in (group, control))
    users_known = kpi not in evidence.users_unknown
    bare = KpiLift(
        kpi=kpi,
        group=group,
        control=control,
        declared=section.advice.control is not None,
        lift=None,
        interval=None,
        p_value=None,
        users_known=users_known,
    )
    if sums.trials.min() <= 0:
        return replace(bare, undefined_reason=AdviceReason.NO_TRIALS)
    rates = sums.successes / sums.trials
    if rates[b] <= 0:
        return replace(bare, undefined_reason=AdviceReason.NOT_POSITIVE)
    bare = replace(bare, lift=float(rates[a] / rates[b] - 1))
    if not users_known and not kpi.is_binary:
        return replace(bare, undefined_reason=AdviceReason.USERS_UNKNOWN)
    alpha, test = 1 - section.level, pair_test(sums, a, b)
    interval = _interval(test, test.quantile(alpha))
    before, outcome = before_of(evidence, pair, kpi), daily_kpi(evidence, pair, kpi)
    adjusted = None if before is None else adjusted_sums(before, family_of(kpi))
    return replace(
        bare,
        interval=interval,
        p_value=test.p_value,
        cuped=adjusted and _adjusted(adjusted, (a, b), test, alpha),
        anytime=outcome
        and _anytime(outcome, (a, b), alpha=alpha, planned_days=evidence.planned_days),
        undefined_reason=None if interval else AdviceReason.NOT_POSITIVE,
    )


def _interval(test: PairTest, critical: float) -> Interval | None:
    ends = test.log_interval(critical)
    if ends is None or ends[1] >= _BEYOND:
        return None
    return math.expm1(ends[0]), math.expm1(ends[1])


def _adjusted(
    sums: GroupSums, pair: tuple[int, int], unadjusted: PairTest, alpha: float
) -> AdjustedLift | None:
    """The lift of adjusted sums; None where an adjusted rate is not positive."""
    test = pair_test(sums, *pair)
    ends = _interval(test, test.quantile(alpha))
    if ends is None or test.log_ratio is None or not unadjusted.relative_variance:
        return None
    return AdjustedLift(
        lift=math.expm1(test.log_ratio),
        interval=ends,
        p_value=test.p_value,
        variance_share=test.relative_variance / unadjusted.relative_variance,
    )


def _anytime(
    outcome: DailyOutcome, pair: tuple[int, int], *, alpha: float, planned_days: int | None
) -> AnytimeLift | None:
    """Today's interval and p-value of a confidence sequence; None before there is a variance."""
    days = len(outcome.days)
    sequence = ConfidenceSequence(alpha=alpha, planned_days=planned_days or days)
    smallest, ends = 1.0, None
    for day in range(days):
        sums = outcome.until(day)
        if min(sums.trials[one] for one in pair) <= 0:
            continue
        test = pair_test(sums, *pair)
        variance = test.relative_variance
        if not variance:
            continue
        sequence = sequence.started(variance, day)
        smallest = min(smallest, sequence.p_value(test.z * variance**0.5, variance))
        ends = _interval(test, sequence.width(variance) / variance**0.5)
    return AnytimeLift(interval=ends, p_value=smallest) if ends else None
