"""The power of a planned experiment, as lines for the terminal and as figures."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.reporting.figures.charts import COLOURS, INK, STYLE, front_picture
from pipeline.reporting.text.reasons import undefined_words
from pipeline.results.document import FrontPoint, GroupSummary
from pipeline.results.power import PlannedHypothesis, PlanPower, PowerAnalysis

_CURVES = (("significant", COLOURS[0]), ("confirmed", COLOURS[3]))


def plan_lines(plan: TrafficPlan, power: PowerAnalysis, cutoff: int | None) -> list[str]:
    """The plan and its power, line by line.

    Args:
        plan: The traffic plan.
        power: Its power.
        cutoff: The k of metrics whose name has none.
    """
    state = "" if plan.enabled else ", disabled"
    head = (
        f"experiment {plan.experiment}{state}: {len(plan.groups)} groups for "
        f"{power.planned_days} days, {power.traffic.impressions_per_day:,.0f} impressions per day "
        f"(traffic allocation {plan.traffic_share:.0%}, holdout {plan.holdout:.0%}, "
        f"{len(plan.forced_assignment)} forced assignments)"
    )
    groups = [
        f"  {group.name}: {group.share:.1%} of the users, preference "
        f"{group.preference_id}, π = {', '.join(f'{w:.2f}' for w in group.preference)}"
        for group in plan.groups
    ]
    even = f"compared with: {', '.join(power.design.even)}, evenly spaced over the same grid"
    return [head, *groups, even, *power_lines(power, cutoff)]


def power_lines(power: PowerAnalysis, cutoff: int | None) -> list[str]:
    """The power for each hypothesis."""
    found = (_of_hypothesis(one, power, cutoff) for one in power.hypotheses)
    return [line for lines in found for line in lines]


def _of_hypothesis(one: PlannedHypothesis, power: PowerAnalysis, cutoff: int | None) -> list[str]:
    name = f"{one.id}, {metric_label(one.metric, cutoff)} → {KPI_LABELS[one.response]}"
    if not (one.chosen and one.even and one.information):
        return [f"{name}: {undefined_words(one.undefined_reason)}"]
    chosen, even, gain = one.chosen, one.even, one.information.gain
    sign = "" if one.direction == "positive" else "-"
    target = f"{power.target_power:.0%}"
    confirmed = _percent(chosen.power.confirmed)
    slopes = f"{_slopes(chosen, sign)} (evenly spaced: {_slopes(even, sign)})"
    more = ""
    if gain is not None:
        word = "more" if gain > 0 else "less"
        more = f"; the plan has {abs(gain):.0%} {word} information on the slope"
    return [
        f"{name}, if its slope is {sign}{one.slope:g}:",
        f"  power: significant {chosen.power.significant:.0%}, confirmed {confirmed}",
        f"  {target} power after {_all_days(chosen)}",
        f"  evenly spaced: {_all_days(even)}{more}",
        f"  minimum detectable slope with {target} power: {slopes}",
    ]


def _all_days(power: PlanPower) -> str:
    significant = _days(power.days_to_significant, power.impressions_to_significant)
    confirmed = _days(power.days_to_confirmed, power.impressions_to_confirmed)
    return f"{significant} (significant), {confirmed} (confirmed)"


def _days(days: int | None, impressions: int | None) -> str:
    if days is None:
        return "never (more days do not help; more groups may)"
    return f"{days} {'day' if days == 1 else 'days'} ({impressions:,} impressions)"


def _percent(power: float | None) -> str:
    return "none (there are two groups)" if power is None else f"{power:.0%}"


def _slopes(power: PlanPower, sign: str) -> str:
    found = {
        "significant": power.minimum_detectable_significant,
        "confirmed": power.minimum_detectable_confirmed,
    }
    return ", ".join(
        f"{'none' if slope is None else f'{sign}{slope:.3g}'} {ending}"
        for ending, slope in found.items()
    )


def design_picture(
    points: Sequence[FrontPoint],
    groups: Sequence[GroupSummary],
    even: Sequence[str],
    cutoff: int | None,
) -> Figure:
    """The front with the plan's groups; rings are evenly spaced preferences."""
    figure = front_picture(points, groups, cutoff)
    with mpl.rc_context(STYLE):
        ax = figure.axes[0]
        spaced = [point for point in points if point.preference_id in even]
        ax.plot(
            [point.recall for point in spaced],
            [point.order_density for point in spaced],
            linestyle="none",
            marker="o",
            markersize=15,
            color="none",
            markeredgecolor=COLOURS[3],
            label="evenly spaced π",
        )
        ax.legend(loc="lower left", fontsize=9)
    return figure


def power_picture(power: PowerAnalysis, cutoff: int | None) -> Figure:
    """The power over days for every hypothesis; dashed with evenly spaced preferences."""
    hypotheses = power.hypotheses
    rows, columns = -(-len(hypotheses) // 2), min(2, len(hypotheses))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * columns, 2.9 * rows))
        figure.set_layout_engine("constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax in axes.flat[len(hypotheses) :]:
            ax.set_axis_off()
        for ax, one in zip(axes.flat, hypotheses, strict=False):
            _curves(ax, one, power, cutoff)
        return figure


def _curves(ax: Axes, one: PlannedHypothesis, power: PowerAnalysis, cutoff: int | None) -> None:
    metric, sign = metric_label(one.metric, cutoff), "−" * (one.direction == "negative")
    ax.set_title(f"{one.id}: {metric} → {KPI_LABELS[one.response]}, slope {sign}{one.slope:g}")
    if not (one.chosen and one.even):
        words = undefined_words(one.undefined_reason)
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, wrap=True)
        return
    for ending, colour in _CURVES:
        for powers, dashes, suffix in ((one.chosen, "-", ""), (one.even, "--", ", evenly spaced")):
            curve: Sequence[float | None] = getattr(powers, f"power_{ending}")
            known = [(day, p) for p, day in zip(curve, powers.days, strict=True) if p is not None]
            ax.plot(
                [day for day, _ in known],
                [100 * p for _, p in known],
                linestyle=dashes,
                color=colour,
                label=ending + suffix,
            )
    ax.axhline(100 * power.target_power, color=INK, linewidth=0.6)
    ax.axvline(power.planned_days, color=INK, linewidth=0.6)
    ax.set_ylim(0, 103)
    ax.set_xlabel("days")
    ax.set_ylabel("power [%]")
    ax.legend(fontsize=7, loc="lower right")
