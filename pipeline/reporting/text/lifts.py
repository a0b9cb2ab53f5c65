"""The change of a KPI against the control, as text."""

from pipeline.reporting.text.formatting import (
    ABSENT,
    change,
    change_interval,
    digits_for,
    kpi,
    p_statement,
    percent,
    percent_trimmed,
    signed,
)
from pipeline.results.lifts import KpiLift
from pipeline.results.reasons import AdviceReason
from pipeline.results.slopes import Change, Interval

_REASONS = {
    AdviceReason.NO_TRIALS: "a group has no trials",
    AdviceReason.NOT_POSITIVE: "a group's KPI is 0 or less, so it has no ratio",
    AdviceReason.USERS_UNKNOWN: "sums over users are required (such as {kpi}_sum_yy)",
}


def lift_words(
    value: float | None, ends: Interval | None, *, least_digits: int = 0, alone: int = 2
) -> str:
    """A relative change with its interval, such as ``+5.2% (+1.1% to +9.4%)``.

    It has the decimals of the interval, ``least_digits`` at least; without an interval ``alone``.
    """
    if value is None:
        return ABSENT
    if ends is None:
        return f"{signed(100 * value, alone)}%"
    digits = max(least_digits, digits_for(*(100 * end for end in ends)))
    shown, low, high = (f"{signed(100 * one, digits)}%" for one in (value, *ends))
    return f"{shown} ({low} to {high})"


def lift_sentence(one: KpiLift, level: float) -> str:
    """The change of a KPI, with its confidence interval and the analyses that vary it."""
    head = f"{kpi(one.kpi)}: {one.group} against {one.control}"
    if one.interval is None or one.lift is None or one.p_value is None:
        reason = _REASONS[one.undefined_reason or AdviceReason.NOT_POSITIVE].format(
            kpi=one.kpi.value
        )
        known = f"{lift_words(one.lift, None)}, " if one.lift is not None else ""
        return f"{head}: {known}no confidence interval, because {reason}."
    found = Change(change=one.lift, interval=one.interval)
    text = (
        f"{head}: {change(found)} ({percent_trimmed(level)} CI {change_interval(found)}, "
        f"{p_statement(one.p_value)})"
    )
    if one.cuped:
        adjusted = lift_words(one.cuped.lift, one.cuped.interval)
        text += f"; with CUPED {adjusted}, variance {percent(one.cuped.variance_share, 0)}"
    if one.anytime:
        whole = Change(change=one.lift, interval=one.anytime.interval)
        text += f"; anytime-valid CI {change_interval(whole)}"
    return f"{text}."
