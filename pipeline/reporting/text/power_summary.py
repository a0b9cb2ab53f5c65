"""The power of a planned experiment, as lines of text."""

from pipeline.core.labels import KPI_LABELS, counted, metric_label
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.reporting.text.formatting import percent, thousands
from pipeline.reporting.text.plan_costs import (
    adaptive_line,
    cost_lines,
    offer_lines,
    rival_lines,
)
from pipeline.reporting.text.reasons import undefined_words
from pipeline.results.power import PlannedHypothesis, PlanPower, Power, PowerAnalysis


def plan_lines(plan: TrafficPlan, power: PowerAnalysis, cutoff: int) -> list[str]:
    """The traffic plan and its power; ``cutoff`` is the k of metrics whose name has none."""
    state = "" if plan.enabled else " (disabled)"
    head = (
        f"experiment {plan.experiment}{state}: {counted(len(plan.groups), 'group')} for "
        f"{counted(power.planned_days, 'day')}, {power.traffic.impressions_per_day:,.0f} impressions per day (traffic share "
        f"{percent(plan.traffic_share, 0)}, holdout {percent(plan.holdout, 0)}, forced assignments "
        f"{len(plan.forced_assignment)})"
    )
    groups = [
        f"  {group.name}: {percent(group.share)} of users, preference {group.preference_id}, π = "
        f"{', '.join(f'{weight:.2f}' for weight in group.preference)}"
        f"{f', {level}' if (level := plan.level_label(group)) else ''}"
        for group in plan.groups
    ]
    even = [f"compared with evenly spaced preferences: {', '.join(power.design.even)}"]
    if power.design.one_front:
        even.append(
            f"compared with the plan on the front alone: {', '.join(power.design.one_front)}"
        )
    return [head, *groups, *even, *power_lines(power, cutoff)]


def power_lines(power: PowerAnalysis, cutoff: int | None) -> list[str]:
    """The power of the plan for each hypothesis, and what the plan costs."""
    found = (_of_hypothesis(one, power, cutoff) for one in power.hypotheses)
    return [
        *(line for lines in found for line in lines),
        *cost_lines(power, cutoff),
        *offer_lines(power.offers),
    ]


def _of_hypothesis(
    one: PlannedHypothesis, analysis: PowerAnalysis, cutoff: int | None
) -> list[str]:
    target = analysis.target_power
    name = f"{one.id}, {metric_label(one.metric, cutoff)} → {KPI_LABELS[one.response]}"
    if one.undefined_reason:
        return [f"{name}: {undefined_words(one.undefined_reason)}"]
    chosen, even = one.chosen, one.even
    assert chosen
    assert even
    sign = "" if one.direction == "positive" else "-"
    gain = one.information and one.information.gain
    information = ""
    if gain is not None:
        more = "more" if gain > 0 else "less"
        information = f"; the plan has {percent(abs(gain), 0)} {more} information on the slope"
    slopes = f"{_slope(chosen, sign)} (evenly spaced: {_slope(even, sign)})"
    return [
        f"{name}, assumed slope {sign}{one.slope:g}:",
        f"  power at the planned end: {_power(chosen.power)}",
        f"  {percent(target, 0)} power {_days(chosen)}",
        f"  evenly spaced: {_days(even)}{information}",
        f"  minimum detectable slope at {percent(target, 0)} power: {slopes}",
        *([adaptive_line(one.adaptive, analysis.planned_days)] if one.adaptive else []),
        *rival_lines(one, cutoff),
    ]


def _power(power: Power) -> str:
    confirmed = power.confirmed
    sure = "undefined with two groups" if confirmed is None else percent(confirmed, 0)
    return f"{sure} (confirmed), {percent(power.suggestive, 0)} (at least suggestive)"


def _days(reach: PlanPower) -> str:
    days, impressions = reach.days_to_confirmed, reach.impressions_to_confirmed
    if days is None:
        return "not reached: more days do not help, more groups may"
    return f"after {counted(days, 'day')} with {thousands(impressions)} impressions"


def _slope(reach: PlanPower, sign: str) -> str:
    slope = reach.minimum_detectable_slope
    return "none" if slope is None else f"{sign}{slope:.3g}"
