"""What an experiment promises before it begins: in lines for the terminal, and in pictures."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.reporting.figures.charts import COLOURS, INK, STYLE, front_picture

_CURVES = (("shown", COLOURS[0]), ("confirmed", COLOURS[3]))


def plan_lines(plan: dict[str, Any], power: dict[str, Any], cutoff: int) -> list[str]:
    """The plan and its power, line by line.

    Args:
        plan: What ``traffic_plan.json`` holds.
        power: What ``power.json`` holds.
        cutoff: Of the metrics whose name has none.
    """
    traffic, design = power["traffic"], power["design"]
    state = "" if plan["enabled"] else ", switched off"
    head = (
        f"experiment {plan['experiment']}{state}: {len(plan['groups'])} groups for "
        f"{power['planned_days']} days, {traffic['impressions_per_day']:,.0f} impressions a day "
        f"(coverage {plan['traffic_share']:.0%}, holdout {plan['holdout']:.0%}, "
        f"{len(plan['forced_assignment'])} testers)"
    )
    lines = [head]
    lines += [
        f"  {group['name']}: {group['share']:.1%} of the users, preference "
        f"{group['preference_id']}, π = {', '.join(f'{w:.2f}' for w in group['preference'])}"
        for group in plan["groups"]
    ]
    lines.append(
        f"beside it: {', '.join(design['even'])}, evenly spaced over the same grid of preferences"
    )
    return lines + power_lines(power, cutoff)


def power_lines(power: dict[str, Any], cutoff: int) -> list[str]:
    """What the plan promises for each hypothesis."""
    found = (_of_hypothesis(one, power, cutoff) for one in power["hypotheses"])
    return [line for lines in found for line in lines]


def _of_hypothesis(one: dict[str, Any], power: dict[str, Any], cutoff: int) -> list[str]:
    name = f"{one['id']}, {metric_label(one['metric'], cutoff)} → {KPI_LABELS[one['response']]}"
    if one["undefined_because"]:
        return [f"{name}: {one['undefined_because']}"]
    chosen, even, gain = one["chosen"], one["even"], one["informed"]["gain"]
    sign = "" if one["direction"] == "positive" else "-"
    wanted = f"{power['wanted_power']:.0%}"
    shown = (
        f"  shown with a chance of {chosen['power']['shown']:.0%}, "
        f"confirmed with {_chance(chosen['power']['confirmed'])}"
    )
    enough = (
        f"  {wanted} after {_days(chosen, 'show')} to show it and "
        f"{_days(chosen, 'confirm')} to confirm it"
    )
    beside = f"  evenly spaced: {_days(even, 'show')} and {_days(even, 'confirm')}"
    if gain is not None:
        more = "more" if gain > 0 else "less"
        beside += f"; the plan has {abs(gain):.0%} {more} information on the slope"
    slopes, beside_slopes = (_slopes(reach, sign) for reach in (chosen, even))
    flattest = f"  flattest slope with {wanted}: {slopes} (evenly spaced: {beside_slopes})"
    return [f"{name}, if its slope is {sign}{one['slope']:g}:", shown, enough, beside, flattest]


def _days(reach: dict[str, Any], end: str) -> str:
    days, impressions = reach[f"days_to_{end}"], reach[f"impressions_to_{end}"]
    if days is None:
        return "never (more days do not help; more groups may)"
    return f"{days} {'day' if days == 1 else 'days'} ({impressions:,} impressions)"


def _chance(chance: float | None) -> str:
    return "none (there are two groups)" if chance is None else f"{chance:.0%}"


def _slopes(reach: dict[str, Any], sign: str) -> str:
    found = [(reach[f"detectable_{ending}"], ending) for ending, _ in _CURVES]
    return ", ".join(f"{'none' if s is None else f'{sign}{s:.3g}'} {ending}" for s, ending in found)


def design_picture(
    points: Sequence[dict[str, Any]],
    groups: Sequence[dict[str, Any]],
    even: Sequence[str],
    cutoff: int,
) -> Figure:
    """The front with the plan's groups on it; rings are evenly spaced preferences."""
    figure = front_picture(points, groups, cutoff)
    with mpl.rc_context(STYLE):
        ax = figure.axes[0]
        spaced = [point for point in points if point["preference_id"] in even]
        ax.plot(
            [point["recall"] for point in spaced],
            [point["order_density"] for point in spaced],
            linestyle="none",
            marker="o",
            markersize=15,
            color="none",
            markeredgecolor=COLOURS[3],
            label="evenly spaced π",
        )
        ax.legend(loc="lower left", fontsize=9)
    return figure


def power_picture(power: dict[str, Any], cutoff: int) -> Figure:
    """The chance of every hypothesis after so many days; dashed with evenly spaced preferences."""
    told = power["hypotheses"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * min(2, len(told)), 2.9 * -(-len(told) // 2)))
        figure.set_layout_engine("constrained")
        axes = figure.subplots(-(-len(told) // 2), min(2, len(told)), squeeze=False)
        for ax in axes.flat[len(told) :]:
            ax.set_axis_off()
        for ax, one in zip(axes.flat, told, strict=False):
            _curves(ax, one, power, cutoff)
        return figure


def _curves(ax: Axes, one: dict[str, Any], power: dict[str, Any], cutoff: int) -> None:
    metric, sign = metric_label(one["metric"], cutoff), "−" * (one["direction"] == "negative")
    ax.set_title(
        f"{one['id']}: {metric} → {KPI_LABELS[one['response']]}, slope {sign}{one['slope']:g}"
    )
    if one["undefined_because"]:
        words = one["undefined_because"]
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, wrap=True)
        return
    for ending, colour in _CURVES:
        for place, dashes in (("chosen", "-"), ("even", "--")):
            chances = [one[place][f"chance_{ending}"], one[place]["days"]]
            known = [(day, c) for c, day in zip(*chances, strict=True) if c is not None]
            label = ending if place == "chosen" else f"{ending}, evenly spaced"
            ax.plot(
                [day for day, _ in known],
                [100 * chance for _, chance in known],
                linestyle=dashes,
                color=colour,
                label=label,
            )
    ax.axhline(100 * power["wanted_power"], color=INK, linewidth=0.6)
    ax.axvline(power["planned_days"], color=INK, linewidth=0.6)
    ax.set_ylim(0, 103)
    ax.set_xlabel("days")
    ax.set_ylabel("chance [%]")
    ax.legend(fontsize=7, loc="lower right")
