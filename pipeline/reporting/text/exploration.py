"""What explored lists are expected to cost, as lines of text."""

from pipeline.core.labels import metric_label
from pipeline.reporting.text.formatting import percent, percent_trimmed, thousands
from pipeline.results.exploration import ExplorationLoss
from pipeline.results.power import PowerAnalysis
from pipeline.study import ExplorationConfig


def exploration_lines(
    section: ExplorationConfig, loss: ExplorationLoss, power: PowerAnalysis, cutoff: int
) -> list[str]:
    """The cost of exploration next to serving everybody the list of the best items.

    Clicks are taken to fall with the nDCG, which, as clicks do, depends on the position.
    """
    *_, by_position = loss.metrics
    share, days = section.share, power.planned_days
    clicks = power.traffic.ctr * power.traffic.impressions_per_day * days
    lost = " and ".join(
        f"{percent(one.loss)} of {metric_label(one.metric, cutoff)} (standard error "
        f"{percent(one.standard_error)}; by group {percent(min(one.by_group))} to {percent(max(one.by_group))})"
        for one in loss.metrics
    )
    keeps = (
        f"exploration: {percent_trimmed(share)} of the lists are drawn at random, temperature "
        f"{loss.temperature:g}: they keep {percent(loss.kept, 0)} of the best items, and the first one in "
        f"{percent(loss.first_kept, 0)}"
    )
    cost = (
        f"  expected cost, if clicks fall with {metric_label(by_position.metric, cutoff)}: "
        f"{percent(share * by_position.loss, 2)} of the clicks, "
        f"{thousands(round(share * by_position.loss * clicks))} of {thousands(round(clicks))} in {days} days; "
        f"explored lists count for no KPI, so the power is that of {percent_trimmed(1 - share)} of the impressions"
    )
    held_out = f"on {thousands(loss.sessions)} held-out sessions"
    return [keeps, f"  explored lists lose {lost}, {held_out}", cost]
