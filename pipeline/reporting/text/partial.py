"""Sentences on partial slopes: of one metric with the other declared metrics of the KPI held fixed."""

from collections.abc import Mapping, Sequence

from pipeline.core.contracts import Kpi
from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.experiment.design.optimal_design.joint_information import (
    LARGEST_INFLATION,
    fewest_groups,
)
from pipeline.reporting.text.confounding import joined
from pipeline.reporting.text.formatting import (
    effect_digits,
    interval,
    number,
    percent_trimmed,
    signed,
    variance_inflation,
)
from pipeline.reporting.text.reasons import VERDICTS, undefined_words
from pipeline.results.hypothesis import HypothesisResult, PartialSlope
from pipeline.results.reasons import UndefinedReason, Verdict

_REFUSED = {UndefinedReason.FEW_GROUPS_FOR_METRICS, UndefinedReason.COLLINEAR_METRICS}


def partial_sentences(results: Sequence[HypothesisResult], cutoff: int | None) -> list[str]:
    """One sentence per partial slope, and one per KPI for all that are refused."""
    stated: list[str] = []
    refused: dict[Kpi, dict[str, PartialSlope]] = {}
    for one in results:
        if one.partial is None:
            continue
        if one.partial.undefined_reason in _REFUSED:
            refused.setdefault(one.response, {})[one.metric] = one.partial
        else:
            stated.append(_stated(one, one.partial, cutoff))
    return stated + [_refused(kpi, partials, cutoff) for kpi, partials in refused.items()]


def _stated(result: HypothesisResult, partial: PartialSlope, cutoff: int | None) -> str:
    held = joined([metric_label(one, cutoff) for one in partial.held_fixed])
    names = f"{metric_label(result.metric, cutoff)} and {KPI_LABELS[result.kpi]} ({result.id})"
    word = VERDICTS[partial.verdict].partition(":")[0]
    begun = f"{names}, {held} held fixed: {word}"
    size = partial.elasticity
    if partial.verdict is Verdict.BLOCKED or partial.headline is None or size is None:
        reason = partial.undefined_reason
        return f"{begun}, {undefined_words(reason)}." if reason else f"{begun}."
    digits = max(2, effect_digits(size))
    return (
        f"{begun}, {signed(size.estimate, digits)}% per 1% ({percent_trimmed(partial.headline.level)} CI "
        f"{interval(size.interval, digits)}; VIF {variance_inflation(partial.variance_inflation)})."
    )


def _refused(response: Kpi, partials: Mapping[str, PartialSlope], cutoff: int | None) -> str:
    """That the groups do not separate the metrics of a KPI; their partial slopes by metric."""
    kpi = KPI_LABELS[response]
    for one in partials.values():
        if one.undefined_reason is UndefinedReason.FEW_GROUPS_FOR_METRICS:
            metrics = len(one.held_fixed) + 1
            return f"No partial slopes for {kpi}: {metrics} metrics need {fewest_groups(metrics)} groups."
    names = dict.fromkeys(
        name for metric, one in partials.items() for name in (metric, *one.collinear_with)
    )
    largest = max(partials.values(), key=lambda one: one.variance_inflation or float("inf"))
    return (
        f"No partial slopes for {kpi}: {joined([metric_label(name, cutoff) for name in names])} cannot "
        f"be told apart (VIF {variance_inflation(largest.variance_inflation)}; at most {number(LARGEST_INFLATION, 0)})."
    )
