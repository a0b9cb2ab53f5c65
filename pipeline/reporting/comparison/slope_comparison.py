"""Slopes side by side, and whether they differ."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from pipeline.inference.glm.wald import wald_test
from pipeline.inference.meta.slope_contrasts import slope_differences
from pipeline.reporting.text.reasons import exclusion_words
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.pooled import MeasuredSlope
from pipeline.results.reader import StudyReport
from pipeline.results.serialization import to_dict

Doubts = Mapping[tuple[str, str], Sequence[str]]
"""By two labels, why their studies may not be independent."""


def compare_slopes(
    studies: Sequence[StudyReport], doubts: Doubts, *, level: float
) -> list[dict[str, Any]]:
    """An entry an offline metric and KPI: every study's slope, and the difference of every two."""
    answers = {one.label: one.answers() for one in studies}
    asked = dict.fromkeys(key for of_study in answers.values() for key in of_study)
    pairs = [
        (key, first, second)
        for key in asked
        for first, second in combinations(answers, 2)
        if _comparable(answers[first].get(key), answers[second].get(key))
    ]
    differences = slope_differences(
        [(_measured(answers[a][key]), _measured(answers[b][key])) for key, a, b in pairs],
        level=level,
    )
    found: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in asked}
    for (key, a, b), difference in zip(pairs, differences, strict=True):
        row = to_dict(difference)
        found[key].append({"studies": [a, b], "independent": not doubts.get((a, b)), **row})
    return [
        {
            "metric": metric,
            "kpi": kpi,
            "studies": [
                _row(label, of_study[metric, kpi], level=level)
                for label, of_study in answers.items()
                if (metric, kpi) in of_study
            ],
            "not_asked": [label for label in answers if (metric, kpi) not in answers[label]],
            "differences": found[metric, kpi],
        }
        for metric, kpi in asked
    ]


def _comparable(first: HypothesisResult | None, second: HypothesisResult | None) -> bool:
    """Whether both have a slope, of the same KPI on the same scale."""
    if first is None or second is None:
        return False
    return (
        first.exclusion_reason is None
        and second.exclusion_reason is None
        and (first.link, first.response) == (second.link, second.response)
    )


def _measured(one: HypothesisResult) -> MeasuredSlope:
    test = one.propagated_test
    assert test is not None, "only slopes with an error are compared"
    return MeasuredSlope(
        slope=test.slope,
        standard_error=test.standard_error,
        small_sample=one.small_sample.hartung_knapp if one.small_sample else None,
    )


def _row(label: str, one: HypothesisResult, *, level: float) -> dict[str, Any]:
    test = one.propagated_test
    wald = test and wald_test(
        test.slope, test.standard_error, covariance=test.covariance, level=level
    )
    small = one.small_sample and one.small_sample.hartung_knapp
    small_test = small and wald_test(
        small.slope, small.standard_error, covariance=small.covariance, level=level, df=small.df
    )
    return {
        "study": label,
        "id": one.id,
        "direction": one.direction,
        "response": one.response,
        "link": one.link.value,
        "slope": one.slope,
        "standard_error": wald.standard_error if wald else None,
        "covariance": wald.covariance if wald else None,
        "interval": list(wald.interval) if wald else None,
        "small_sample_interval": list(small_test.interval) if small_test else None,
        "n": one.n,
        "groups": one.groups,
        "worst_metric": one.worst_metric,
        "verdict": one.verdict.value,
        "not_compared_because": one.exclusion_reason
        and exclusion_words(one.exclusion_reason, one.undefined_reason),
    }
