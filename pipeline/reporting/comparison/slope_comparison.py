"""Slopes of several studies, and tests of their differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from pipeline.inference.glm.wald import SlopeTest, wald_test
from pipeline.inference.hypotheses.verdict import Verdict
from pipeline.inference.meta.slope_contrasts import Contrast, slope_differences
from pipeline.reporting.comparison.reading import Hypothesis, StudyReport

Warnings = Mapping[tuple[str, str], Sequence[str]]
"""Why two studies may be dependent, by their labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySlope:
    """The slope of one study; see :class:`pipeline.inference.hypotheses.results`.

    Attributes:
        interval: With the cluster-robust error, and the measurement error of the metric if known.
        small_sample_interval: By Hartung and Knapp; None with two groups.
        smallest_metric: The metric of the worst group, of which x is the relative change.
        not_compared_because: Why the slope is not compared; None if it is.
    """

    study: str
    id: str
    direction: str
    response: str
    link: str
    slope: float | None
    standard_error: float | None
    covariance: str | None
    interval: tuple[float, float] | None
    small_sample_interval: tuple[float, float] | None
    n: int
    groups: int
    smallest_metric: float | None
    verdict: Verdict
    not_compared_because: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDifference:
    """The slope of the second study minus that of the first."""

    studies: tuple[str, str]
    independent: bool
    test: SlopeTest
    small_sample: SlopeTest | None
    holm_p_value: float
    contrast: Contrast


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedHypothesis:
    """One offline metric and KPI in all studies."""

    metric: str
    kpi: str
    studies: tuple[StudySlope, ...]
    not_tested: tuple[str, ...]
    differences: tuple[StudyDifference, ...]


def compare_slopes(
    studies: Sequence[StudyReport], warnings: Warnings, *, level: float
) -> list[ComparedHypothesis]:
    """Compare the slopes of every offline metric and KPI between all pairs of studies."""
    answers = {one.label: one.answers() for one in studies}
    tested = dict.fromkeys(key for of_study in answers.values() for key in of_study)
    pairs = [
        (key, first, second)
        for key in tested
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
    found: dict[tuple[str, str], list[StudyDifference]] = {key: [] for key in tested}
    for (key, a, b), difference in zip(pairs, differences, strict=True):
        found[key].append(
            StudyDifference(
                studies=(a, b),
                independent=not warnings.get((a, b)),
                test=difference.test,
                small_sample=difference.few_groups,
                holm_p_value=difference.holm_p_value,
                contrast=difference.contrast,
            )
        )
    return [
        ComparedHypothesis(
            metric=metric,
            kpi=kpi,
            studies=tuple(
                _study_slope(label, of_study[metric, kpi], level=level)
                for label, of_study in answers.items()
                if (metric, kpi) in of_study
            ),
            not_tested=tuple(label for label in answers if (metric, kpi) not in answers[label]),
            differences=tuple(found[metric, kpi]),
        )
        for metric, kpi in tested
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


def _study_slope(label: str, one: Hypothesis, *, level: float) -> StudySlope:
    test = one.test
    wald = test and wald_test(
        test.slope, test.standard_error, covariance=test.covariance, level=level
    )
    small = one.few_groups and one.few_groups.hartung_knapp
    small_test = small and wald_test(
        small.slope, small.standard_error, covariance=small.covariance, level=level, df=small.df
    )
    return StudySlope(
        study=label,
        id=one.id,
        direction=one.direction,
        response=one.response,
        link=one.link.value,
        slope=one.slope,
        standard_error=wald.standard_error if wald else None,
        covariance=wald.covariance if wald else None,
        interval=wald.interval if wald else None,
        small_sample_interval=small_test.interval if small_test else None,
        n=one.n,
        groups=one.groups,
        smallest_metric=one.worst_metric,
        verdict=one.verdict,
        not_compared_because=one.not_compared_because,
    )
