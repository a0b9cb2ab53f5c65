"""What the first screen shows: one row per hypothesis, and one per KPI with the group to ship."""

from collections.abc import Iterable, Sequence

from pipeline.core.contracts import Kpi
from pipeline.core.labels import metric_label
from pipeline.reporting.first_screen.axis import Axis, Bar, Tone
from pipeline.reporting.first_screen.phrases import (
    CHIPS,
    SHORT_REASONS,
    SHORT_UNDEFINED,
    alert,
    headline,
)
from pipeline.reporting.first_screen.rows import (
    ChangeCell,
    DecisionRow,
    FirstScreen,
    RankedRow,
    ResultRow,
)
from pipeline.reporting.text.diagnostics import FAILED, PASSED, diagnostic_rows
from pipeline.results.decisions import Advice, KpiChange, RankedMetric
from pipeline.results.document import Report
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reasons import Action, Movement, Verdict
from pipeline.results.slopes import OpenInterval

MOST_ROWS = 5
"""Rows of hypotheses; Table 1 has all."""

FEWEST_ROWS = 2
MOST_DECISIONS = 3
MOST_COLUMNS = 4
"""Rows and columns of KPIs; the findings have all. Without hypotheses there are as many rows as theirs."""

MOST_WORDS = 90
"""Of all that is above the fold, numbers included; hypotheses that have no room are in Table 1."""

_FRAME_WORDS = 33
"""Study, checks, heads, ticks, figure and foot."""

_HINT_WORDS = 3
"""That there are more hypotheses, or KPIs."""

_ANSWERED = (
    Verdict.BLOCKED,
    Verdict.CONFIRMED,
    Verdict.CONTRADICTED,
    Verdict.SUGGESTIVE,
    Verdict.SUGGESTIVE_OPPOSITE,
    Verdict.INCONCLUSIVE,
    Verdict.UNDEFINED,
)
_TONES = {Movement.INCREASE: Tone.YES, Movement.DECREASE: Tone.NO}


def first_screen(report: Report) -> FirstScreen:
    """The first screen of a report."""
    outcomes = [row.outcome for row in diagnostic_rows(report.diagnostics)]
    changes = tuple((one, change) for one in report.advice for change in changes_of(one))
    change_axis = Axis.of(_percent(ends) for _, one in changes if (ends := quoted(one)))
    kpis = tuple(one.kpi for one in report.advice)[:MOST_COLUMNS]
    decided = report.advice[: MOST_DECISIONS if report.hypotheses else MOST_ROWS]
    decisions = tuple(_decision(one, kpis, changes, change_axis) for one in decided)
    room = _room(report, decisions)
    shown, two_groups = _shown(report.hypotheses, room, report.cutoff), _has_lifts(report)
    lifts = _lifts(report.advice) if two_groups else {}
    axis = Axis.of(_intervals(shown, lifts, two_groups=two_groups))
    rows = (_row(one, report, lifts.get(one.kpi), axis, two_groups=two_groups) for one in shown)
    ranked_axis, ranked = _ranked(report)
    return FirstScreen(
        headline=headline(report),
        alert=alert(report.diagnostics),
        failed=outcomes.count(FAILED),
        passed=outcomes.count(PASSED),
        axis=axis if report.hypotheses else ranked_axis,
        level=_level(report),
        rows=tuple(rows),
        hidden_rows=len(report.hypotheses) - len(shown),
        ranked=ranked,
        two_groups=two_groups,
        lead=_lead(shown),
        kpis=kpis,
        change_axis=change_axis,
        decisions=decisions,
        hidden_decisions=len(report.advice) - len(decisions),
        changes=changes,
        control=any(one.control for one in report.advice),
        no_orders=_no_orders(report),
        blocked=any(one.action is Action.BLOCKED for one in report.advice),
    )


def _has_lifts(report: Report) -> bool:
    return bool(report.totals and report.totals.groups == 2 and report.hypotheses)


def _level(report: Report) -> float | None:
    """The level of the headlines; None if they differ."""
    levels = {one.headline.level for one in report.hypotheses if one.headline}
    return levels.pop() if len(levels) == 1 else None if levels else report.level


def _no_orders(report: Report) -> bool:
    """Whether orders are not counted, or there are none."""
    counts = [row for row in report.group_kpis if row.kpi is Kpi.ORDERS_PER_IMPRESSION]
    return bool(report.group_kpis) and not any(row.successes for row in counts)


def changes_of(advice: Advice) -> list[KpiChange]:
    """The changes that an advice states: of its own KPI, and the trade-offs."""
    own = advice.expected or advice.leading
    return [*((own,) if own else ()), *advice.trade_offs]


def quoted(found: KpiChange) -> OpenInterval | None:
    """The interval of a change that is shown: as measured where it is inconclusive."""
    return found.measured_interval if found.movement is Movement.INCONCLUSIVE else found.interval


def _room(report: Report, decisions: Sequence[DecisionRow]) -> int:
    """How many words the rows of hypotheses may have."""
    room = MOST_WORDS - _FRAME_WORDS - len(headline(report).split())
    for one in decisions:
        cells = sum(cell is not None for cell in one.cells)
        room -= 2 + len(one.reason.split()) + bool(one.advice.indistinguishable) + cells
    room -= len(decisions[0].cells) if decisions else 0
    return room - _HINT_WORDS * (len(report.advice) > len(decisions))


