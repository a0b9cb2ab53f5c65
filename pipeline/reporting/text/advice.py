"""The advice on which group to ship."""

from pipeline.core.labels import KPI_LABELS
from pipeline.reporting.text.formatting import (
    ABSENT,
    change,
    change_interval,
    percent_trimmed,
    thousands,
)
from pipeline.results.decisions import Advice, KpiChange
from pipeline.results.reasons import Action, AdviceReason, Movement
from pipeline.results.slopes import Change

_REASONS = {
    AdviceReason.WITHIN_MARGIN: (
        "no difference: the {kpi} of all groups is within {margin} of {everything}, so any group can "
        "ship"
    ),
    AdviceReason.NOT_SIGNIFICANT: (
        "no recommendation: inconclusive; no group is significantly better than {baseline}{anyway}"
    ),
    AdviceReason.CONTROL_LEADS: (
        "no recommendation: inconclusive; no group has a higher {kpi} than {baseline}"
    ),
    AdviceReason.FEW_USERS: (
        "no recommendation: inconclusive; one of the groups compared has only {users} users with a "
        "trial, 10 are required"
    ),
    AdviceReason.FEW_EVENTS: (
        "no recommendation: inconclusive; the groups compared have only {events} events, 10 are "
        "required"
    ),
    AdviceReason.BEFORE_PLANNED_END: (
        "keep the current group: the experiment has not reached its planned end, and no group is "
        "significantly better than {baseline} by the anytime-valid test"
    ),
    AdviceReason.SAMPLE_RATIO: (
        "keep the current group and find the cause of the sample ratio mismatch"
    ),
    AdviceReason.USERS_UNKNOWN: (
        "no recommendation: {unknown} without sums over users. Add the column{s} {columns}"
    ),
    AdviceReason.NO_COUNTS: "no recommendation: the KPI is not counted",
    AdviceReason.NO_TRIALS: "no recommendation: a group has no trials of this KPI",
    AdviceReason.NOT_POSITIVE: "no recommendation: the revenue of a group is 0 or less",
}
_ONE_TRIAL = ", or confirm with --one-trial-per-user that no user has more than one impression"


def ship_words(advice: Advice, preference: str = "") -> str:
    """Which group to ship, or why none; ``preference`` describes the group's π, if it has one."""
    if advice.action is Action.SHIP:
        return f"{advice.group}{preference and f' ({preference})'}{_ship_details(advice)}."
    words = _REASONS[advice.reason].format(
        kpi=KPI_LABELS[advice.kpi],
        baseline=_baseline(advice),
        everything=_baseline(advice) if advice.control else "each other",
        margin=percent_trimmed(advice.margin),
        anyway=", even if the trials of a user are independent" if advice.users is None else "",
        users=thousands(advice.users),
        events=thousands(advice.events),
        unknown="the correlation of a user's trials is unknown"
        if advice.kpi.is_binary
        else "the error of this KPI is unknown",
        s="s" if len(advice.missing_columns) > 1 else "",
        columns=", ".join(advice.missing_columns),
    )
    unknown = advice.reason is AdviceReason.USERS_UNKNOWN
    return f"{words}{_ONE_TRIAL if unknown and advice.kpi.is_binary else ''}."


def _ship_details(advice: Advice) -> str:
    parts: list[str] = []
    if not advice.explained:
        parts.append(
            f"it is better than {advice.baseline} as measured; no confirmed metric explains the "
            "difference"
        )
    if advice.indistinguishable:
        names = ", ".join(advice.indistinguishable)
        parts.append(f"the difference from {names} is inconclusive")
    return "".join(f"; {part}" for part in parts)


def _baseline(advice: Advice) -> str:
    named = advice.control and str(advice.baseline).lower() == "control"
    return str(advice.baseline) if named else f"{advice.baseline}, {_role(advice)}"


def _role(advice: Advice) -> str:
    return "the control" if advice.control else "the group with the lowest value"


def expected_words(advice: Advice) -> str:
    """The expected change of the group to ship, with the measured one; empty without a group."""
    if advice.action is not Action.SHIP:
        return ""
    if advice.expected is None:
        return (
            f"How much better it is than {_baseline(advice)}, is not stated: one of them has too few "
            "events."
        )
    return f"{_expected(advice.expected, advice.candidates)} against {_baseline(advice)}."


def _expected(found: KpiChange, candidates: int) -> str:
    words = f"{change(found)} ({change_interval(found)}"
    if found.measured is None:
        return f"{words})"
    measured = change(Change(change=found.measured, interval=found.interval))
    if abs(found.change) >= abs(found.measured):
        return f"{words}; measured {measured})"
    why = (
        f"the best of {candidates} was picked"
        if candidates > 1
        else "significant changes are overstated on average"
    )
    return f"{words}; measured {measured}, drawn in because {why})"


def predicted_words(advice: Advice) -> str:
    """What the fitted line predicts of the same change; empty if it predicts nothing."""
    found = advice.predicted_change
    return f"{change(found)} ({change_interval(found)})" if found else ""


def moved(found: KpiChange) -> str:
    """A change with its interval, or that it is inconclusive with the interval as measured."""
    if found.movement is not Movement.INCONCLUSIVE:
        return f"{change(found)} ({change_interval(found)})"
    if found.measured is None or found.measured_interval is None:
        return "inconclusive"
    measured = Change(change=found.measured, interval=found.measured_interval)
    return f"inconclusive ({change_interval(measured)})"


def moved_briefly(found: KpiChange) -> str:
    """A change, or the range of an inconclusive one as measured, such as −18…+15%."""
    if found.movement is not Movement.INCONCLUSIVE:
        return change(found)
    if found.measured is None or found.measured_interval is None:
        return ABSENT
    measured = Change(change=found.measured, interval=found.measured_interval)
    return change_interval(measured).replace("% to ", "…")


def measured_briefly(found: KpiChange) -> str:
    """A change as measured, with the decimals of its interval."""
    if found.measured is None:
        return ABSENT
    return change(Change(change=found.measured, interval=found.measured_interval or found.interval))


def advice_sentence(advice: Advice) -> str:
    """The advice for one KPI in one line."""
    kpi = KPI_LABELS[advice.kpi]
    head = f"{kpi[0].upper()}{kpi[1:]}"
    if advice.action is not Action.SHIP:
        return f"{head}: {ship_words(advice)}"
    trades = "; ".join(f"{KPI_LABELS[one.kpi]} {moved(one)}" for one in advice.trade_offs)
    expect = "Expect " if advice.expected else ""
    parts = [f"{head}: ship {ship_words(advice)}", f"{expect}{expected_words(advice)}"]
    if trades:
        parts.append(f"Trade-offs: {trades}.")
    return " ".join(parts)
