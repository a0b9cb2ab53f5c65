"""Slopes of several studies, and tests of their differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from pipeline.core.contracts import Kpi
from pipeline.inference.glm.wald import wald_test
from pipeline.inference.meta.slope_contrasts import StudyTests, slope_differences
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.pooled import SlopeDifference
from pipeline.results.reader import StudyReport
from pipeline.results.reasons import ExclusionReason, UndefinedReason, Verdict
from pipeline.results.slopes import SlopeTest

DependenceReasons = Mapping[tuple[str, str], Sequence[str]]
"""Why two studies may be dependent, by their labels."""

_Key = tuple[str, str]
"""Offline metric and KPI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySlope:
    """The slope of one study; see :class:`pipeline.results.hypothesis.HypothesisResult`.

    Attributes:
        test: Cluster-robust, with the measurement error of the metric where it is known; at the
            level of the comparison. None where unknown.
        small_sample: By Hartung and Knapp; None with two groups.
        exclusion_reason: Why the slope is not compared; None if it is.
    """

    study: str
    id: str
    direction: str
    response: Kpi
    link: str
    slope: float | None
    test: SlopeTest | None
    small_sample: SlopeTest | None
    n: int
    groups: int
    worst_metric: float | None
    verdict: Verdict
    exclusion_reason: ExclusionReason | None
    undefined_reason: UndefinedReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDifference(SlopeDifference):
    """The slope of the second study minus that of the first."""

    studies: tuple[str, str]
    independent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedHypothesis:
    """One offline metric and KPI in all studies."""

    metric: str
    kpi: str
    studies: tuple[StudySlope, ...]
    not_tested: tuple[str, ...]
    differences: tuple[StudyDifference, ...]


def compare_slopes(
    studies: Sequence[StudyReport], dependence: DependenceReasons, *, level: float
) -> list[ComparedHypothesis]:
    """Compare the slopes of every offline metric and KPI between all pairs of studies."""
    found = {one.label: one.answers() for one in studies}
    slopes = {
        key: {
            label: _study_slope(label, results[key], level=level)
            for label, results in found.items()
            if key in results
        }
        for key in dict.fromkeys(key for results in found.values() for key in results)
    }
    differences = _differences(slopes, dependence, level=level)
    return [
        ComparedHypothesis(
            metric=metric,
            kpi=kpi,
            studies=tuple(of_key.values()),
            not_tested=tuple(label for label in found if label not in of_key),
            differences=tuple(differences[metric, kpi]),
        )
        for (metric, kpi), of_key in slopes.items()
    ]


def _differences(
    slopes: Mapping[_Key, Mapping[str, StudySlope]], dependence: DependenceReasons, *, level: float
) -> dict[_Key, list[StudyDifference]]:
    """All pairs of comparable slopes, with Holm correction over all of them."""
    pairs = [
        (key, first, second)
        for key, of_key in slopes.items()
        for first, second in combinations(of_key.values(), 2)
        if _comparable(first, second)
    ]
    tested = slope_differences(
        [(_tests(first), _tests(second)) for _, first, second in pairs], level=level
    )
    found: dict[_Key, list[StudyDifference]] = {key: [] for key in slopes}
    for (key, first, second), difference in zip(pairs, tested, strict=True):
        labels = first.study, second.study
        found[key].append(
            StudyDifference(
                studies=labels,
                independent=not dependence.get(labels),
                test=difference.test,
                small_sample=difference.small_sample,
                holm_p_value=difference.holm_p_value,
                contrast=difference.contrast,
            )
        )
    return found


def _comparable(first: StudySlope, second: StudySlope) -> bool:
    """Whether both have a slope, of the same KPI on the same scale."""
    if first.exclusion_reason or second.exclusion_reason:
        return False
    return (first.link, first.response) == (second.link, second.response)


def _tests(one: StudySlope) -> StudyTests:
    assert one.test, "a slope without an exclusion reason has a standard error"
    return one.test, one.small_sample


def _study_slope(label: str, result: HypothesisResult, *, level: float) -> StudySlope:
    error, small = result.measurement_error, result.small_sample
    return StudySlope(
        study=label,
        id=result.id,
        direction=result.direction,
        response=result.response,
        link=result.link.value,
        slope=result.slope,
        test=_at_level(error.propagated if error else result.cluster_robust, level),
        small_sample=_at_level(small and small.hartung_knapp, level),
        n=result.n,
        groups=result.groups,
        worst_metric=result.worst_metric,
        verdict=result.verdict,
        exclusion_reason=result.exclusion_reason,
        undefined_reason=result.undefined_reason,
    )


def _at_level(test: SlopeTest | None, level: float) -> SlopeTest | None:
    """The test with another nominal coverage."""
    return test and wald_test(
        test.slope, test.standard_error, covariance=test.covariance, level=level, df=test.df
    )