def _shown(
    found: Sequence[HypothesisResult], room: int, cutoff: int | None
) -> list[HypothesisResult]:
    """The hypotheses on the first screen: all, or those with the clearest answers.

    ``room`` is for their words: metric, KPI, rivals, verdict, effect and evidence.
    """
    ordered = sorted(found, key=lambda one: _ANSWERED.index(one.verdict))[:MOST_ROWS]
    words = [
        4 + len(metric_label(one.metric, cutoff).split()) + 2 * bool(one.rivals) for one in ordered
    ]
    if len(ordered) < len(found) or sum(words) > room:
        room -= _HINT_WORDS
    rows = max(FEWEST_ROWS, sum(sum(words[: n + 1]) <= room for n in range(len(words))))
    return [one for one in found if one in ordered[:rows]]


def _lead(found: Sequence[HypothesisResult]) -> HypothesisResult | None:
    """The hypothesis with the clearest answer, that the figure shows."""
    drawn = [
        one
        for one in found
        if one.points and one.verdict not in {Verdict.BLOCKED, Verdict.UNDEFINED}
    ]
    return min(drawn, key=lambda one: _ANSWERED.index(one.verdict), default=None)


def _lifts(advice: Sequence[Advice]) -> dict[Kpi, KpiChange]:
    """The change between two groups, by KPI: of its own advice, or else a trade-off."""
    found: dict[Kpi, KpiChange] = {}
    for own in (True, False):
        for one in advice:
            for change in changes_of(one):
                if (change.kpi is one.kpi) is own:
                    found.setdefault(change.kpi, change)
    return found


def _intervals(
    shown: Iterable[HypothesisResult], lifts: dict[Kpi, KpiChange], *, two_groups: bool
) -> list[OpenInterval]:
    if two_groups:
        ends = (one.measured_interval for one in lifts.values())
        return [_percent(one) for one in ends if one]
    return [
        one.elasticity.interval
        for one in shown
        if one.elasticity and one.verdict is not Verdict.BLOCKED
    ]


def _percent(ends: OpenInterval) -> OpenInterval:
    low, high = (None if end is None else 100 * end for end in ends)
    return low, high


def _row(
    one: HypothesisResult, report: Report, lift: KpiChange | None, axis: Axis, *, two_groups: bool
) -> ResultRow:
    tone, word = CHIPS[one.verdict]
    bar, note = None, ""
    if one.verdict is Verdict.BLOCKED:
        lift = None
    elif two_groups:
        bar = _lift_bar(lift, axis)
        reasons = {advice.kpi: SHORT_REASONS[advice.reason] for advice in report.advice}
        note = "" if bar else reasons.get(one.kpi, "")
    elif one.elasticity and one.verdict is not Verdict.UNDEFINED:
        bar = axis.bar(one.elasticity.interval, one.elasticity.estimate, tone, _margin(one))
    else:
        reason = one.undefined_reason or (one.headline and one.headline.undefined_reason)
        note = SHORT_UNDEFINED.get(reason, reason.replace("_", " ")) if reason else "undefined"
    return ResultRow(
        number=report.hypotheses.index(one),
        result=one,
        evidence=report.evidence[one.id],
        tone=tone,
        word=word,
        lift=lift,
        bar=bar,
        note=note,
        partial=CHIPS[one.partial.verdict][1] if one.partial and one.partial.headline else "",
    )


def _lift_bar(lift: KpiChange | None, axis: Axis) -> Bar | None:
    if lift is None or lift.measured is None:
        return None
    ends = lift.measured_interval and _percent(lift.measured_interval)
    return axis.bar(ends, 100 * lift.measured, _TONES.get(lift.movement, Tone.OPEN))


def _margin(one: HypothesisResult) -> float | None:
    """The margin of a hypothesis in percent of the KPI per 1% of the metric."""
    if not one.equivalence or not one.elasticity or not one.headline or not one.headline.slope:
        return None
    return one.equivalence.margin * one.elasticity.estimate / one.headline.slope


def _ranked(report: Report) -> tuple[Axis, tuple[RankedRow, ...]]:
    """The best metric of every KPI; empty where hypotheses are declared."""
    if report.hypotheses:
        return Axis.of([]), ()
    best: dict[Kpi, RankedMetric] = {}
    for one in report.metric_ranking:
        best.setdefault(one.kpi, one)
    first = list(best.values())[:MOST_ROWS]
    axis = Axis.of((one.interval for one in first if one.interval), unit="")
    rows = (
        RankedRow(
            number=number,
            found=one,
            bar=axis.bar(one.interval, one.slope, Tone.OPEN) if one.slope is not None else None,
        )
        for number, one in enumerate(first)
    )
    return axis, tuple(rows)


def _decision(
    one: Advice,
    kpis: Sequence[Kpi],
    changes: Sequence[tuple[Advice, KpiChange]],
    axis: Axis,
) -> DecisionRow:
    numbers = {
        change.kpi: (number, change) for number, (of, change) in enumerate(changes) if of is one
    }

    def cell(kpi: Kpi) -> ChangeCell | None:
        if kpi not in numbers:
            return None
        number, change = numbers[kpi]
        ends = quoted(change)
        sure = change.movement is not Movement.INCONCLUSIVE
        estimate = change.change if sure else change.measured
        bar = axis.bar(
            ends and _percent(ends),
            None if estimate is None else 100 * estimate,
            _TONES.get(change.movement, Tone.OPEN),
            100 * one.margin if one.margin else None,
        )
        return ChangeCell(number=number, change=change, own=kpi is one.kpi, bar=bar)

    return DecisionRow(
        advice=one,
        reason=SHORT_REASONS[one.reason],
        cells=tuple(cell(kpi) for kpi in kpis),
    )
