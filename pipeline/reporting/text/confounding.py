"""Sentences on metrics that an experiment cannot tell apart."""

from collections.abc import Sequence

from pipeline.core.labels import metric_label
from pipeline.inference.hypotheses.inputs import RESPONSE
from pipeline.inference.ranking.metric_comparison import LEAST_GROUPS, ONE_DIRECTION
from pipeline.reporting.text.formatting import number
from pipeline.results.decisions import Advice, Rival, SharedDirection
from pipeline.results.document import Report
from pipeline.results.reasons import Verdict

_NAMED = 4
"""Rivals that a sentence names; the others are counted."""

_RUNNERS_UP = 2
_SEPARATE = (
    "To tell them apart, serve groups that differ in one of these metrics but not in the others."
)


def correlation(value: float) -> str:
    """A correlation as ``r = −0.62``; with four decimals where it is near 1."""
    return f"r = {number(value, 4 if abs(value) >= ONE_DIRECTION else 2)}"


def rivals_sentence(
    metric: str, rivals: Sequence[Rival], groups: int, cutoff: int | None
) -> str | None:
    """That a metric cannot be told apart from its rivals, and why; None without rivals."""
    if not rivals:
        return None
    named = [
        f"{metric_label(one.metric, cutoff)} ({correlation(one.correlation)})"
        for one in rivals[:_NAMED]
    ]
    if others := len(rivals) - _NAMED if len(rivals) > _NAMED else 0:
        named.append(f"{others} other{'s' if others > 1 else ''}")
    listed = joined([metric_label(metric, cutoff), *named])
    return f"{listed} cannot be told apart in this experiment: {_why(rivals, groups)}."


def _why(rivals: Sequence[Rival], groups: int) -> str:
    together = [abs(one.correlation) >= ONE_DIRECTION for one in rivals]
    if all(together):
        return "they move together along this front"
    if groups < LEAST_GROUPS:
        return f"{groups} groups do not tell metrics apart"
    if any(together):
        return "along this front they move together, or predict the KPI about equally well"
    return "along this front they predict the KPI about equally well"


def direction_sentence(one: SharedDirection, cutoff: int | None) -> str:
    """That hypotheses are one result."""
    metrics = joined([metric_label(metric, cutoff) for metric in one.metrics])
    return (
        f"{joined(one.hypotheses)} are one direction of the front and count as one result: "
        f"{metrics} move together over the groups (|r| ≥ {_rounded_down(one.least_correlation)})."
    )


def _rounded_down(share: float) -> str:
    return f"{int(share * 1e4) / 1e4:.4f}"


def joined(names: Sequence[str]) -> str:
    """A list in words: ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def optimise_words(
    advice: Advice, sentence: str, verdict: Verdict, report: Report, cutoff: int | None
) -> str:
    """Which metric to optimise along this front, or that none alone is recommended.

    Args:
        advice: With a metric to optimise, or with rivals of one.
        sentence: The result of its hypothesis.
        verdict: Of the hypothesis.
        report: With the ranking of the other metrics.
        cutoff: The k of metrics whose name has none.
    """
    if advice.optimise is None:
        return f"no metric alone. {sentence} {_SEPARATE}"
    metric, caution = advice.optimise.metric, verdict is Verdict.SUGGESTIVE
    words = f"{advice.optimise.direction} {metric_label(metric, cutoff)} along this front"
    others = [one for one in report.metric_ranking if one.kpi is RESPONSE[advice.kpi]]
    runners_up = [
        f"{metric_label(one.metric, cutoff)} ({correlation(one.correlation_with_best)})"
        for one in others
        if one.metric != metric and one.correlation_with_best is not None
    ]
    return f"{words}{', with caution' if caution else ''}. {sentence} {_apart(runners_up)}"


def _apart(runners_up: Sequence[str]) -> str:
    if not runners_up:
        return "No other metric is measured, so it cannot be told apart from any."
    return (
        "It is told apart from the other measured metrics; the next best "
        f"{'is' if len(runners_up) == 1 else 'are'} {joined(runners_up[:_RUNNERS_UP])}."
    )
