"""Sentences on metrics that an experiment cannot tell apart."""

from collections.abc import Sequence

from pipeline.core.labels import counted, metric_label
from pipeline.inference.hypotheses.inputs import RESPONSE
from pipeline.inference.ranking.metric_comparison import LEAST_GROUPS, ONE_DIRECTION
from pipeline.reporting.text.formatting import correlation, number
from pipeline.results.decisions import Advice, RankedMetric, Rival, SharedDirection
from pipeline.results.reasons import Verdict

_NAMED = 4
"""Rivals that a sentence names; the others are counted."""

_RUNNERS_UP = 2
_SEPARATE = (
    "To tell them apart, serve groups that differ in one of these metrics but not in the others."
)


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
    if (others := len(rivals) - _NAMED) > 0:
        named.append(counted(others, "other"))
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


def direction_words(one: SharedDirection, cutoff: int | None) -> str:
    """That hypotheses are one result; without the correlation and the full stop."""
    metrics = joined([metric_label(metric, cutoff) for metric in one.metrics])
    return (
        f"{joined(one.hypotheses)} are one direction of the front and count as one result: "
        f"{metrics} move together over the groups"
    )


def direction_sentence(one: SharedDirection, cutoff: int | None) -> str:
    """That hypotheses are one result."""
    return f"{direction_words(one, cutoff)} (|r| ≥ {number(one.least_correlation)})."


def joined(names: Sequence[str]) -> str:
    """Names as text: ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def optimise_words(advice: Advice, sentence: str, verdict: Verdict, cutoff: int | None) -> str:
    """Which metric to optimise along this front, or that none alone is recommended.

    Args:
        advice: With a metric to optimise, or with rivals of one.
        sentence: The result of its hypothesis.
        verdict: Of the hypothesis.
        cutoff: The k of metrics whose name has none.
    """
    if advice.optimise is None:
        return f"no metric alone. {sentence} {_SEPARATE}"
    metric = metric_label(advice.optimise.metric, cutoff)
    caution = ", with caution" if verdict is Verdict.SUGGESTIVE else ""
    return f"{advice.optimise.direction} {metric} along this front{caution}. {sentence}"


def runners_up(advice: Advice, ranking: Sequence[RankedMetric]) -> list[RankedMetric]:
    """The next best metrics after the one to optimise, of which they are told apart."""
    if advice.optimise is None:
        return []
    own = [one for one in ranking if one.kpi is RESPONSE[advice.kpi]]
    others = [one for one in own if one.metric != advice.optimise.metric]
    return [one for one in others if one.correlation_with_best is not None][:_RUNNERS_UP]
