"""Slopes side by side, and whether they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from pipeline.inference.glm.wald import wald_test
from pipeline.inference.meta.slope_contrasts import slope_differences
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reader import StudyReport

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
        [
            (answers[a][key].measured(level=level), answers[b][key].measured(level=level))
            for key, a, b in pairs
        ],
        level=level,
    )
    found: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in asked}
    for (key, a, b), difference in zip(pairs, differences, strict=True):
        row = asdict(difference) | {"contrast": difference.contrast.value}
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


def _comparable(first: Hypothesis | None, second: Hypothesis | None) -> bool:
    """Whether both have a slope, of the same KPI on the same scale."""
    if first is None or second is None:
        return False
    return (
        first.not_compared_because is None
        and second.not_compared_because is None
        and (first.link, first.response) == (second.link, second.response)
    )


def _row(label: str, one: Hypothesis, *, level: float) -> dict[str, Any]:
    test = one.test
    wald = test and wald_test(
        test.slope, test.standard_error, covariance=test.covariance, level=level
    )
    few = one.few_groups and one.few_groups.hartung_knapp
    few_test = few and wald_test(
        few.slope, few.standard_error, covariance=few.covariance, level=level, df=few.df
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
        "few_groups_interval": list(few_test.interval) if few_test else None,
        "n": one.n,
        "groups": one.groups,
        "worst_metric": one.worst_metric,
        "verdict": one.verdict.value,
        "not_compared_because": one.not_compared_because,
    }
