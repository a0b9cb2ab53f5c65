"""The power of a planned experiment, as lines of text."""

from typing import Any

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.reporting.text.formatting import percent, thousands


def plan_lines(plan: dict[str, Any], power: dict[str, Any], cutoff: int) -> list[str]:
    """The traffic plan and its power.

    Args:
        plan: Content of ``traffic_plan.json``.
        power: Content of ``power.json``.
        cutoff: The k of metrics whose name has none.
    """
    state = "" if plan["enabled"] else " (disabled)"
    head = (
        f"experiment {plan['experiment']}{state}: {len(plan['groups'])} groups for "
        f"{power['planned_days']} days, {power['traffic']['impressions_per_day']:,.0f} impressions "
        f"per day (traffic share {percent(plan['traffic_share'], 0)}, holdout "
        f"{percent(plan['holdout'], 0)}, forced assignments {len(plan['forced_assignment'])})"
    )
    groups = [
        f"  {group['name']}: {percent(group['share'])} of users, preference "
        f"{group['preference_id']}, π = {', '.join(f'{weight:.2f}' for weight in group['preference'])}"
        for group in plan["groups"]
    ]
    even = f"compared with evenly spaced preferences: {', '.join(power['design']['even'])}"
    return [head, *groups, even, *power_lines(power, cutoff)]


def power_lines(power: dict[str, Any], cutoff: int) -> list[str]:
    """The power of the plan for each hypothesis."""
    found = (_of_hypothesis(one, power, cutoff) for one in power["hypotheses"])
    return [line for lines in found for line in lines]


def _of_hypothesis(one: dict[str, Any], power: dict[str, Any], cutoff: int) -> list[str]:
    name = f"{one['id']}, {metric_label(one['metric'], cutoff)} → {KPI_LABELS[one['response']]}"
    if one["undefined_because"]:
        return [f"{name}: {one['undefined_because']}"]
    chosen, even, gain = one["chosen"], one["even"], one["informed"]["gain"]
    sign = "" if one["direction"] == "positive" else "-"
    wanted = f"{percent(power['wanted_power'], 0)} power"
    information = ""
    if gain is not None:
        more = "more" if gain > 0 else "less"
        information = f"; the plan has {percent(abs(gain), 0)} {more} information on the slope"
    reached = f"{_days(chosen, 'show')} (significant), {_days(chosen, 'confirm')} (confirmed)"
    slopes = f"{_slopes(chosen, sign)} (evenly spaced: {_slopes(even, sign)})"
    return [
        f"{name}, assumed slope {sign}{one['slope']:g}:",
        f"  power at the planned end: {_power(chosen['power'])}",
        f"  {wanted} after {reached}",
        f"  evenly spaced: {_days(even, 'show')}, {_days(even, 'confirm')}{information}",
        f"  minimum detectable slope at {wanted}: {slopes}",
    ]


def _power(power: dict[str, Any]) -> str:
    confirmed = power["confirmed"]
    both = "never with two groups" if confirmed is None else percent(confirmed, 0)
    return f"{percent(power['shown'], 0)} (significant), {both} (confirmed)"


def _days(reach: dict[str, Any], end: str) -> str:
    days, impressions = reach[f"days_to_{end}"], reach[f"impressions_to_{end}"]
    if days is None:
        return "never: more days do not help, more groups may"
    return f"{days} {'day' if days == 1 else 'days'} with {thousands(impressions)} impressions"


def _slopes(reach: dict[str, Any], sign: str) -> str:
    slopes = (
        (reach["detectable_shown"], "significant"),
        (reach["detectable_confirmed"], "confirmed"),
    )
    return ", ".join(f"{'none' if s is None else f'{sign}{s:.3g}'} {name}" for s, name in slopes)
